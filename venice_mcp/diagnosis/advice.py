"""What helps against a limit, in words: spacing, smaller requests, or a higher tier when the demand itself is above."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from venice_mcp.diagnosis.causes import PARTNERS, model_name
from venice_mcp.diagnosis.hits import Group
from venice_mcp.diagnosis.tuning import Limits, Pace
from venice_mcp.text import amount, plural, span

Verdict = Literal[
    "space_out", "slow_down", "smaller_requests", "higher_tier", "mend_failures", "other_model_or_feature", ""
]

LARGE_SHARE = 20
"""A request is large if twenty like it use up a minute's tokens: then fewer tokens help more than fewer requests."""
LASTING_S = 1800.0
LASTING_HOURS = 3
"""Refused for half an hour on end, or in three busy hours, a queue only grows longer: demand itself is above."""
_DAY_S = 86400.0


def verdict(groups: Sequence[Group], pace: Pace | None, limits: Limits | None) -> Verdict:
    """What helps, judged by the limit that was hit most. `groups`, `pace` and `limits` are of one model."""
    group = max(groups, key=lambda group: group.count, default=None)
    if group is None:
        return ""
    match group.kind:
        case "FAILED_REQUESTS":
            return "mend_failures"
        case "UNSUPPORTED_FEATURE_REQUESTS":
            return "other_model_or_feature"
        case "RPD":
            # Spreading within the day changes nothing; on most days is as lasting as this limit can be.
            return "higher_tier" if group.pattern == "sustained" else "slow_down"
        case "RPM" | "TPM":
            if group.kind == "TPM" and _large(pace, limits):
                return "smaller_requests"
            if group.pattern != "sustained":
                return "space_out"
            lasting = group.longest_s >= LASTING_S or group.busy_hours >= LASTING_HOURS
            return "higher_tier" if lasting else "slow_down"
        case _:
            return ""


def _large(pace: Pace | None, limits: Limits | None) -> bool:
    if pace is None or limits is None or limits.tpm is None or pace.tokens_per_request is None:
        return False
    return pace.bound_by == "TPM" and pace.tokens_per_request > limits.tpm / LARGE_SHARE


# --- in words --------------------------------------------------------------------------------------

_WORDS: Mapping[Verdict, str] = {
    "space_out": "The hits are short bursts: the same work fits if its requests start one after another.",
    "slow_down": "While it lasted, demand was above the limit: send less, or let the work take longer.",
    "smaller_requests": "Tokens are the limit and the requests are large: shorten prompts, lower max_completion_tokens,"
    " or split the work; fewer requests help less.",
    "higher_tier": "Demand itself is above the limit and spacing only makes the queue longer: ask"
    f" {PARTNERS} for a higher tier (partner access), or move work to another model.",
    "mend_failures": "No spacing helps here: Venice blocks for 30 s after too many failed requests (4xx other than"
    " 429). Mend what makes them fail and do not retry a 4xx.",
    "other_model_or_feature": "No spacing helps here: requests ask the model for what it lacks. Leave the feature out"
    " or use a model that has it.",
    "": "",
}
_A_DAY = "The day's requests ran out. Spreading within the day does not help: spread over days, or make fewer requests."
_PACED = ("space_out", "slow_down", "smaller_requests", "higher_tier")


def advice_lines(groups: Sequence[Group], pace: Pace | None, limits: Limits | None, *, full: bool) -> list[str]:
    """At most four lines for people: what was hit, what helps, the pace, and how far the numbers can be trusted.

    All of one model. `full` says that the log was (`is_sample`).
    """
    if not groups:
        return []
    what = verdict(groups, pace, limits)
    most = max(groups, key=lambda group: group.count)
    words = _A_DAY if most.kind == "RPD" and what == "slow_down" else _WORDS[what]
    lines = ["; ".join(_hit_line(group) for group in groups[:3]) + ".", words]
    if what in _PACED:
        lines.append(pace_line(most.model, pace, limits, by_day=most.kind == "RPD"))
    lines.append(_hedge(most, what, full=full))
    return [line for line in lines if line]


def _hit_line(group: Group) -> str:
    refusals = f"{model_name(group.model)}: {plural(group.count, 'refusal')} by {group.kind}"
    if group.pattern == "single":
        return f"{refusals}, {group.last:%Y-%m-%d %H:%M:%S} UTC"
    until = "%H:%M:%S" if group.first.date() == group.last.date() else "%Y-%m-%d %H:%M:%S"
    times = f"{group.first:%Y-%m-%d %H:%M:%S} to {group.last:{until}} UTC"
    longest = f", {span(timedelta(seconds=group.longest_s))} at the longest" if group.longest_s >= 1 else ""
    how = "sustained" if group.pattern == "sustained" else plural(group.episodes, "burst")
    return f"{refusals}, {times}, {how}{longest}"


def pace_line(model: str, pace: Pace | None, limits: Limits | None, *, by_day: bool = False) -> str:
    """How to call the model so that it stays inside its limits, or why no such pace can be named."""
    name = model_name(model)
    if pace is None or limits is None:
        return "No pace can be worked out: Venice states no limit that applies, or the size of requests is unknown."
    if pace.impossible or pace.spacing_s is None:
        return (
            f"No pace fits: a request of {amount(pace.tokens_per_request)} tokens alone is above TPM"
            f" {amount(limits.tpm)}. Make it smaller."
        )
    if by_day and pace.all_day_spacing_s is not None:
        return (
            f"Pace for {name}, all day: starts {_seconds(pace.all_day_spacing_s)} apart, {pace.requests_per_day}"
            f" requests in 24 h (RPD {amount(limits.rpd)})."
        )
    of = {"RPM": limits.rpm, "TPM": limits.tpm, "RPD": limits.rpd}[pace.bound_by]
    line = (
        f"Pace for {name}: starts {_seconds(pace.spacing_s)} apart, {amount(pace.requests_per_minute)} a minute"
        f" (bound by {pace.bound_by} {amount(of)})"
    )
    if pace.concurrency is not None:
        kept = ", and keep the spacing" if pace.keep_spacing else ""
        at_once = f"at most {pace.concurrency} under way at once" if pace.concurrency > 1 else "one at a time"
        line += f", {at_once} at {amount(pace.latency_s)} s each{kept}"
    if pace.tokens_allowed is not None:
        line += f"; request size unknown, so keep each below {pace.tokens_allowed} tokens (TPM {amount(limits.tpm)})"
    all_day, lasts = pace.all_day_spacing_s, pace.day_lasts_s
    if pace.bound_by != "RPD" and all_day is not None and lasts is not None and lasts < _DAY_S:
        line += (
            f". RPD {amount(limits.rpd)} then lasts {span(timedelta(seconds=lasts))};"
            f" for all day {_seconds(all_day)} apart"
        )
    return f"{line}."


def _seconds(value: float) -> str:
    """Seconds as they are to be kept; in larger units only beside them, because those are rounded."""
    return f"{amount(value)} s" if value < 600 else f"{amount(value)} s ({span(timedelta(seconds=value))})"


def _hedge(group: Group, what: Verdict, *, full: bool) -> str:
    parts = ["The log shows refusals only, not how much was let through"]
    if full:
        parts.append("it keeps the account's last 50, so counts are of a sample")
    if group.cut:
        parts.append("it reaches back too little to rule out sustained demand, so look again in ten minutes")
    if what in _PACED:
        parts.append("the limit is the account's per model, so its other keys count too")
    return "; ".join(parts) + "."

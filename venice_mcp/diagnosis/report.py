"""A diagnosis put together: the causes, the hits that concern the key, and the pace that stays inside the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from venice_mcp.diagnosis.advice import advice_lines, pace_line
from venice_mcp.diagnosis.causes import Cause, Remedy, model_name
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.hits import Group, Hit, Timeline, grouped, is_sample, read_hits, timeline
from venice_mcp.diagnosis.judging import judged
from venice_mcp.diagnosis.rates import OF_THE_KEY, PAST, concerning
from venice_mcp.diagnosis.tuning import Pace, advise, limits_for, typical
from venice_mcp.text import amount, plain, plural

_PACED = frozenset({"requests_per_minute", "tokens_per_minute", "requests_per_day", "rate_limited", "nothing_wrong"})


class ModelPace(NamedTuple):
    model: str
    pace: Pace


@dataclass(frozen=True)
class Report:
    """`causes` is never empty. `full`: the log was, so that its counts are of a sample."""

    evidence: Evidence
    causes: Sequence[Cause]
    hits: Sequence[Hit]
    groups: Sequence[Group]
    timeline: Timeline
    full: bool
    pace: ModelPace | None
    advice: Sequence[str]


def report(evidence: Evidence, *, tokens_per_request: float | None, latency_s: float | None) -> Report:
    """What follows from the evidence. The size of requests is taken from the ledger where it was not given."""
    causes = judged(evidence)
    if not any(_answers(cause) for cause in causes):
        causes = [_nothing(evidence), *causes]
    full = is_sample(evidence.log or [])
    every = read_hits(evidence.log or [], evidence.now)[0]
    hits = concerning(evidence)
    groups = grouped(hits, full=full, oldest=every[0].at if every else None)
    pace, advice = _advised(evidence, causes[0], groups, tokens_per_request, latency_s, full=full)
    return Report(evidence, causes, hits, groups, timeline(hits, evidence.now), full, pace, advice)


def _advised(
    evidence: Evidence,
    answer: Cause,
    groups: Sequence[Group],
    tokens_per_request: float | None,
    latency_s: float | None,
    *,
    full: bool,
) -> tuple[ModelPace | None, list[str]]:
    """The pace for the model that the answer is about, and what the log advises for it."""
    if answer.code not in _PACED:
        return None, []
    model = evidence.model_id or str(answer.numbers.get("model", ""))
    limits = limits_for(evidence.limits, model) if evidence.limits is not None and model else None
    usual = typical(evidence.usage or [], model) if model else None
    pace = None
    if limits is not None:
        tokens = tokens_per_request or (usual.tokens_p90 if usual else None)
        latency = latency_s or (usual.latency_median_s if usual else None)
        pace = advise(limits, tokens_per_request=tokens, latency_s=latency)
    # A limit of a day is judged by several days, the others by the last one.
    telling = [
        group
        for group in groups
        if group.model.casefold() == model.casefold() and (group.kind == "RPD" or evidence.now - group.last <= PAST)
    ]
    lines = advice_lines(telling, pace, limits, full=full)
    if not telling and pace is not None:
        lines = [pace_line(model, pace, limits)]
    return (ModelPace(model, pace) if pace is not None else None), lines


def _answers(cause: Cause) -> bool:
    """Whether it can be the answer to "why am I limited", rather than something to know besides."""
    return cause.claimed or (cause.state in ("now", "lately") and cause.sure != "possible")


def _nothing(evidence: Evidence) -> Cause:
    """Nothing wrong, and what that is known from; less sure when something could not be read."""
    who = evidence.subject.name(evidence.key)
    if not evidence.known:
        sentence = f"Nothing could be read about the {who}, so this is no finding"
        return Cause("undetermined", sentence, Remedy("See what could not be read below."), sure="possible")
    answered = evidence.limits is not None and evidence.subject.kind is not None
    known = ["Venice accepts it" if answered else "it is active"]
    if evidence.balance is not None:
        balances = evidence.balance.balances
        known.append(f"the account has {_rounded(balances.usd)} USD and {_rounded(balances.diem)} DIEM")
    if evidence.log is not None and "log" not in evidence.unread:
        known.append(_hits_told(evidence))
    if evidence.key is not None and evidence.key.model_privacy != "ALL" and evidence.model is None:
        known.append(f"it may call only what {plain(evidence.key.model_privacy, 20)} allows (name the model to check)")
    if evidence.offered is not None:
        known.append(f"{model_name(evidence.offered.id)} is online")
    return Cause(
        "nothing_wrong",
        f"Nothing{' that could be read' if evidence.unread else ''} limits the {who} now: {', '.join(known)}",
        Remedy("If a call fails, paste its whole error here, status and headers included."),
        sure="likely" if evidence.unread else "certain",
    )


def _hits_told(evidence: Evidence) -> str:
    """How often a limit was hit lately, and by whom, as far back as the log tells."""
    every = read_hits(evidence.log or [], evidence.now)[0]
    late = [hit for hit in every if evidence.now - hit.at <= PAST]
    mine = [hit for hit in concerning(evidence) if evidence.now - hit.at <= PAST]
    cut = is_sample(evidence.log or []) and len(late) == len(every)
    within = f"among the last {len(every)} hits of the account" if cut else "in 24 h"
    if evidence.model is not None:
        count = sum(1 for hit in mine if hit.kind not in OF_THE_KEY)
        limit = f"limit of {model_name(evidence.model)} was hit"
        return f"a {limit} {plural(count, 'time')} {within}" if count else f"no {limit} {within}"
    if not evidence.own_id:
        return f"{plural(len(mine), 'limit hit')} {within}" if mine else f"no limit was hit {within}"
    others = len(late) - len(mine)
    besides = f" (other keys of the account: {plural(others, 'hit')})" if others else ""
    return f"this key hit {'a limit ' + plural(len(mine), 'time') if mine else 'no limit'} {within}{besides}"


def _rounded(value: float | None) -> str:
    return amount(None if value is None else round(value, 2))


def instant(at: datetime) -> str:
    """A time for programs."""
    return f"{at:%FT%TZ}"

"""A diagnosis put together: the causes, the hits that concern the key, and the pace that stays inside the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from venice_mcp.diagnosis.advice import advice_lines
from venice_mcp.diagnosis.causes import Cause, Remedy
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.hits import Group, Hit, Timeline, grouped, is_sample, read_hits, timeline
from venice_mcp.diagnosis.judging import judged
from venice_mcp.diagnosis.rates import PAST, concerning
from venice_mcp.diagnosis.tuning import Pace, advise, limits_for, typical
from venice_mcp.text import amount, plain, plural

_PLACES = ("endpoint:", "model:")
_PACED = frozenset({"requests_per_minute", "tokens_per_minute", "requests_per_day", "rate_limited", "nothing_wrong"})


@dataclass(frozen=True)
class Report:
    """`causes` is never empty. `full`: the log was, so that its counts are of a sample."""

    evidence: Evidence
    causes: Sequence[Cause]
    hits: Sequence[Hit]
    groups: Sequence[Group]
    timeline: Timeline
    full: bool
    pace: Pace | None
    advice: Sequence[str]


def report(evidence: Evidence, *, tokens_per_request: float | None, latency_s: float | None) -> Report:
    """What follows from the evidence. The size of requests is taken from the ledger where it was not given."""
    causes = judged(evidence)
    if not any(_answers(cause) for cause in causes):
        causes = [_nothing(evidence), *causes]
    full = is_sample(evidence.log or [])
    hits = _concerning(evidence)
    all_hits = read_hits(evidence.log or [], evidence.now)[0]
    oldest = all_hits[0].at if all_hits else None
    groups = grouped(hits, full=full, oldest=oldest)
    model = evidence.model or next((each.model for each in groups if not each.model.startswith(_PLACES)), None)
    usual = typical(evidence.usage or [], model) if model else None
    limits = limits_for(evidence.limits, model) if evidence.limits is not None and model else None
    pace = None
    if limits is not None and causes[0].code in _PACED:
        tokens = tokens_per_request or (usual.tokens_p90 if usual else None)
        pace = advise(
            limits, tokens_per_request=tokens, latency_s=latency_s or (usual.latency_median_s if usual else None)
        )
    # A limit of a day is judged by several days.
    telling = [hit for hit in hits if hit.model == model and (hit.kind == "RPD" or evidence.now - hit.at <= PAST)]
    of_model = grouped(telling, full=full, oldest=oldest)
    advice = advice_lines(of_model, pace, limits, full=full) if causes[0].code in _PACED else []
    return Report(evidence, causes, hits, groups, timeline(hits, evidence.now), full, pace, advice)


def _concerning(evidence: Evidence) -> list[Hit]:
    return concerning(evidence, read_hits(evidence.log or [], evidence.now)[0])


def _answers(cause: Cause) -> bool:
    """Whether it can be the answer to "why am I limited", rather than something to know besides."""
    return cause.claimed or (cause.state in ("now", "lately") and cause.sure != "possible")


def _nothing(evidence: Evidence) -> Cause:
    """Nothing wrong, and what that is known from; less sure when something could not be read."""
    who = evidence.subject.name(evidence.key)
    known: list[str] = []
    if evidence.limits is not None and evidence.subject.kind is not None:
        known.append("Venice accepts it")
    elif evidence.key is not None:
        known.append("it is active")
    if evidence.balance is not None:
        balances = evidence.balance.balances
        known.append(f"the account has {_rounded(balances.usd)} USD and {_rounded(balances.diem)} DIEM")
    if evidence.log is not None:
        hits = [hit for hit in _concerning(evidence) if evidence.now - hit.at <= PAST]
        known.append(f"{plural(len(hits), 'limit hit')} in 24 h" if hits else "no limit was hit in 24 h")
    if evidence.key is not None and evidence.key.model_privacy != "ALL" and evidence.model is None:
        known.append(f"it may call only what {plain(evidence.key.model_privacy, 20)} allows (name the model to check)")
    if evidence.model is not None and evidence.models:
        known.append(f"{plain(evidence.model, 60)} is online")
    why = f": {', '.join(known)}" if known else ""
    if not known:
        sentence = f"Nothing could be read about the {who}, so this is no finding"
        return Cause("undetermined", sentence, Remedy("See what could not be read below."), sure="possible")
    return Cause(
        "nothing_wrong",
        f"Nothing limits the {who} now{why}",
        Remedy("If a call fails, paste its whole error here, status and headers included."),
        sure="likely" if evidence.unread else "certain",
    )


def _rounded(value: float | None) -> str:
    return amount(None if value is None else round(value, 2))


def since(start: datetime) -> str:
    """A time for programs."""
    return f"{start:%FT%TZ}"

"""Causes that lie in pace: the limits per minute and day that the log shows, blocks, and keys made too fast."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from venice_mcp.diagnosis.causes import KNOWN, Cause, Remedy, State, Sure, model_name, over
from venice_mcp.diagnosis.claims import claims
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.hits import Hit, read_hits
from venice_mcp.diagnosis.tuning import limits_for
from venice_mcp.models.wire import window_end
from venice_mcp.text import amount, away, parse_time, plural, quoted

LATELY = timedelta(minutes=15)
PAST = timedelta(days=1)
CREATIONS = 20
"""As many keys may be made within a minute."""

_CODES = {
    "RPM": "requests_per_minute",
    "TPM": "tokens_per_minute",
    "RPD": "requests_per_day",
    "FAILED_REQUESTS": "failed_requests",
    "UNSUPPORTED_FEATURE_REQUESTS": "unsupported_feature",
}
LOGGED = frozenset(_CODES.values())
"""Causes that Venice's log shows."""
OF_THE_KEY = ("FAILED_REQUESTS", "UNSUPPORTED_FEATURE_REQUESTS")
"""Kinds of hits that are blocks of one key."""
_WHY_BLOCKED = {
    "failed_requests": "too many had failed within 30 s",
    "unsupported_feature": "more than 200 within 30 s had asked a model for a feature it lacks",
}
_WORDS = {"RPM": "requests per minute", "TPM": "tokens per minute", "RPD": "requests per day"}


def rates(evidence: Evidence) -> Iterator[Cause]:
    """What the log, a refusal of our own reads, and the times at which keys were made say."""
    yield from _blocked(evidence)
    groups: dict[tuple[str, str], list[Hit]] = {}
    for hit in concerning(evidence):
        groups.setdefault((hit.kind, hit.model), []).append(hit)
    for (kind, model), found in groups.items():
        age = evidence.now - found[-1].at
        if age <= (PAST if kind in _CODES else LATELY):
            yield _hit(evidence, kind, model, found)
    yield from _creations(evidence)


def concerning(evidence: Evidence) -> list[Hit]:
    """The hits, oldest first, that say something about this key: its own, and on the model in question those of others
    too, because limits per minute and day belong to the account. Of a key whose id is not known, all of them.
    """
    own = evidence.own_id
    return [
        hit
        for hit in read_hits(evidence.log or [], evidence.now)[0]
        if (not own or hit.key_id == own or (evidence.is_of_model(hit.model) and hit.kind not in OF_THE_KEY))
        and (evidence.model is None or evidence.is_of_model(hit.model) or hit.kind in OF_THE_KEY)
    ]


def _blocked(evidence: Evidence) -> Iterator[Cause]:
    """Venice refused a read that was made with the key in question."""
    kind = evidence.subject.kind
    asked = (
        ("limits", "keys", "log", "balance", "usage") if kind == "ADMIN" else ("limits",) if kind is not None else ()
    )
    for error in (evidence.refused[source] for source in asked if source in evidence.refused):
        codes = claims(error.status, error.said)
        code = next((each for each in codes if each in ("failed_requests", "unsupported_feature")), None)
        if code is not None:
            lasts = timedelta(seconds=error.wait_s if error.wait_s is not None else KNOWN[code].lasts_s or 0)
            who = evidence.subject.name(evidence.key)
            sentence = f"Venice refuses every request of the {who} for half a minute, because {_WHY_BLOCKED[code]}"
            yield Cause(code, sentence, Remedy(KNOWN[code].remedy), ends_at=evidence.now + lasts)
        elif error.status == 429:
            ends_at = evidence.now + timedelta(seconds=error.wait_s) if error.wait_s is not None else None
            yield Cause(
                "rate_limited",
                "Venice refused even this server's own reading with 429",
                Remedy(KNOWN["rate_limited"].remedy),
                ends_at=ends_at,
                ends="" if ends_at else KNOWN["rate_limited"].ends,
            )


def _hit(evidence: Evidence, kind: str, model: str, hits: Sequence[Hit]) -> Cause:
    code, last, own = _CODES.get(kind, "rate_limited"), hits[-1].at, evidence.own_id
    ends_at = _free_at(kind, last)
    state: State = "past"
    if ends_at is not None and ends_at > evidence.now:
        state = "now"
    elif evidence.now - last <= LATELY:
        state = "lately"
    others = sum(1 for hit in hits if own and hit.key_id != own)
    numbers: dict[str, float | str] = {"model": model, "hits": len(hits), "last_hit": f"{last:%FT%TZ}"}
    limit = _limit(evidence, kind, model)
    if limit is not None:
        numbers["limit"] = limit
    if others:
        numbers["hits_by_other_keys"] = others
    ends = ""
    if kind == "RPD":
        ends = "at the latest; Venice does not state when a day's requests are counted anew"
    return Cause(
        code,
        _sentence(evidence, kind, model, hits, limit, state, others),
        Remedy(KNOWN[code].helps(state)),
        state=state,
        sure=_sure(evidence, kind, state, all_of_others=others == len(hits)),
        numbers=numbers,
        ends_at=ends_at if state == "now" else None,
        ends=ends if state == "now" else f"over since {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "not stated",
    )


def _sure(evidence: Evidence, kind: str, state: State, *, all_of_others: bool) -> Sure:
    if kind not in OF_THE_KEY:
        return "likely" if all_of_others or not evidence.own_id else "certain"
    if not evidence.own_id:
        return "possible"
    # A key that was just answered is not blocked for everything, but may be for the model.
    answered = evidence.subject.kind is not None and evidence.limits is not None
    return "likely" if answered and state == "now" else "certain"


def _sentence(
    evidence: Evidence, kind: str, model: str, hits: Sequence[Hit], limit: float | None, state: State, others: int
) -> str:
    who = f"The {evidence.subject.name(evidence.key)}" if evidence.own_id else "A key of this account"
    last = away(hits[-1].at, evidence.now)
    allows = f" allows {amount(limit)}" if limit is not None else ""
    often = f"{plural(len(hits), 'request')} refused, the last {last}"
    with_others = f", {others} of them made with other keys of the account" if others else ""
    now = state == "now"
    if kind in OF_THE_KEY:
        where = f"{model_name(model)}: {often}"
        return f"{who} {'is' if now else 'was'} blocked because {_WHY_BLOCKED[_CODES[kind]]} ({where})"
    words = _WORDS.get(kind) or f"a limit that Venice calls {quoted(kind, 30)}"
    what = f"{model_name(model)}{allows}; {often}"
    if others == len(hits):
        limited = f"Other keys of this account {'are' if now else 'were'} limited by {words}"
        return f"{limited}, a limit that the {evidence.subject.name(evidence.key)} shares: {what}"
    return f"{who} {'is' if now else 'was'} limited by {words}: {what}{with_others}"


def _free_at(kind: str, last: datetime) -> datetime | None:
    return window_end("EPOCH", last) if kind == "RPD" else over(_CODES.get(kind, "rate_limited"), last)


def _limit(evidence: Evidence, kind: str, model: str) -> float | None:
    limits = limits_for(evidence.limits, model) if evidence.limits is not None else None
    return {"RPM": limits.rpm, "TPM": limits.tpm, "RPD": limits.rpd}.get(kind) if limits is not None else None


def _creations(evidence: Evidence) -> Iterator[Cause]:
    """Twenty keys made within the last minute; the oldest of these must be a minute old before the next one."""
    made = sorted((at for key in evidence.keys or [] if (at := parse_time(key.created_at)) is not None), reverse=True)
    if len(made) < CREATIONS:
        return
    ends_at = over("creation_pace", made[CREATIONS - 1])
    if ends_at is not None and ends_at > evidence.now:
        count = sum(1 for at in made if evidence.now - at < timedelta(seconds=60))
        yield Cause(
            "creation_pace",
            f"{count} keys were made within the last minute, and Venice allows {CREATIONS}; calls of models still work",
            Remedy(KNOWN["creation_pace"].remedy),
            numbers={"made": count, "per_minute": CREATIONS},
            ends_at=ends_at,
        )

"""From evidence to causes: every rule is asked, and what was pasted is weighed against what was read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from venice_mcp.diagnosis.causes import KNOWN, Cause, Remedy, State, Sure, over, ranked
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.funds import funds, purses
from venice_mcp.diagnosis.offers import forbids, offers
from venice_mcp.diagnosis.rates import rates
from venice_mcp.diagnosis.standing import standing
from venice_mcp.text import amount, plain, quoted

_RULES: tuple[Callable[[Evidence], Iterable[Cause]], ...] = (standing, funds, rates, offers)


def judged(evidence: Evidence) -> list[Cause]:
    """Every cause there is a reason for, the likeliest answer first; none when nothing limits the key."""
    found = [cause for rule in _RULES for cause in rule(evidence)]
    causes = ranked([*found, *_claimed(evidence, {cause.code: cause for cause in found})])
    return [_with_reason(evidence, cause, causes) if cause.code == "failed_requests" else cause for cause in causes]


# --- what makes requests fail ---------------------------------------------------------------------

_FAILING = frozenset(
    {
        "key_expired",
        "key_revoked",
        "key_not_accepted",
        "subscription_inactive",
        "access_not_permitted",
        "address_not_listed",
        "wrong_key_type",
        "pro_only_model",
        "cap_zero",
        "key_diem_cap",
        "key_usd_cap",
        "account_empty",
        "account_out_of_diem",
        "account_out_of_usd",
        "cannot_consume",
        "model_unknown",
        "model_privacy",
        "invalid_request",
    }
)
"""Causes that answer each request with a 4xx other than 429, which is what counts as failed."""


def _with_reason(evidence: Evidence, cause: Cause, causes: list[Cause]) -> Cause:
    """The block, and what makes requests fail so that it came."""
    pasted = evidence.pasted
    others = pasted.others if pasted is not None else ()
    reason = next((each.code for each in causes if each.code in _FAILING and each.sure != "possible"), None)
    reason = reason or next((code for code in others if code in _FAILING), None)
    if reason is None and any(
        row.rate_limit_type.upper() == "FAILED_REQUESTS" and row.model_id == "model:unknown"
        for row in evidence.log or []
    ):
        reason = "model_unknown"
    if reason is None:
        remedy = f"{cause.remedy.words} Paste the error of a request that failed before the block to find out what."
        return replace(cause, remedy=Remedy(remedy))
    sentence = f"{cause.sentence}; what makes them fail is probably that {KNOWN[reason].meaning}"
    numbers: dict[str, float | str] = {**cause.numbers, "failing_because": reason}
    return replace(cause, sentence=sentence, numbers=numbers)


# --- what the pasted error speaks for -------------------------------------------------------------


def _claimed(evidence: Evidence, found: Mapping[str, Cause]) -> Iterable[Cause]:
    """The causes that the pasted error names, each with what was read about it."""
    pasted = evidence.pasted
    if pasted is None:
        return
    spoken = dict.fromkeys(_refined(code, found) for code in pasted.claims if code in KNOWN)
    standing_ones = [code for code in spoken if code in found or not _refuted(evidence, code)]
    proven = [code for code in standing_ones if code in found]
    certain = any(found[code].sure == "certain" and found[code].state in ("now", "lately") for code in proven)
    for place, code in enumerate(standing_ones):
        if certain and code not in found:
            continue
        if code in found:
            yield _with_its_end(evidence, replace(found[code], claimed=True))
            continue
        sure: Sure = "certain" if len(pasted.claims) == 1 else "possible" if place or proven else "likely"
        yield _by_word(evidence, code, sure)
    if pasted.claims and not standing_ones:
        # Nothing of it is so any more: say what it was, and that it is over.
        yield _no_more(evidence, pasted.claims[0])


_NARROWER: Mapping[str, tuple[str, ...]] = {
    "key_not_accepted": ("key_expired", "key_revoked"),
    "key_usd_cap": ("cap_zero",),
    "key_diem_cap": ("cap_zero",),
    "account_empty": ("account_out_of_diem", "account_out_of_usd", "cannot_consume"),
    "rate_limited": (
        "failed_requests",
        "unsupported_feature",
        "tokens_per_minute",
        "requests_per_minute",
        "requests_per_day",
    ),
}
"""What Venice answers alike, and what was read can tell apart."""


def _refined(code: str, found: Mapping[str, Cause]) -> str:
    """The cause that was found among those that Venice answers in these words."""
    fits = (each for each in _NARROWER.get(code, ()) if each in found and found[each].state in ("now", "lately"))
    return code if code in found else next(fits, code)


def _with_its_end(evidence: Evidence, cause: Cause) -> Cause:
    """What Venice's own headers say about when it ends goes before a rule of thumb."""
    pasted = evidence.pasted
    if pasted is None or not pasted.wait_s or cause.code not in _PASSING:
        return cause
    return replace(cause, ends_at=evidence.now + timedelta(seconds=pasted.wait_s), ends="", state="now")


_PASSING = frozenset(
    {
        "requests_per_minute",
        "tokens_per_minute",
        "requests_per_day",
        "failed_requests",
        "unsupported_feature",
        "creation_pace",
        "rate_limited",
        "model_overloaded",
    }
)
"""Causes that end by themselves soon."""


def _by_word(evidence: Evidence, code: str, sure: Sure) -> Cause:
    """A cause for which there is only the pasted error."""
    pasted, known = evidence.pasted, KNOWN[code]
    said = f" (Venice said {quoted(pasted.said, 100)})" if pasted is not None and pasted.said else ""
    model = f" {plain(evidence.model, 60)}" if evidence.model and "the model" in known.meaning else ""
    meaning = known.meaning.replace("the model", f"the model{model}", 1)
    perhaps = "" if sure == "certain" else "perhaps "
    sentence = f"By the error, {perhaps}{meaning}{said}"
    numbers: dict[str, float | str] = {}
    if pasted is not None and pasted.status is not None:
        numbers["status"] = pasted.status
    if pasted is not None and pasted.claims and code == pasted.claims[0]:
        numbers |= pasted.limits
        if pasted.fields:
            numbers["fields"] = "; ".join(pasted.fields[:4])
            sentence = f"{sentence}: {', '.join(pasted.fields[:4])}"
    ends_at, state = None, "now"
    if pasted is not None and pasted.wait_s is not None and code in _PASSING:
        ends_at = evidence.now + timedelta(seconds=pasted.wait_s) if pasted.wait_s > 0 else None
        state = "now" if ends_at is not None else "lately"
    elif known.lasts_s is not None:
        ends_at = over(code, evidence.now)
    ends = known.ends if ends_at is None and state == "now" else "over by now" if state == "lately" else ""
    if ends_at is not None and not (pasted is not None and pasted.wait_s):
        ends = "at the latest, if it came just now"
    return Cause(
        code,
        sentence,
        Remedy(known.remedy),
        state=_state(state),
        sure=sure,
        numbers=numbers,
        ends_at=ends_at,
        ends=ends,
        claimed=True,
    )


def _state(word: str) -> State:
    return "lately" if word == "lately" else "now"


def _no_more(evidence: Evidence, code: str) -> Cause:
    known = KNOWN[code] if code in KNOWN else KNOWN["rate_limited"]
    return Cause(
        code,
        f"By the error, {known.meaning}; that is not so now: {_refuted(evidence, code)}",
        Remedy("Try again; if the same error comes, paste it with its headers."),
        state="past",
        sure="likely",
        ends="over by now",
        claimed=True,
    )


def _refuted(evidence: Evidence, code: str) -> str:
    """Why something that the error may mean cannot be so, by what was read; empty when nothing speaks against it."""
    key, limits = evidence.key, evidence.limits
    named = evidence.pasted is not None and evidence.pasted.claims == (code,)
    if code in ("key_usd_cap", "key_diem_cap") and key is not None:
        purse = next(each for each in purses(evidence) if code == f"key_{each.currency}_cap")
        if purse.cap is None:
            return f"the key has no {purse.name} cap"
        if purse.spent is not None and purse.spent < purse.cap:
            return f"{amount(purse.spent)} of {amount(purse.cap)} {purse.name} is spent"
    if code == "account_empty" and evidence.balance is not None:
        both = evidence.balance.balances
        if evidence.balance.can_consume and ((both.usd or 0) > 0 or (both.diem or 0) > 0):
            return f"it has {amount(both.usd)} USD and {amount(both.diem)} DIEM"
    if code == "address_not_listed" and key is not None and not key.ip_allowlist:
        return "the key has no address list"
    return _refuted_of_model(evidence, code, named=named, permitted=limits is not None and limits.access_permitted)


def _refuted_of_model(evidence: Evidence, code: str, *, named: bool, permitted: bool) -> str:
    key = evidence.key
    if code == "access_not_permitted" and permitted and not named:
        return "Venice permits the access"
    if code == "model_privacy" and key is not None and not named:
        model = next((each for each in evidence.models or [] if each.id == evidence.model), None)
        if key.model_privacy == "ALL" or (model is not None and not forbids(key.model_privacy, model)):
            return "the key's privacy tier allows the model"
    if code == "key_not_accepted" and evidence.subject.kind is not None and evidence.limits is not None:
        return "Venice accepts the key that this server holds"
    return ""

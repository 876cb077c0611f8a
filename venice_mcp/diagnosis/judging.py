"""From evidence to causes: every rule is asked, and what was pasted is weighed against what was read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from venice_mcp.diagnosis.causes import KNOWN, Cause, Remedy, State, Sure, model_name, over, ranked
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.diagnosis.funds import funds, purses
from venice_mcp.diagnosis.offers import forbids, offers
from venice_mcp.diagnosis.rates import LATELY, LOGGED, rates
from venice_mcp.diagnosis.standing import standing
from venice_mcp.text import amount, quoted

_FIELDS = 4
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
    here = (each.code for each in causes if each.sure != "possible" and each.state in ("now", "lately"))
    before = pasted.others if pasted is not None else ()
    reason = next((code for code in (*here, *before) if code in _FAILING), None)
    if reason is None and cause.numbers.get("model") == "model:unknown":
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
    if pasted is None:
        raise LookupError("nothing was pasted")
    who = "the page said" if pasted.from_proxy else "Venice said"
    said = f" ({who} {quoted(pasted.said, 100)})" if pasted.said else ""
    model = f" {model_name(evidence.model)}" if evidence.model and "the model" in known.meaning else ""
    perhaps = "" if sure == "certain" else "perhaps "
    sentence = f"By the error, {perhaps}{known.meaning.replace('the model', f'the model{model}', 1)}{said}"
    numbers: dict[str, float | str] = {}
    if pasted.status is not None:
        numbers["status"] = pasted.status
    if code == pasted.claims[0]:
        numbers |= pasted.limits
        if pasted.fields:
            sentence += f": {', '.join(quoted(each, 40) for each in pasted.fields[:_FIELDS])}"
    state, ends_at, ends = _standing(evidence, code)
    if state == "lately" and code in LOGGED and evidence.log is not None:
        sure = "possible" if sure == "possible" else "likely"
        sentence += "; the log shows no such refusal now"
    return Cause(
        code,
        sentence,
        Remedy(known.helps(state)),
        state=state,
        sure=sure,
        numbers=numbers,
        ends_at=ends_at,
        ends=ends,
        claimed=True,
    )


def _standing(evidence: Evidence, code: str) -> tuple[State, datetime | None, str]:
    """Whether what only the error names is still in force, and when it ends: by Venice's headers, else by its age."""
    pasted, known, now = evidence.pasted, KNOWN[code], evidence.now
    if pasted is None or code not in _PASSING:
        return "now", None, known.ends
    if pasted.wait_s is not None:
        if pasted.wait_s > 0:
            return "now", now + timedelta(seconds=pasted.wait_s), ""
        return _age(evidence), None, "over by now"
    sent = pasted.sent
    ends_at = over(code, sent if sent is not None else now)
    if sent is not None and (now - sent > LATELY if ends_at is None else ends_at <= now):
        return _age(evidence), None, "over by now"
    if code in LOGGED and evidence.log is not None:
        return "lately", None, "over, as far as the log tells"
    if ends_at is None:
        return "now", None, known.ends
    return "now", ends_at, "" if sent is not None else "at the latest, if it came just now"


def _age(evidence: Evidence) -> State:
    sent = evidence.pasted.sent if evidence.pasted is not None else None
    return "past" if sent is not None and evidence.now - sent > LATELY else "lately"


def _no_more(evidence: Evidence, code: str) -> Cause:
    """What the error speaks for contradicts what was read: it is over, or of another key."""
    known, who = KNOWN[code], evidence.subject.name(evidence.key)
    sentence = f"By the error, {known.meaning}; that is not so of the {who} now: {_refuted(evidence, code)}"
    return Cause(
        code,
        f"{sentence}. It was mended since, or another key failed",
        Remedy("Pass the id of the key that failed as key_id; if it is this one, try once and pass the new error."),
        state="past",
        sure="likely",
        ends="over by now, if it was this key",
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
            return f"the account has {amount(both.usd or 0)} USD and {amount(both.diem or 0)} DIEM"
    if code == "address_not_listed" and key is not None and not key.ip_allowlist:
        return "the key has no address list"
    return _refuted_of_model(evidence, code, named=named, permitted=limits is not None and limits.access_permitted)


def _refuted_of_model(evidence: Evidence, code: str, *, named: bool, permitted: bool) -> str:
    key = evidence.key
    if code == "access_not_permitted" and permitted and not named:
        return "Venice permits the access"
    if code == "model_privacy" and key is not None and not named:
        model = evidence.offered
        if key.model_privacy == "ALL" or (model is not None and not forbids(key.model_privacy, model)):
            return "the key's privacy tier allows the model"
    if code == "key_not_accepted" and evidence.subject.kind is not None and evidence.limits is not None:
        return "Venice accepts the key that this server holds"
    return ""

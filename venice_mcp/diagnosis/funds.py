"""Causes that lie in money: the key's own caps, a cap of zero, and what the account has left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from venice_mcp.diagnosis.causes import BILLING_PAGE, KNOWN, Cause, Remedy, Sure
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.models.wire import WINDOWS, BalanceAnswer, Key, window_end
from venice_mcp.text import amount

Standing = Literal["open", "zero", "capped", "empty"]
_NEARLY = 0.9
_MOST = 9_999_999_999
_CAP_CODES = {"diem": "key_diem_cap", "usd": "key_usd_cap"}


@dataclass(frozen=True)
class Purse:
    """One currency as the key may spend it. None is not known; for `cap` it is no cap.

    Venice draws on DIEM before USD, and does not state whether a cap reached in one leads on to the other.
    """

    currency: Literal["diem", "usd"]
    cap: float | None
    spent: float | None
    balance: float | None

    @property
    def standing(self) -> Standing:
        if self.cap is not None and self.cap <= 0:
            return "zero"
        if self.cap is not None and self.spent is not None and self.spent >= self.cap:
            return "capped"
        return "empty" if self.penniless else "open"

    @property
    def penniless(self) -> bool:
        return self.balance is not None and self.balance <= 0

    @property
    def name(self) -> str:
        return self.currency.upper()


def purses(evidence: Evidence) -> tuple[Purse, Purse]:
    """DIEM and USD, in the order in which Venice draws on them."""
    key, balance = evidence.key, evidence.balance
    caps = key.consumption_limits if key is not None else None
    period = key.current_period_usage if key is not None else None
    # Null DIEM in an answer means that the account does not stake, which is as good as none.
    diem = None if balance is None else balance.balances.diem or 0.0
    usd = None if balance is None else balance.balances.usd
    return (
        Purse("diem", caps.diem if caps else None, _number(period.diem) if period else None, diem),
        Purse("usd", caps.usd if caps else None, _number(period.usd) if period else None, usd),
    )


def funds(evidence: Evidence) -> Iterator[Cause]:
    """What keeps the key from paying, or is about to."""
    key, balance = evidence.key, evidence.balance
    if balance is None:
        yield from _clamped(evidence)
    if key is None and balance is None:
        return
    both = purses(evidence)
    if all(purse.standing != "open" for purse in both) and not (_bundled(balance) and any(map(_unspent, both))):
        yield from _closed(evidence, both)
        return
    if balance is not None and not balance.can_consume:
        yield _cannot_consume(balance)
    for purse in both:
        if key is not None and purse.standing == "capped":
            # The other currency is open, so this may not stop anything.
            yield _reached(evidence, key, purse, sure="possible")
        elif key is not None and purse.cap and purse.spent is not None and purse.spent >= purse.cap * _NEARLY:
            yield _nearly(evidence, key, purse)


def _bundled(balance: BalanceAnswer | None) -> bool:
    """Whether the account draws on credits whose balance Venice does not tell."""
    return balance is not None and (balance.consumption_currency or "").upper() not in ("", "USD", "DIEM", "VCU")


def _unspent(purse: Purse) -> bool:
    return purse.standing == "empty"


def _closed(evidence: Evidence, both: tuple[Purse, Purse]) -> Iterator[Cause]:
    """Neither currency can be spent: why, and which of the two could be helped."""
    key = evidence.key
    penniless = all(purse.penniless for purse in both)
    if penniless:
        yield _empty(evidence, both)
    capped = [purse for purse in both if purse.standing == "capped"]
    zero = [purse for purse in both if purse.standing == "zero"]
    if key is not None and capped:
        for purse in capped:
            yield _reached(evidence, key, purse, sure="likely" if penniless else "certain")
    elif penniless:
        return
    elif key is not None and (len(zero) == len(both) or (zero and not _returns(evidence, both))):
        yield _zero(evidence, key, zero)
    elif zero:
        empty = next(purse for purse in both if purse.standing == "empty")
        yield _out_of(evidence, empty, zero[0])


def _returns(evidence: Evidence, both: tuple[Purse, Purse]) -> bool:
    """Whether the currency that is used up, beside one with a cap of 0, is there again some day: USD are bought, DIEM
    are given each day to those who stake."""
    return all(purse.currency != "diem" for purse in both if purse.standing == "empty") or _stakes(evidence.balance)


def _stakes(balance: BalanceAnswer | None) -> bool:
    return balance is not None and balance.balances.diem is not None and bool(balance.diem_epoch_allocation)


def _ends(key: Key, now: datetime) -> tuple[datetime | None, str]:
    end = window_end(key.limit_period, now)
    never = "never by itself: the cap is for the key's lifetime" if key.limit_period == "LIFETIME" else "not stated"
    return end, "" if end else never


def _reached(evidence: Evidence, key: Key, purse: Purse, sure: Sure = "certain") -> Cause:
    window = WINDOWS.get(key.limit_period, "in its window")
    sentence = (
        f"The {evidence.subject.name(key)} has spent {amount(purse.spent)} of its cap of {amount(purse.cap)}"
        f" {purse.name} {window}"
    )
    if sure == "possible":
        sentence += "; it can still spend the other currency, if Venice goes on to that (not stated)"
    ends_at, ends = _ends(key, evidence.now)
    return Cause(
        _CAP_CODES[purse.currency],
        sentence,
        _raised(key, purse),
        sure=sure,
        numbers=_numbers(purse),
        ends_at=ends_at,
        ends=ends,
    )


def _nearly(evidence: Evidence, key: Key, purse: Purse) -> Cause:
    share = round(100 * (purse.spent or 0) / (purse.cap or 1))
    sentence = (
        f"The {evidence.subject.name(key)} has spent {share} % of its cap of {amount(purse.cap)} {purse.name}"
        f" {WINDOWS.get(key.limit_period, 'in its window')}"
    )
    ends_at, ends = _ends(key, evidence.now)
    return Cause(
        _CAP_CODES[purse.currency],
        sentence,
        _raised(key, purse),
        state="soon",
        numbers=_numbers(purse),
        ends_at=ends_at,
        ends=ends,
    )


def _raised(key: Key, purse: Purse) -> Remedy:
    doubled = float(f"{2 * max(purse.cap or 0, purse.spent or 0):.2g}")
    if doubled > _MOST:
        return Remedy(f"Remove the {purse.name} cap or wait; it cannot be raised much further.")
    return Remedy(
        f"Raise the {purse.name} cap",
        "venice_update_api_key",
        {"key_id": key.id, "consumption_limit": {purse.currency: doubled}},
        "the amount is a guess: ask which",
    )


def _zero(evidence: Evidence, key: Key, zero: list[Purse]) -> Cause:
    caps = " and ".join(f"0 {purse.name}" for purse in reversed(zero))
    nothing = "" if len(zero) > 1 else ", and the account has nothing of the other currency and will not get any"
    return Cause(
        "cap_zero",
        f"The {evidence.subject.name(key)} has a cap of {caps}, so it may not spend anything{nothing}",
        Remedy(
            "Raise the cap",
            "venice_update_api_key",
            {"key_id": key.id, "consumption_limit": {zero[-1].currency: 5}},
            "the amount is a guess, and a cap of 0 may be meant: ask",
        ),
        sure="likely" if _bundled(evidence.balance) else "certain",
        numbers={f"{purse.currency}_cap": 0 for purse in zero},
        ends=KNOWN["cap_zero"].ends,
    )


def _empty(evidence: Evidence, both: tuple[Purse, Purse]) -> Cause:
    balance, staking = evidence.balance, _stakes(evidence.balance)
    diem, usd = both
    left = "no DIEM (it does not stake)"
    if balance is not None and balance.balances.diem is not None:
        left = f"{amount(diem.balance)} DIEM of today's {amount(balance.diem_epoch_allocation)}"
    sentence = f"The account has nothing left to pay with: {amount(usd.balance)} USD and {left}"
    doubtful = balance is not None and balance.can_consume
    if doubtful:
        sentence += ", although Venice says canConsume: true"
    return Cause(
        "account_empty",
        sentence,
        Remedy(f"Add credits at {BILLING_PAGE}{', or wait for the new DIEM' if staking else ''}."),
        sure="likely" if doubtful else "certain",
        numbers={purse.currency: purse.balance for purse in both if purse.balance is not None},
        ends_at=window_end("EPOCH", evidence.now) if staking else None,
        ends="for what the new DIEM pays" if staking else "when credits are added",
    )


def _out_of(evidence: Evidence, empty: Purse, other: Purse) -> Cause:
    """The account has none of one currency, and the key may not spend the other."""
    code = "account_out_of_diem" if empty.currency == "diem" else "account_out_of_usd"
    sentence = (
        f"The account has no {empty.name} left, and the {evidence.subject.name(evidence.key)} may not spend"
        f" {other.name} (its {other.name} cap is 0)"
    )
    ends_at = window_end("EPOCH", evidence.now) if empty.currency == "diem" else None
    return Cause(
        code,
        sentence,
        Remedy(KNOWN[code].remedy),
        numbers={empty.currency: 0, f"{other.currency}_cap": 0},
        ends_at=ends_at,
        ends="" if ends_at else KNOWN[code].ends,
    )


def _cannot_consume(balance: BalanceAnswer) -> Cause:
    diem, usd = balance.balances.diem, balance.balances.usd
    return Cause(
        "cannot_consume",
        f"Venice says that the account cannot pay for calls (canConsume: false), with {amount(usd)} USD and"
        f" {amount(diem)} DIEM",
        Remedy(KNOWN["cannot_consume"].remedy),
        numbers={name: value for name, value in (("usd", usd), ("diem", diem)) if value is not None},
        ends=KNOWN["cannot_consume"].ends,
    )


def _clamped(evidence: Evidence) -> Iterator[Cause]:
    """Without an ADMIN key: the balances a key is shown are clamped to its caps, so nothing is left of either."""
    limits = evidence.limits
    if limits is None or evidence.subject.kind is None or not limits.balances:
        return
    if all(value is not None and value <= 0 for value in limits.balances.values()):
        who = evidence.subject.name(evidence.key)
        sentence = f"The {who} sees no balance: the account is empty, or the key's caps are 0"
        for code in ("account_empty", "cap_zero"):
            yield Cause(code, sentence, Remedy(KNOWN[code].remedy), sure="likely", ends=KNOWN[code].ends)


def _numbers(purse: Purse) -> dict[str, float | str]:
    known = {"cap": purse.cap, "spent": purse.spent, "balance": purse.balance}
    return {f"{purse.currency}_{name}": value for name, value in known.items() if value is not None}


def _number(text: str) -> float | None:
    """An amount, which is text in key usage."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None

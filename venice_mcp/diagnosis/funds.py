"""Causes that lie in money: the key's own caps, a cap of zero, and what the account has left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from venice_mcp.diagnosis.causes import BILLING_PAGE, KNOWN, Cause, Remedy
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.models.wire import WINDOWS, BalanceAnswer, Key
from venice_mcp.text import amount

Standing = Literal["open", "zero", "capped", "empty"]
_NEARLY = 0.9
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
        return "empty" if self.balance is not None and self.balance <= 0 else "open"

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
    if key is None and balance is None:
        yield from _clamped(evidence)
        return
    both = purses(evidence)
    bundled = balance is not None and (balance.consumption_currency or "").upper() not in ("", "USD", "DIEM", "VCU")
    if not bundled and all(purse.standing != "open" for purse in both):
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


def _closed(evidence: Evidence, both: tuple[Purse, Purse]) -> Iterator[Cause]:
    """Neither currency can be spent: why, and which of the two could be helped."""
    key = evidence.key
    states = {purse.standing for purse in both}
    capped = [purse for purse in both if purse.standing == "capped"]
    if key is not None and capped:
        for purse in capped:
            yield _reached(evidence, key, purse)
    elif key is not None and states == {"zero"}:
        yield _zero(evidence, key)
    elif states == {"empty"}:
        yield _empty(evidence)
    else:
        empty = next(purse for purse in both if purse.standing == "empty")
        other = next(purse for purse in both if purse is not empty)
        yield _out_of(evidence, empty, other)


def window_end(period: str, now: datetime) -> datetime | None:
    """When a cap's window ends; None for LIFETIME and for what is not known."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "EPOCH":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1) if period == "MONTH" else None


def _ends(key: Key, now: datetime) -> tuple[datetime | None, str]:
    end = window_end(key.limit_period, now)
    return end, "" if end else "never by itself: the cap is for the key's lifetime"


def _reached(evidence: Evidence, key: Key, purse: Purse, sure: Literal["certain", "possible"] = "certain") -> Cause:
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
    return Remedy(
        f"Raise the {purse.name} cap",
        "venice_update_api_key",
        {"key_id": key.id, "consumption_limit": {purse.currency: doubled}},
        "the amount is a guess: ask which",
    )


def _zero(evidence: Evidence, key: Key) -> Cause:
    return Cause(
        "cap_zero",
        f"The {evidence.subject.name(key)} has caps of 0 USD and 0 DIEM, so it may not spend anything",
        Remedy(
            "Raise the cap",
            "venice_update_api_key",
            {"key_id": key.id, "consumption_limit": {"usd": 5}},
            "the amount is a guess, and a cap of 0 may be meant: ask",
        ),
        numbers={"usd_cap": 0, "diem_cap": 0},
        ends=KNOWN["cap_zero"].ends,
    )


def _empty(evidence: Evidence) -> Cause:
    balance = evidence.balance
    staking = balance is not None and balance.balances.diem is not None and bool(balance.diem_epoch_allocation)
    numbers: dict[str, float | str] = {"usd": 0}
    diem = "no DIEM (it does not stake)"
    if balance is not None and balance.balances.diem is not None:
        numbers["diem"] = balance.balances.diem
        numbers["diem_epoch_allocation"] = balance.diem_epoch_allocation or 0
        diem = f"0 DIEM of today's {amount(balance.diem_epoch_allocation)}"
    return Cause(
        "account_empty",
        f"The account has nothing left to pay with: 0 USD and {diem}",
        Remedy(f"Add credits at {BILLING_PAGE}{', or wait for the new DIEM' if staking else ''}."),
        numbers=numbers,
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
        sentence = f"The {evidence.subject.name()} sees no balance: the account is empty, or the key's caps are 0"
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

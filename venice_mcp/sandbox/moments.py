"""Times as the API writes and reads them."""

import re
from datetime import UTC, datetime, timedelta

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXPIRY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")
_TIMESTAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?Z")


def wire(at: datetime) -> str:
    """Milliseconds and a Z, as JavaScript writes a date."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def wire_or_none(at: datetime | None) -> str | None:
    return None if at is None else wire(at)


def as_shown(at: datetime) -> datetime:
    """In whole milliseconds: nothing on a bill may fall between two displayed times."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def read_date(text: str) -> datetime | None:
    """The start of a UTC day, or None where the text is no calendar date."""
    return _iso(text + "T00:00:00+00:00") if _DATE.fullmatch(text) else None


def read_expiry(text: str) -> datetime | None:
    """A date or a timestamp with no fraction or exactly three digits of one; a date means 00:00 UTC."""
    if _EXPIRY.fullmatch(text):
        return _iso(text[:-1] + "+00:00")
    return read_date(text)


def read_timestamp(text: str) -> datetime | None:
    """RFC 3339 in UTC with a Z; digits finer than a microsecond are cut off."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    fraction: str = (found.group(2) or "0")[:6].ljust(6, "0")
    return _iso(f"{found.group(1)}.{fraction}+00:00")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def day_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def next_day(at: datetime) -> datetime:
    return day_start(at) + timedelta(days=1)


def period_start(period: str, at: datetime) -> datetime:
    """When the running EPOCH, MONTH or LIFETIME began."""
    if period == "LIFETIME":
        return datetime.min.replace(tzinfo=UTC)
    today = day_start(at)
    return today.replace(day=1) if period == "MONTH" else today

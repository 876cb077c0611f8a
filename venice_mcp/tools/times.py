"""Times in arguments: dates, ISO times with any offset, and days from now."""

from datetime import UTC, date, datetime, timedelta

from venice_mcp.errors import ArgumentError
from venice_mcp.text import parse_time, to_wire
from venice_mcp.tools.arguments import ChangeArguments, LimitArguments


def expiry(args: LimitArguments | ChangeArguments, now: datetime) -> str | None:
    """The absolute expiry in Venice's form, or None when none was given.

    A date alone means the end of that day in UTC, so that a key lives through the day a person named.

    Raises:
        ArgumentError: both forms were given, it is not a time, or it has passed.
    """
    if args.expires_at is not None and args.expires_in_days is not None:
        raise ArgumentError("expires_at", "was given together with expires_in_days.", "Give only one of them.")
    if args.expires_in_days is not None:
        moment = now + timedelta(days=args.expires_in_days)
    elif args.expires_at is not None:
        moment = instant(args.expires_at, "expires_at", end_of_day=True)
    else:
        return None
    # Venice takes whole seconds; a moment within this second would have passed when it arrives.
    if moment.replace(microsecond=0) <= now:
        raise ArgumentError(
            "expires_at",
            f"lies in the past; it is now {now:%Y-%m-%d %H:%M} UTC.",
            "Give a later time, or expires_in_days.",
        )
    return to_wire(moment)


def instant(value: str, argument: str, *, end_of_day: bool = False) -> datetime:
    """A date or ISO time with any offset, in UTC; without an offset it is taken as UTC."""
    moment = parse_time(value)
    if moment is None:
        raise ArgumentError(
            argument,
            "is not a date or an ISO 8601 time.",
            "Write it like 2027-01-31 or 2027-01-31T18:00:00+01:00.",
        )
    if moment.year < 1970:
        raise ArgumentError(argument, "lies before 1970.", "Give a later time.")
    if end_of_day and _is_date(value):
        moment = moment.replace(hour=23, minute=59, second=59, tzinfo=UTC)
    return moment


def _is_date(value: str) -> bool:
    """Whether it names a day and no time; every ISO spelling of a date counts."""
    try:
        date.fromisoformat(value.strip())
    except ValueError:
        return False
    return True


def day(value: str, argument: str) -> date:
    """A calendar day."""
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ArgumentError(argument, "is not a day of the calendar.", "Write it like 2027-01-31.") from None

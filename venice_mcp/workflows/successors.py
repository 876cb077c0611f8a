"""The successor of a key: the same settings, as far as Venice states them and takes them."""

from datetime import datetime, timedelta

from venice_mcp.models.requests import NewKeySettings
from venice_mcp.models.wire import Key
from venice_mcp.text import parse_time, plain, to_wire

UNNAMED = "unnamed key"


def successor_of(key: Key, now: datetime, expires_at: str | None = None) -> NewKeySettings:
    """Type, caps, window, privacy, addresses, description and span of life of `key`, as settings of a new one.

    `expires_at` overrides the expiry. The deprecated VCU cap cannot be given to a new key.
    """
    limits = key.consumption_limits
    capped = limits.usd is not None or limits.diem is not None
    # Venice takes 64 characters, in whichever way it counts; what it lists may be longer or hold what nobody can see.
    description = plain(key.description, 64).encode("utf-16-le")[:128].decode("utf-16-le", "ignore")
    return NewKeySettings(
        api_key_type=key.api_key_type,
        description=description or UNNAMED,
        usd_cap=limits.usd,
        diem_cap=limits.diem,
        limit_period=key.limit_period if capped else None,
        model_privacy=key.model_privacy,
        expires_at=expires_at or _expiry(key, now),
        ip_allowlist=tuple(key.settings()["ip_allowlist"]) if key.ip_allowlist else None,
    )


def _expiry(key: Key, now: datetime) -> str | None:
    """As long a life as the old key was given; where that is not known, the same end, if it lies ahead."""
    end, made = parse_time(key.expires_at), parse_time(key.created_at)
    if end is None:
        return None
    life = end - made if made is not None and made < end else end - now
    return to_wire(now + max(life, timedelta(hours=1)))

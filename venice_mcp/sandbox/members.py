"""One key of a scenario, as it is written down there."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from venice_mcp.sandbox.state import Amount, Key, new_secret
from venice_mcp.sandbox.traffic import Repeatable


@dataclass(frozen=True)
class Member:
    """One key of the team; times are ages at the moment the scenario begins."""

    description: str | None
    caps: dict[str, Amount] = field(default_factory=dict[str, Amount])
    period: str = "EPOCH"
    privacy: str = "ALL"
    made: timedelta | None = timedelta(days=120)
    used: timedelta | None = None
    expires_in: timedelta | None = None
    api_key_type: str = "INFERENCE"
    ip_allowlist: tuple[str, ...] = ()


def days(count: float) -> timedelta:
    return timedelta(days=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def key_of(member: Member, began_at: datetime, chance: Repeatable) -> Key:
    return Key(
        id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        secret=new_secret(member.api_key_type, chance),
        api_key_type=member.api_key_type,
        description=member.description,
        caps=dict(member.caps),
        limit_period=member.period,
        model_privacy=member.privacy,
        created_at=None if member.made is None else began_at - member.made,
        expires_at=None if member.expires_in is None else began_at + member.expires_in,
        last_used_at=None if member.used is None else began_at - member.used,
        ip_allowlist=member.ip_allowlist,
    )

"""What Venice is asked for, fully decided. Source: Venice OpenAPI 20260821.193530.

Requests are strict and hold only documented members; `ipAllowlist` (docs page "Managing API Keys") is sent only
when it was given, and the deprecated `vcu` never.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from venice_mcp.models.wire import Key, one_spelling_of_ranges


class KeyLimits(BaseModel):
    """What a key may do: caps in their units, expiry as Venice takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    usd_cap: float | None = None
    diem_cap: float | None = None
    limit_period: str | None = None
    model_privacy: str | None = None
    expires_at: str | None = None
    ip_allowlist: tuple[str, ...] | None = None


class NewKeySettings(KeyLimits):
    """What a new key shall be able to do, fully decided. The intent of a create or a mint."""

    api_key_type: str
    description: str

    def to_wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {"apiKeyType": self.api_key_type, "description": self.description}
        caps = {"usd": self.usd_cap, "diem": self.diem_cap}
        if any(value is not None for value in caps.values()):
            body["consumptionLimit"] = {name: value for name, value in caps.items() if value is not None}
        optional: Mapping[str, Any] = {
            "limitPeriod": self.limit_period,
            "modelPrivacy": self.model_privacy,
            "expiresAt": self.expires_at,
            "ipAllowlist": list(self.ip_allowlist) if self.ip_allowlist is not None else None,
        }
        return body | {name: value for name, value in optional.items() if value is not None}


class KeyChange(KeyLimits):
    """A change of one key, fully decided: only the members in `model_fields_set` are sent."""

    id: str
    description: str | None = None

    def intent(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)

    def to_wire(self) -> dict[str, Any]:
        given = self.model_fields_set
        body: dict[str, Any] = {"id": self.id}
        if {"usd_cap", "diem_cap"} & given:
            # Always both: whether a PATCH merges or replaces the one left out is not documented.
            body["consumptionLimit"] = {"usd": self.usd_cap, "diem": self.diem_cap}
        for name, wire in (
            ("description", "description"),
            ("limit_period", "limitPeriod"),
            ("model_privacy", "modelPrivacy"),
        ):
            if name in given:
                body[wire] = getattr(self, name)
        if "expires_at" in given:
            body["expiresAt"] = self.expires_at or ""
        if "ip_allowlist" in given:
            body["ipAllowlist"] = list(self.ip_allowlist or ())
        return body

    def applied_to(self, key: Key) -> dict[str, Any]:
        """The key's settings as they will be after the change."""
        after = key.settings()
        for name in self.model_fields_set - {"id"}:
            value = getattr(self, name)
            after[name] = one_spelling_of_ranges(value or ()) if name == "ip_allowlist" else value
        return after

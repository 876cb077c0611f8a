"""Bodies of a create, and members that spoil one. Shared with the tests of the contract."""

from typing import Any

from tests.sandbox.door import Json

GOOD: Json = {"apiKeyType": "INFERENCE", "description": "fine"}
BAD_MEMBERS: list[tuple[str, Any]] = [
    ("apiKeyType", "admin"),
    ("apiKeyType", None),
    ("description", None),
    ("description", 5),
    ("description", "x" * 65),
    ("consumptionLimit", None),
    ("consumptionLimit", []),
    ("consumptionLimit", {"usd": "5"}),
    ("consumptionLimit", {"usd": True}),
    ("consumptionLimit", {"diem": -0.01}),
    ("consumptionLimit", {"vcu": 10_000_000_000}),
    ("limitPeriod", "DAY"),
    ("limitPeriod", None),
    ("modelPrivacy", "private"),
    ("expiresAt", "tomorrow"),
    ("expiresAt", "2027-02-30"),
    ("expiresAt", "2027-01-01T00:00:00+00:00"),
    ("expiresAt", "2027-01-01T00:00:00.12Z"),
    ("expiresAt", "2027-01-01T00:00Z"),
    ("expiresAt", "2027-01-01\n"),
    ("expiresAt", "２０２７-01-01"),
    ("expiresAt", 1_800_000_000),
    ("ipAllowlist", None),
    ("ipAllowlist", "10.0.0.1"),
    ("ipAllowlist", ["10.0.0.256"]),
    ("ipAllowlist", ["10.0.0.0/33"]),
    ("ipAllowlist", ["10.0.0.1"] * 101),
    ("ipAllowlist", [1]),
    ("consumptionLimits", {"usd": 1}),
    ("usage", {}),
]

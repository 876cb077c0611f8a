"""Requests that run into what a scenario has in store, for tests and for demonstrations."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from venice_mcp.sandbox.access import DISABLED, INACTIVE
from venice_mcp.sandbox.call import JsonObject
from venice_mcp.sandbox.chat import CAPACITY, OFFLINE, OVERLOADED
from venice_mcp.sandbox.limits import FAILURES_ALLOWED, UNSUPPORTED_ALLOWED, block_text
from venice_mcp.sandbox.paying import EMPTY, cap_text
from venice_mcp.sandbox.troubles import MODEL

_MESSAGES: list[object] = [{"role": "user", "content": "Say in one sentence what this sandbox is for."}]


@dataclass(frozen=True)
class Load:
    """`POST /chat/completions` of `body`, `times` over, with the sandbox's INFERENCE key."""

    # Status and a part of the error of the last answer; the ones before may have ended so as well.
    ends_with: tuple[int, str]
    model: str = MODEL
    times: int = 1
    # Members beside model and messages.
    members: JsonObject = field(default_factory=dict[str, object])
    scenario: str = "healthy"
    # Control routes, with their bodies, that bring the condition about before the first request.
    before: tuple[tuple[str, JsonObject], ...] = ()
    # How far the clock is to be moved on before the last request.
    advance_s: float = 0.0

    @property
    def body(self) -> JsonObject:
        return {"model": self.model, "messages": _MESSAGES, **self.members}


def _account(**members: object) -> tuple[tuple[str, JsonObject], ...]:
    return (("account", members),)


_TOOLS: JsonObject = {"tools": [{"type": "function", "function": {"name": "look_up"}}]}
_PRIVACY = "This API key is set to 'Private models only', but `gemini-3-6-flash` is an Anonymous model."
LOADS: Mapping[str, Load] = {
    "healthy": Load((200, ""), times=3, scenario="healthy"),
    "rpm": Load((429, "Rate limit exceeded"), times=7, scenario="rpm"),
    "tpm": Load((429, "Rate limit exceeded"), times=4, members={"max_tokens": 1000}, scenario="tpm"),
    "rpd": Load((429, "Rate limit exceeded"), times=9, scenario="rpd"),
    # A model of another house: each request is answered with 404, until all are refused.
    "abuse": Load((429, block_text(FAILURES_ALLOWED)), "gpt-6", FAILURES_ALLOWED + 2, scenario="abuse"),
    "cap-usd": Load((402, cap_text("USD")), times=3, members={"max_tokens": 2000}, scenario="cap-usd"),
    "cap-diem": Load((402, cap_text("DIEM")), times=3, members={"max_tokens": 2000}, scenario="cap-diem"),
    "cap-zero": Load((402, cap_text("DIEM")), scenario="cap-zero"),
    "no-balance": Load((402, EMPTY), scenario="no-balance"),
    "expired": Load((401, "Authentication failed"), times=2, scenario="expired", advance_s=121.0),
    "privacy": Load((403, _PRIVACY), "gemini-3-6-flash", scenario="privacy"),
    "ip": Load((403, "Unauthorized access"), scenario="ip"),
    "overload": Load((429, OVERLOADED), scenario="overload"),
}
"""For each scenario that has a trouble, and for the one that has none."""
OTHER_LOADS: Mapping[str, Load] = {
    "model-at-capacity": Load((503, CAPACITY), "kimi-k2-6", scenario="overload"),
    "model-offline": Load((503, OFFLINE), "llama-3.2-3b", scenario="overload"),
    "model-unknown": Load((404, "Specified model not found: gpt-6"), "gpt-6"),
    "invalid-request": Load((400, "Invalid request parameters"), members={"max_tokens": 0}),
    "unsupported-once": Load((400, "tools is not supported by this model"), "llama-3.2-3b", members=_TOOLS),
    "unsupported-feature": Load(
        (429, block_text(UNSUPPORTED_ALLOWED)), "llama-3.2-3b", UNSUPPORTED_ALLOWED + 2, members=_TOOLS
    ),
    "out-of-diem": Load((402, EMPTY), before=_account(usd_balance=0, diem_balance=0)),
    "out-of-usd": Load((402, EMPTY), before=_account(usd_balance=0, diem_balance=None)),
    "cannot-consume": Load((402, EMPTY), before=_account(can_consume=False)),
    "access-not-permitted": Load((403, "Unauthorized access"), before=_account(access_permitted=False)),
    "api-access-disabled": Load((403, DISABLED), before=_account(api_access=False)),
    "subscription-inactive": Load((401, INACTIVE), before=_account(subscription_active=False)),
}
"""What is brought about by control routes, or by another model, instead of by the scenario."""

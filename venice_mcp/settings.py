"""Frozen settings from the operator's environment: which keys, which Venice, where state lives.

Nothing here is ever taken from a tool argument. A setting that cannot be used becomes a `problem` that
`venice_status`, `doctor` and the calls that need it report; the server always starts.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from venice_mcp.secrets import Secret

LIVE_URL = "https://api.venice.ai/api/v1"
LIVE_HOST = "api.venice.ai"
IN_PROCESS_URL = "http://sandbox.invalid/api/v1"
"""Never resolved: requests to it go to the sandbox inside this process."""
KEYRING_SERVICE = "venice-mcp"
SCENARIOS = ("empty", "demo", "large")

KeyKind = Literal["ADMIN", "INFERENCE", "WALLET"]
VARIABLES: dict[KeyKind, str] = {
    "ADMIN": "VENICE_ADMIN_KEY",
    "INFERENCE": "VENICE_API_KEY",
    "WALLET": "VENICE_WALLET_KEY",
}
_SANDBOX_KEY = re.compile(r"VENICE_(?:ADMIN|INFERENCE)_KEY_SANDBOX_[A-Za-z0-9_-]{8,}")
_TYPED_KEY = re.compile(r"VENICE_(ADMIN|INFERENCE)_KEY_")
_WALLET_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # secp256k1
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")
_MAX_KEY_FILE = 4096


@dataclass(frozen=True)
class Credential:
    """One configured key: the secret, where it came from, or why it cannot be used."""

    kind: KeyKind
    secret: Secret | None = None
    origin: str = "not configured"
    problem: str | None = None

    @property
    def variable(self) -> str:
        return VARIABLES[self.kind]


@dataclass(frozen=True)
class Settings:
    """Everything the operator decided, read once.

    Attributes:
        base_url: Venice, a loopback sandbox, or `IN_PROCESS_URL`.
        mode: "live", "sandbox" (in this process) or "loopback" (a sandbox at VENICE_BASE_URL).
        problems: what is wrong with the settings themselves, with the fix.
        blocked: why no request may be sent at all, if so.
    """

    mode: Literal["live", "sandbox", "loopback"]
    base_url: str
    state_dir: Path
    account: str
    scenario: str = "demo"
    credentials: Mapping[KeyKind, Credential] = field(default_factory=dict[KeyKind, Credential])
    problems: tuple[str, ...] = ()
    blocked: str | None = None
    use_keyring: bool = False


def default_state_dir(env: Mapping[str, str]) -> Path:
    """VENICE_MCP_STATE_DIR, or the platform's place for per-user state."""
    if chosen := env.get("VENICE_MCP_STATE_DIR", "").strip():
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_state_path  # only needed when nothing was chosen

    return user_state_path("venice-mcp", appauthor=False)


def load(env: Mapping[str, str] | None = None, *, sandbox: bool = False, state_dir: Path | None = None) -> Settings:
    """Settings from environment variables. Never raises for what a user typed."""
    env = os.environ if env is None else env
    folder = state_dir.expanduser().absolute() if state_dir else default_state_dir(env)
    if sandbox or env.get("VENICE_MCP_SANDBOX", "").strip().lower() in ("1", "true", "yes", "on"):
        return _sandbox_settings(env, folder)
    base_url, mode, blocked = _base_url(env.get("VENICE_BASE_URL", "").strip())
    kinds: tuple[KeyKind, ...] = ("ADMIN", "INFERENCE", "WALLET") if mode == "live" else ("ADMIN", "INFERENCE")
    credentials: dict[KeyKind, Credential] = {kind: _from_env(kind, env, mode) for kind in kinds}
    problems = [item.problem for item in credentials.values() if item.problem]
    if blocked:
        problems.insert(0, blocked)
    if mode == "loopback":
        credentials["WALLET"] = _throwaway_wallet()
        if _named(env, "VENICE_WALLET_KEY"):
            problems.append("VENICE_WALLET_KEY is ignored: a real wallet never signs for a loopback sandbox.")
    return Settings(
        mode=mode,
        base_url=base_url,
        state_dir=folder,
        account=f"{mode}:{urlsplit(base_url).netloc}",
        credentials=credentials,
        problems=tuple(problems),
        blocked=blocked,
        use_keyring=mode == "live" and env.get("VENICE_MCP_KEYRING", "1").strip() not in ("0", "false", "no", "off"),
    )


def _sandbox_settings(env: Mapping[str, str], folder: Path) -> Settings:
    """Fresh throwaway keys; whatever real ones are configured stay untouched and unread."""
    credentials: dict[KeyKind, Credential] = {
        "ADMIN": Credential("ADMIN", _sandbox_key("ADMIN"), "made for this sandbox"),
        "INFERENCE": Credential("INFERENCE", _sandbox_key("INFERENCE"), "made for this sandbox"),
        "WALLET": _throwaway_wallet(),
    }
    problems: list[str] = []
    if ignored := [name for name in VARIABLES.values() if _named(env, name)]:
        problems.append(f"{', '.join(ignored)} ignored: this is the sandbox.")
    scenario = env.get("VENICE_MCP_SANDBOX_SCENARIO", "").strip() or "demo"
    if scenario not in SCENARIOS:
        problems.append(f"VENICE_MCP_SANDBOX_SCENARIO must be one of {', '.join(SCENARIOS)}; demo is used.")
        scenario = "demo"
    return Settings(
        mode="sandbox",
        base_url=IN_PROCESS_URL,
        state_dir=folder,
        # A sandbox lives as long as its process, and so must the approvals given for it.
        account=f"sandbox:{secrets.token_hex(4)}",
        scenario=scenario,
        credentials=credentials,
        problems=tuple(problems),
    )


def _sandbox_key(kind: Literal["ADMIN", "INFERENCE"]) -> Secret:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return Secret(f"VENICE_{kind}_KEY_SANDBOX_" + "".join(secrets.choice(alphabet) for _ in range(32)))


def _throwaway_wallet() -> Credential:
    return Credential("WALLET", Secret("0x" + secrets.token_hex(32)), "made for this sandbox")


def _named(env: Mapping[str, str], variable: str) -> bool:
    return bool(env.get(variable, "").strip() or env.get(f"{variable}_FILE", "").strip())


def _base_url(chosen: str) -> tuple[str, Literal["live", "loopback"], str | None]:
    """Live unless a loopback sandbox is named; anything else blocks every request."""
    if not chosen or chosen.rstrip("/") in (LIVE_URL, "https://" + LIVE_HOST):
        return LIVE_URL, "live", None
    try:
        parts = urlsplit(chosen)
        loopback = parts.scheme == "http" and parts.port is not None and _is_loopback(parts.hostname or "")
    except ValueError:
        loopback, parts = False, urlsplit("")
    if not loopback or parts.username or parts.query or parts.fragment:
        return (
            LIVE_URL,
            "live",
            (
                "VENICE_BASE_URL is refused: it may only name a loopback sandbox such as http://127.0.0.1:8700/api/v1."
                " Unset it to use https://api.venice.ai; until then no request is sent."
            ),
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    path = parts.path.rstrip("/") or "/api/v1"
    return f"http://{host}:{parts.port}{path}", "loopback", None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- reading one key ------------------------------------------------------------------------------


def _from_env(kind: KeyKind, env: Mapping[str, str], mode: str) -> Credential:
    """`VARIABLE`, else the file named by `VARIABLE_FILE`."""
    variable = VARIABLES[kind]
    if value := env.get(variable, "").strip():
        return _checked(kind, value, f"environment variable {variable}", mode)
    name = env.get(f"{variable}_FILE", "").strip()
    if not name:
        return Credential(kind)
    origin = f"file named by {variable}_FILE"
    try:
        path = Path(name).expanduser()
        if not path.is_file():  # a FIFO or device could block for ever
            return Credential(kind, origin=origin, problem=f"{variable}_FILE does not name a readable file.")
        with path.open("rb") as file:
            raw = file.read(_MAX_KEY_FILE + 1)
        value = raw.decode("utf-8").strip() if len(raw) <= _MAX_KEY_FILE else ""
    except (OSError, UnicodeDecodeError, RuntimeError):
        return Credential(kind, origin=origin, problem=f"The {origin} cannot be read as text.")
    if not value:
        return Credential(kind, origin=origin, problem=f"The {origin} is empty or longer than {_MAX_KEY_FILE} bytes.")
    return _checked(kind, value, origin, mode)


def from_keyring(kind: KeyKind, mode: str) -> Credential:
    """The secret stored under service `venice-mcp` and the variable's name, if the keyring package is there."""
    try:
        import keyring  # optional and slow to import
    except ImportError:
        return Credential(kind)
    try:
        value = keyring.get_password(KEYRING_SERVICE, VARIABLES[kind])
    except Exception:  # noqa: BLE001 - a backend is other people's code and may raise anything
        # No usable backend is the normal state of a server without a desktop, not a mistake to report.
        return Credential(kind)
    return _checked(kind, value.strip(), "system keyring", mode) if value and value.strip() else Credential(kind)


def _checked(kind: KeyKind, value: str, origin: str, mode: str) -> Credential:
    """The value as a secret, or what is wrong with it; the value itself is never shown."""

    def refuse(problem: str) -> Credential:
        return Credential(kind, origin=origin, problem=f"The {VARIABLES[kind]} from the {origin} {problem}")

    if _PLACEHOLDER.fullmatch(value):
        # A host that does not fill a variable in hands its name over; the operator set nothing.
        return Credential(kind)
    if kind == "WALLET":
        if not _WALLET_KEY.fullmatch(value) or not 0 < int(value, 16) < _CURVE_ORDER:
            return refuse("is not a private key: 64 hexadecimal digits, within the secp256k1 curve.")
        return Credential(kind, Secret(value), origin)
    if not re.fullmatch(r"[\x21-\x7e]{16,512}", value):
        return refuse("is not a key: it must be 16 to 512 visible ASCII characters without spaces.")
    typed = _TYPED_KEY.match(value)
    if typed and typed[1] != kind:
        return refuse(f"is an {typed[1]} key; {VARIABLES[kind]} takes an {kind} key.")
    is_sandbox = _SANDBOX_KEY.fullmatch(value) is not None
    if mode == "loopback" and not is_sandbox:
        return refuse("looks like a real key, and VENICE_BASE_URL names a sandbox, which only ever gets sandbox keys.")
    if mode == "live" and is_sandbox:
        return refuse("is a sandbox key; it means nothing to api.venice.ai. Set VENICE_BASE_URL to its sandbox.")
    return Credential(kind, Secret(value), origin)

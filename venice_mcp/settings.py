"""Frozen settings from the operator's environment: which keys, which Venice, where state lives.

Nothing here is ever taken from a tool argument. A setting that cannot be used becomes a `problem` that
`venice_status`, `doctor` and the calls that need it report; the server always starts.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from venice_mcp.policy.places import trusted_state_dir
from venice_mcp.policy.rules import Policy
from venice_mcp.policy.sources import in_force
from venice_mcp.secrets import Secret

LIVE_URL = "https://api.venice.ai/api/v1"
LIVE_HOST = "api.venice.ai"
IN_PROCESS_URL = "http://sandbox.invalid/api/v1"
"""Never resolved: requests to it go to the sandbox inside this process."""
KEYRING_SERVICE = "venice-mcp"
NOT_CONFIGURED = "not configured"
HOST_VARIABLE = "VENICE_MCP_HOST"
"""What started this server, where that tells how it is configured. Set by the launcher, not by people."""
PLUGIN = "plugin"
SCENARIOS = (
    "empty",
    "demo",
    "large",
    "healthy",
    "rpm",
    "tpm",
    "rpd",
    "abuse",
    "cap-usd",
    "cap-diem",
    "cap-zero",
    "no-balance",
    "expired",
    "privacy",
    "ip",
    "overload",
)
"""What a sandbox may begin with, in the words of `venice_mcp.sandbox.SCENARIOS`, which takes long to import."""

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
# How hosts and shells write "what is called X": ${X}, ${{ X }}, ${env:X}, {env:X}, {{X}}, $X, %X%, <X>, perhaps quoted.
_PLACEHOLDER = re.compile(
    r"""(["']?)(?:\$\{[^}]*\}\}?|\{\{?\s*(?:\w+[:.])?[A-Za-z_]\w*\s*\}?\}|[$][A-Z]\w*|%[A-Z]\w*%|<[A-Z]\w*>)\1"""
)
_IN_NO_KEY = re.compile(r"[$%{}<>()!`]")
_MAX_KEY_FILE = 4096
KEYSTORE_VARIABLE = "VENICE_WALLET_KEYSTORE_FILE"
_OPENED_WITH = "VENICE_WALLET_PASSWORD"
_WALLETS = (VARIABLES["WALLET"], KEYSTORE_VARIABLE)
_MAX_KEYSTORE_FILE = 64 * 1024


@dataclass(frozen=True)
class Keystore:
    """A wallet's key that is still encrypted, and what it opens with; opening takes a second."""

    content: Secret
    password: Secret


@dataclass(frozen=True)
class Credential:
    """One configured key: the secret or what it can be had from, where it came from, or why it cannot be used."""

    kind: KeyKind
    secret: Secret | None = None
    origin: str = NOT_CONFIGURED
    problem: str | None = None
    keystore: Keystore | None = None

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
        proxy, ca_file: how Venice is reached, only ever from the operator's policy file.
        policy: the rules in force; while a policy cannot be used, rules that let nothing be written.
        policy_problem: why nothing may be written, if a policy cannot be used. Also among `problems`.
        policy_sources: the files and variables the rules come from.
        allowances_hold: whether the record with the budgets is where the operator has it, so that nobody starts
            them anew by naming another. If not, `policy` lets nothing go unasked.
        host: `plugin` when the plugin of Claude Code started it, else empty. It words what to do, and prompts are left
            to the plugin's slash commands.
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
    proxy: str | None = None
    ca_file: Path | None = None
    policy: Policy = field(default_factory=Policy)
    policy_problem: str | None = None
    policy_sources: tuple[str, ...] = ()
    allowances_hold: bool = False
    host: str = ""


def default_state_dir(env: Mapping[str, str]) -> Path:
    """VENICE_MCP_STATE_DIR, or the platform's place for per-user state."""
    if chosen := _given(env, "VENICE_MCP_STATE_DIR"):
        return _absolute(Path(chosen))
    from platformdirs import user_state_path  # only needed when nothing was chosen

    return user_state_path("venice-mcp", appauthor=False)


def state_dir_in_use(env: Mapping[str, str], state_dir: Path | None = None, *, config_dir: Path | None = None) -> Path:
    """Where approvals are recorded: what the policy names, else `state_dir`, else `default_state_dir`."""
    return in_force(env, config_dir=config_dir).policy.state_dir or _asked_for(env, state_dir)


def _asked_for(env: Mapping[str, str], state_dir: Path | None) -> Path:
    return _absolute(state_dir) if state_dir else default_state_dir(env)


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # ~ of a user whom the system does not know
        return path.absolute()


def load(
    env: Mapping[str, str] | None = None,
    *,
    sandbox: bool = False,
    state_dir: Path | None = None,
    config_dir: Path | None = None,
    policy_file: Path | None = None,
) -> Settings:
    """Settings from environment variables and policies. Never raises for what a user typed.

    Args:
        env: instead of the environment of this process.
        sandbox: use the sandbox in this process, whatever else is configured.
        state_dir: where to record; a policy that names a place of its own is stronger.
        config_dir: instead of the folder with the operator's own policy.
        policy_file: one more policy, which can only make things stricter.
    """
    env = os.environ if env is None else env
    rules = in_force(env, config_dir=config_dir, policy_file=policy_file)
    asked_for = _asked_for(env, state_dir)
    folder = rules.policy.state_dir or asked_for
    found = _from_variables(env, folder, sandbox=sandbox)
    problems = [*([rules.problem] if rules.problem else []), *found.problems, *rules.notes]
    if asked_for != folder and (state_dir or _given(env, "VENICE_MCP_STATE_DIR")):
        problems.append("The policy says where state is kept; --state-dir and VENICE_MCP_STATE_DIR are ignored.")
    hold = folder == (rules.policy.state_dir or trusted_state_dir())
    policy = rules.policy if hold else replace(rules.policy, allowances=(), narrowing_unasked=False)
    if policy != rules.policy:
        problems.append(
            "What the policy allows unasked does not hold, because it would be recorded in a state directory that the"
            " policy does not name. Unset VENICE_MCP_STATE_DIR and --state-dir, or set state_dir in the policy."
        )
    # A sandbox is in this process or on this machine, where no proxy leads.
    live = found.mode == "live"
    return replace(
        found,
        problems=tuple(problems),
        policy=policy,
        policy_problem=rules.problem,
        policy_sources=rules.sources,
        allowances_hold=hold,
        host=PLUGIN if env.get(HOST_VARIABLE, "").strip() == PLUGIN else "",
        proxy=policy.proxy if live else None,
        ca_file=policy.ca_file if live else None,
    )


def _from_variables(env: Mapping[str, str], folder: Path, *, sandbox: bool) -> Settings:
    """What environment variables alone say."""
    if sandbox or _given(env, "VENICE_MCP_SANDBOX").lower() in ("1", "true", "yes", "on"):
        return _sandbox_settings(env, folder)
    # A placeholder here is refused like any other address: whoever wrote it did not mean the real Venice.
    base_url, mode, blocked = _base_url(env.get("VENICE_BASE_URL", "").strip())
    kinds: tuple[KeyKind, ...] = ("ADMIN", "INFERENCE", "WALLET") if mode == "live" else ("ADMIN", "INFERENCE")
    credentials: dict[KeyKind, Credential] = {kind: _from_env(kind, env, mode) for kind in kinds}
    problems = [item.problem for item in credentials.values() if item.problem]
    if blocked:
        problems.insert(0, blocked)
    if mode == "loopback":
        credentials["WALLET"] = _throwaway_wallet()
        if ignored := [name for name in _WALLETS if _named(env, name)]:
            problems.append(f"{', '.join(ignored)} ignored: a real wallet never signs for a loopback sandbox.")
    return Settings(
        mode=mode,
        base_url=base_url,
        state_dir=folder,
        account=f"{mode}:{urlsplit(base_url).netloc}",
        credentials=credentials,
        problems=tuple(problems),
        blocked=blocked,
        use_keyring=mode == "live" and _given(env, "VENICE_MCP_KEYRING") not in ("0", "false", "no", "off"),
    )


def _sandbox_settings(env: Mapping[str, str], folder: Path) -> Settings:
    """Fresh throwaway keys; whatever real ones are configured stay untouched and unread."""
    credentials: dict[KeyKind, Credential] = {
        "ADMIN": Credential("ADMIN", _sandbox_key("ADMIN"), "made for this sandbox"),
        "INFERENCE": Credential("INFERENCE", _sandbox_key("INFERENCE"), "made for this sandbox"),
        "WALLET": _throwaway_wallet(),
    }
    problems: list[str] = []
    if ignored := [name for name in (*VARIABLES.values(), KEYSTORE_VARIABLE) if _named(env, name)]:
        problems.append(f"{', '.join(ignored)} ignored: this is the sandbox.")
    scenario = _given(env, "VENICE_MCP_SANDBOX_SCENARIO") or "demo"
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
    return bool(_given(env, variable) or _given(env, f"{variable}_FILE"))


def _given(env: Mapping[str, str], variable: str) -> str:
    """What a variable says; a host that does not fill one in hands its placeholder over, which says nothing."""
    value = env.get(variable, "").strip()
    return "" if _PLACEHOLDER.fullmatch(value) else value


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
        # A zone ("%eth0") could lead out of this machine, or nowhere.
        return "%" not in host and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- reading one key ------------------------------------------------------------------------------


def _from_env(kind: KeyKind, env: Mapping[str, str], mode: str) -> Credential:
    """`VARIABLE`, else the file named by `VARIABLE_FILE`; for the wallet also a keystore, but not besides."""
    if kind == "WALLET" and _given(env, KEYSTORE_VARIABLE):
        return _from_keystore(env)
    variable = VARIABLES[kind]
    # A placeholder says nothing, so it must not hide a file either. Some are spelled in ways that nobody foresees.
    if (value := _given(env, variable)) and not _IN_NO_KEY.search(value):
        return _checked(kind, value, f"environment variable {variable}", mode)
    name = _given(env, f"{variable}_FILE")
    if not name:
        left = [each for each in (variable, f"{variable}_FILE") if env.get(each, "").strip()]
        return Credential(kind, origin=f"{NOT_CONFIGURED}: {left[0]} is a placeholder") if left else Credential(kind)
    origin = f"file named by {variable}_FILE"
    value = _text_in(name, _MAX_KEY_FILE)
    if value is None:
        return Credential(
            kind, origin=origin, problem=f"{variable}_FILE does not name a file that can be read as text."
        )
    if not value.strip():
        return Credential(kind, origin=origin, problem=f"The {origin} is empty or longer than {_MAX_KEY_FILE} bytes.")
    return _checked(kind, value.strip(), origin, mode)


def _text_in(name: str, most: int) -> str | None:
    """The text of a regular file, "" for more than that many bytes, None if there is no such file or text."""
    try:
        path = Path(name).expanduser()
        if not path.is_file():  # a FIFO or device could block for ever
            return None
        with path.open("rb") as file:
            raw = file.read(most + 1)
        return raw.decode("utf-8") if len(raw) <= most else ""
    except (OSError, UnicodeDecodeError, RuntimeError, ValueError):
        return None


def _from_keystore(env: Mapping[str, str]) -> Credential:
    """The keystore and its password, still closed: opening it is slow, and most servers never mint."""
    origin = f"keystore named by {KEYSTORE_VARIABLE}"

    def refuse(problem: str) -> Credential:
        return Credential("WALLET", origin=origin, problem=problem)

    if _named(env, VARIABLES["WALLET"]):
        return refuse(f"{VARIABLES['WALLET']} and {KEYSTORE_VARIABLE} both name a wallet; unset one of them.")
    content = _text_in(_given(env, KEYSTORE_VARIABLE), _MAX_KEYSTORE_FILE)
    if content is None:
        return refuse(f"{KEYSTORE_VARIABLE} does not name a readable text file.")
    if not content.strip():
        return refuse(f"The {origin} is empty or longer than {_MAX_KEYSTORE_FILE} bytes.")
    if name := _given(env, f"{_OPENED_WITH}_FILE"):
        # One line end is the editor's; all else may belong to the password.
        password = (_text_in(name, _MAX_KEY_FILE) or "").removesuffix("\n").removesuffix("\r")
        if not password:
            return refuse(f"{_OPENED_WITH}_FILE does not name a file with a password of at most {_MAX_KEY_FILE} bytes.")
    else:
        password = env.get(_OPENED_WITH, "") if _given(env, _OPENED_WITH) else ""
    if not password:
        return refuse(f"{KEYSTORE_VARIABLE} needs {_OPENED_WITH}_FILE, a file with the password it opens with.")
    return Credential("WALLET", origin=origin, keystore=Keystore(Secret(content), Secret(password)))


def from_keyring(kind: KeyKind, mode: str) -> Credential:
    """The secret stored under service `venice-mcp` and the variable's name, if the keyring package is there."""
    from venice_mcp.secrets.keyrings import system_keyring

    try:
        found = system_keyring()
        value = found.get_password(KEYRING_SERVICE, VARIABLES[kind]) if found else None
    except Exception:  # noqa: BLE001 - a backend is other people's code and may raise anything
        # No usable backend is the normal state of a server without a desktop, not a mistake to report.
        return Credential(kind)
    return _checked(kind, value.strip(), "system keyring", mode) if value and value.strip() else Credential(kind)


def _checked(kind: KeyKind, value: str, origin: str, mode: str) -> Credential:
    """The value as a secret, or what is wrong with it; the value itself is never shown."""

    def refuse(problem: str) -> Credential:
        return Credential(kind, origin=origin, problem=f"The {VARIABLES[kind]} from the {origin} {problem}")

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

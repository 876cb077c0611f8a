"""Hostile settings never send a key anywhere but to its own host; keys are checked and never shown."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_harness import ADMIN_KEY, INFERENCE_KEY, WALLET_KEY, Edge
from venice_mcp.errors import VeniceError
from venice_mcp.policy.places import trusted_state_dir
from venice_mcp.policy.rules import Policy
from venice_mcp.secrets import Redactor, Secret
from venice_mcp.server import build_app
from venice_mcp.settings import LIVE_URL, Settings, load, state_dir_in_use

SANDBOX_KEY = "VENICE_ADMIN_KEY_SANDBOX_" + "aB3" * 10
QUIET = {"VENICE_MCP_KEYRING": "0", "VENICE_MCP_STATE_DIR": "/nonexistent"}
LOOPBACKS = {"localhost", "127.0.0.1", "::1"}

HOSTS = st.sampled_from(
    [
        "api.venice.ai",
        "API.VENICE.AI",
        "api.venice.ai.",
        "api.venice.ai.evil.test",
        "evil.test",
        "evil.test#api.venice.ai",
        "api.venice.ai@evil.test",
        "evil.test\\@api.venice.ai",
        "127.0.0.1",
        "127.0.0.1.evil.test",
        "127.1",
        "0.0.0.0",  # noqa: S104
        "0x7f000001",
        "2130706433",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[::1%25eth0]",
        "localhost",
        "LOCALHOST",
        "localhost.evil.test",
        "10.0.0.1",
        "169.254.169.254",
        "127.0.0.1\t",
        "１２７.0.0.1",
        "",
    ]
)
URLS = st.one_of(
    st.text(max_size=80),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["http://", "https://", "HTTP://", "//", "", "file://", "ftp://", "http:\\\\", "http:/"]),
        st.sampled_from(["", "", "user@", "user:pw@", "127.0.0.1@"]),
        HOSTS,
        st.sampled_from(["", ":8700", ":443", ":0", ":99999", ":x", ":-1", ":8700@evil.test", ":80:81"]),
        st.sampled_from(
            ["", "/", "/api/v1", "/api/v1/", "?x=1", "#x", "/../..", "//evil.test", "/%0d%0aHost:x", "/a b"]
        ),
    ),
)


def loaded(**environment: str) -> Settings:
    return load({**QUIET, **environment})


@given(URLS)
def test_no_address_leads_a_key_away(url: str) -> None:
    found = loaded(VENICE_BASE_URL=url, VENICE_ADMIN_KEY=ADMIN_KEY, VENICE_WALLET_KEY=WALLET_KEY)
    parts = urlsplit(found.base_url)
    if found.mode == "live":
        assert found.base_url == LIVE_URL
        assert found.blocked or url.strip().rstrip("/") in ("", LIVE_URL, "https://api.venice.ai")
    else:
        assert found.mode == "loopback"
        assert parts.scheme == "http"
        host = (parts.hostname or "").lower()
        assert host in LOOPBACKS or host.startswith("127.") or host == "::ffff:127.0.0.1"
        assert found.credentials["ADMIN"].secret is None, "a real key never goes to a sandbox"
        wallet = found.credentials["WALLET"].secret
        assert wallet is not None
        assert wallet.reveal() != WALLET_KEY
    # What httpx would really connect to is what was checked.
    target = httpx.URL(found.base_url + "/api_keys")
    assert target.host == (parts.hostname or "")
    assert target.scheme == parts.scheme
    assert not target.userinfo


@given(URLS)
def test_an_address_that_is_refused_is_not_repeated(url: str) -> None:
    found = loaded(VENICE_BASE_URL=url)
    if found.blocked and len(url.strip()) > 30 and "127.0.0.1" not in url and "api.venice.ai" not in url:
        assert url.strip() not in found.blocked


@pytest.mark.parametrize(
    "url",
    ["http://api.venice.ai/api/v1", "https://evil.test/api/v1", "http://127.0.0.1", "http://10.0.0.1:80", "nonsense"],
)
def test_a_refused_address_sends_nothing_at_all(tmp_path: Path, url: str) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": []})

    edge = Edge(httpx.MockTransport(answer))
    found = load({"VENICE_BASE_URL": url, "VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_MCP_KEYRING": "0"}, state_dir=tmp_path)
    app = build_app(found, Redactor(), transport=edge)

    async def ask() -> None:
        with pytest.raises(VeniceError) as caught:
            await app.client.list_api_keys()
        assert caught.value.code == "blocked"
        await app.client.transport.close()

    anyio.run(ask)
    assert not edge.sent


# --- keys ------------------------------------------------------------------------------------------

ODD_KEYS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=600),
    st.sampled_from([ADMIN_KEY + "\n", "\t" + ADMIN_KEY, ADMIN_KEY + "é", ADMIN_KEY[:40] + " " + ADMIN_KEY[40:]]),
)


@given(ODD_KEYS)
def test_a_key_is_usable_in_a_header_or_refused_without_being_shown(value: str) -> None:
    for variable in ("VENICE_ADMIN_KEY", "VENICE_API_KEY", "VENICE_WALLET_KEY"):
        found = loaded(**{variable: value})
        held = [each.secret for each in found.credentials.values() if each.secret is not None]
        for secret in held:
            assert secret.reveal() == value.strip()
            httpx.Headers({"Authorization": f"Bearer {secret.reveal()}"}).raw  # noqa: B018 - must not raise
        if not held and len(value.strip()) > 12 and value.strip() not in " ".join(_our_words()):
            assert value.strip() not in " ".join(found.problems)


def _our_words() -> list[str]:
    problems: list[str] = []
    for value in ("x", "é" * 20, INFERENCE_KEY, SANDBOX_KEY):
        problems += loaded(VENICE_ADMIN_KEY=value, VENICE_WALLET_KEY=value).problems
    return problems


@pytest.mark.parametrize(
    ("variable", "value"),
    [("VENICE_ADMIN_KEY", INFERENCE_KEY), ("VENICE_API_KEY", ADMIN_KEY), ("VENICE_ADMIN_KEY", SANDBOX_KEY)],
)
def test_a_key_in_the_wrong_place_is_refused_by_name(variable: str, value: str) -> None:
    found = loaded(**{variable: value})
    assert all(each.secret is None for each in found.credentials.values())
    assert variable in found.problems[0]
    assert value not in repr(found)


def test_the_repr_of_settings_shows_no_secret() -> None:
    found = loaded(VENICE_ADMIN_KEY=ADMIN_KEY, VENICE_API_KEY=INFERENCE_KEY, VENICE_WALLET_KEY=WALLET_KEY)
    for secret in (ADMIN_KEY, INFERENCE_KEY, WALLET_KEY):
        assert secret not in repr(found)
        assert secret[5:30] not in repr(found)


def test_a_sandbox_reads_no_real_key_and_tells_so() -> None:
    found = load({**QUIET, "VENICE_ADMIN_KEY": ADMIN_KEY, "VENICE_WALLET_KEY": WALLET_KEY}, sandbox=True)
    held = [each.secret for each in found.credentials.values()]
    assert Secret(ADMIN_KEY) not in held
    assert Secret(WALLET_KEY) not in held
    assert "VENICE_ADMIN_KEY" in found.problems[0]


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00", b"x" * 5000])
def test_a_key_file_that_holds_no_key_is_a_problem_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    found = loaded(VENICE_ADMIN_KEY_FILE=str(path))
    assert found.credentials["ADMIN"].secret is None
    assert "VENICE_ADMIN_KEY_FILE" in found.problems[0]


@pytest.mark.parametrize("name", ["", "missing", ".", "\0", "x" * 5000, "~nobody-of-that-name/key"])
def test_a_key_file_that_cannot_be_read_is_no_exception(tmp_path: Path, name: str) -> None:
    found = loaded(VENICE_ADMIN_KEY_FILE=str(tmp_path / name) if not name.startswith("~") else name)
    assert found.credentials["ADMIN"].secret is None
    assert found.problems


def test_a_key_file_is_stripped(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"\n  {ADMIN_KEY}\r\n\n")
    secret = loaded(VENICE_ADMIN_KEY_FILE=str(path)).credentials["ADMIN"].secret
    assert secret == Secret(ADMIN_KEY)


UNFILLED = [
    "${VENICE_ADMIN_KEY}",
    "${env:VENICE_ADMIN_KEY}",
    "${user_config.admin_key}",
    "${{ secrets.VENICE_ADMIN_KEY }}",
    "{env:VENICE_ADMIN_KEY}",
    "{{VENICE_ADMIN_KEY}}",
    "$VENICE_ADMIN_KEY",
    "'$VENICE_ADMIN_KEY'",
    "%VENICE_ADMIN_KEY%",
    "<VENICE_ADMIN_KEY>",
]


ODD = ["$env:VENICE_ADMIN_KEY", "$venice_admin_key", "$(cat key)", "!VENICE_ADMIN_KEY!", "{file:~/.k}", "`cat key`"]


@pytest.mark.parametrize("placeholder", [*UNFILLED, *ODD])
def test_a_placeholder_that_a_host_left_unfilled_is_no_key_and_hides_no_file(tmp_path: Path, placeholder: str) -> None:
    path = tmp_path / "admin.key"
    path.write_text("VENICE_ADMIN_KEY_" + "aB3" * 12)
    path.chmod(0o600)
    found = loaded(VENICE_ADMIN_KEY=placeholder, VENICE_ADMIN_KEY_FILE=str(path))
    secret = found.credentials["ADMIN"].secret
    assert secret is not None
    assert secret.reveal() == path.read_text()
    without = loaded(VENICE_ADMIN_KEY=placeholder).credentials["ADMIN"]
    assert (without.secret, without.problem) == (None, None)
    assert without.origin == "not configured: VENICE_ADMIN_KEY is a placeholder"


@pytest.mark.parametrize("placeholder", UNFILLED)
def test_a_placeholder_names_no_file_with_a_key(placeholder: str) -> None:
    found = loaded(VENICE_ADMIN_KEY_FILE=placeholder).credentials["ADMIN"]
    assert (found.secret, found.problem) == (None, None)
    assert found.origin == "not configured: VENICE_ADMIN_KEY_FILE is a placeholder"


@pytest.mark.parametrize("placeholder", UNFILLED)
def test_a_placeholder_names_no_folder_and_no_address(placeholder: str) -> None:
    assert loaded(VENICE_MCP_STATE_DIR=placeholder).state_dir == loaded(VENICE_MCP_STATE_DIR="").state_dir
    # Whoever wrote one for the address did not mean the real Venice.
    assert loaded(VENICE_BASE_URL=placeholder).blocked


# --- policy ----------------------------------------------------------------------------------------

ALLOWING = """
[[approval.allowances]]
name = "ci"
max_cap = { usd = 5 }
limit_period = "EPOCH"
max_days = 7
sinks = ["file"]
per_day = 10
"""


def with_policy(tmp_path: Path, text: str) -> Path:
    """A folder with the operator's own policy in it."""
    folder = tmp_path / "config"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return folder


def test_without_a_policy_nothing_is_ruled_out(tmp_path: Path) -> None:
    found = load(QUIET, config_dir=tmp_path)
    assert found.policy == Policy()
    assert found.policy_problem is None
    assert found.policy_sources == ()
    assert (found.proxy, found.ca_file) == (None, None)


def test_a_policy_that_cannot_be_used_is_the_first_problem(tmp_path: Path) -> None:
    found = load(QUIET | {"VENICE_BASE_URL": "nonsense"}, config_dir=with_policy(tmp_path, "read_only = 5"))
    assert found.policy_problem is not None
    assert found.problems[0] == found.policy_problem
    assert str(tmp_path / "config" / "policy.toml") in found.policy_problem
    assert found.policy.read_only


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_rules_hold_in_the_sandbox_as_well(tmp_path: Path, sandbox: bool) -> None:
    text = f'state_dir = "{tmp_path}/state"\n[keys]\nmax_days = 7\n{ALLOWING}'
    found = load(QUIET, sandbox=sandbox, config_dir=with_policy(tmp_path, text))
    assert found.policy.keys[0].max_days == 7
    assert found.policy.allowances[0].name == "ci"
    assert found.policy_sources == (str(tmp_path / "config" / "policy.toml"),)


def test_only_live_venice_is_reached_through_the_policys_network(tmp_path: Path) -> None:
    text = '[network]\nproxy = "http://proxy.corp:3128"\nca_file = "/etc/ssl/corp.pem"\n'
    folder = with_policy(tmp_path, text)
    live = load(QUIET, config_dir=folder)
    assert (live.proxy, live.ca_file) == ("http://proxy.corp:3128", Path("/etc/ssl/corp.pem"))
    for environment in ({"VENICE_BASE_URL": "http://127.0.0.1:8700/api/v1"}, {"VENICE_MCP_SANDBOX": "1"}):
        found = load(QUIET | environment, config_dir=folder)
        assert (found.proxy, found.ca_file) == (None, None)


def test_no_variable_sets_the_network(tmp_path: Path) -> None:
    path = with_policy(tmp_path, '[network]\nproxy = "http://evil.test:1"\n') / "policy.toml"
    hostile = dict.fromkeys(("HTTPS_PROXY", "ALL_PROXY", "VENICE_MCP_PROXY"), "http://evil.test:1")
    found = load(QUIET | hostile | {"VENICE_MCP_POLICY": str(path)}, config_dir=tmp_path / "none")
    assert found.proxy is None
    assert found.policy_problem is not None


def test_variables_neither_hide_the_operators_policy_nor_bring_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project" / "venice-mcp"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "policy.toml").write_text("[approval]\nnarrowing_unasked = true\n")
    expected = load(QUIET).policy_sources
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(folder.parent))
    found = load(QUIET | {"HOME": str(folder.parent), "XDG_CONFIG_HOME": str(folder.parent)})
    assert found.policy_sources == expected
    assert not found.policy.narrowing_unasked


def test_the_policy_says_where_state_is_kept(tmp_path: Path) -> None:
    folder = with_policy(tmp_path, f'state_dir = "{tmp_path}/state"\n{ALLOWING}')
    other = tmp_path / "other"
    for environment, flag in (({"VENICE_MCP_STATE_DIR": str(other)}, None), ({}, other)):
        found = load(environment, state_dir=flag, config_dir=folder)
        assert found.state_dir == tmp_path / "state"
        assert any("VENICE_MCP_STATE_DIR are ignored" in problem for problem in found.problems)
        assert found.allowances_hold
        assert found.policy.allowances
        assert state_dir_in_use(environment, flag, config_dir=folder) == found.state_dir
    same = load({}, state_dir=tmp_path / "state", config_dir=folder)
    assert not any("ignored" in problem for problem in same.problems)


def test_without_a_policy_state_is_where_it_was_asked_for(tmp_path: Path) -> None:
    assert state_dir_in_use({}, tmp_path, config_dir=tmp_path / "none") == tmp_path
    chosen = {"VENICE_MCP_STATE_DIR": str(tmp_path)}
    assert state_dir_in_use(chosen, config_dir=tmp_path / "none") == tmp_path
    assert state_dir_in_use({}, config_dir=tmp_path / "none") == load({}, config_dir=tmp_path / "none").state_dir


@pytest.mark.parametrize("text", [ALLOWING, "[approval]\nnarrowing_unasked = true\n"])
def test_nothing_goes_unasked_where_a_project_chose_the_record(tmp_path: Path, text: str) -> None:
    folder = with_policy(tmp_path, text)
    for environment, flag in (({"VENICE_MCP_STATE_DIR": str(tmp_path)}, None), ({}, tmp_path)):
        found = load(environment, state_dir=flag, config_dir=folder)
        assert not found.allowances_hold
        assert found.policy.allowances == ()
        assert not found.policy.narrowing_unasked
        assert any("What the policy allows unasked does not hold" in problem for problem in found.problems)


def test_a_project_cannot_choose_the_record_by_where_state_usually_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_policy(tmp_path, ALLOWING)
    usual = trusted_state_dir()
    assert usual is not None
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(usual.parent.parent.parent))
    assert load({}, config_dir=folder).allowances_hold
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load({}, config_dir=folder)
    assert not found.allowances_hold
    assert found.policy.allowances == ()


def test_a_state_directory_of_nobody_is_no_exception() -> None:
    name = "~nobody-of-that-name/state"
    assert load({"VENICE_MCP_STATE_DIR": name}).state_dir.name == "state"
    assert load({}, state_dir=Path(name)).state_dir.is_absolute()


def test_the_flag_makes_things_stricter_only(tmp_path: Path) -> None:
    path = with_policy(tmp_path, "read_only = true\n") / "policy.toml"
    found = load(QUIET, config_dir=tmp_path / "none", policy_file=path)
    assert found.policy.read_only
    path.write_text(ALLOWING, encoding="utf-8")
    assert load(QUIET, config_dir=tmp_path / "none", policy_file=path).policy_problem is not None


def test_reading_settings_without_a_policy_loads_no_models() -> None:
    code = (
        "import sys; from pathlib import Path; from venice_mcp.settings import load;"
        " load({}, config_dir=Path('/nonexistent')); print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"

"""A policy that others could have written, or that says what no policy says, stops writes and tells why."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venice_mcp.policy.document import OPERATOR_ONLY
from venice_mcp.policy.files import MAX_BYTES, read
from venice_mcp.policy.places import PolicyError, absolute, operator_file, trusted_state_dir
from venice_mcp.policy.rules import Policy
from venice_mcp.policy.sources import InForce, in_force
from venice_mcp.systems import home

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
SECRET = "VENICE_ADMIN_KEY_8tRq-Zk3vN1xYb_Lw6HsPd0eGmUjC4aFoT9iKxB2nQ"
ALLOWANCE = """
[[approval.allowances]]
name = "ci"
max_cap = { usd = 5 }
limit_period = "EPOCH"
max_days = 7
sinks = ["file"]
per_day = 10
"""


def written(folder: Path, text: str | bytes = "read_only = true\n", name: str = "policy.toml") -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def problem_of(path: Path, *, trusted: bool = True) -> str:
    with pytest.raises(PolicyError) as caught:
        read(path, trusted=trusted)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 700
    return text


# --- who could have written it --------------------------------------------------------------------


def test_a_file_of_mine_is_read(tmp_path: Path) -> None:
    assert read(written(tmp_path)) == Policy(read_only=True)
    assert read(written(tmp_path, "")) == Policy()


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
def test_a_file_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path)
    path.chmod(mode)
    assert problem_of(path) == "others may write to it (chmod go-w)"


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "shared")
    path.parent.chmod(mode)
    assert problem_of(path).startswith("others may write to the folder")


@posix
def test_a_folder_above_that_others_may_write_to_is_refused_unless_it_is_sticky(tmp_path: Path) -> None:
    path = written(tmp_path / "above" / "mine")
    path.parent.parent.chmod(0o777)
    assert problem_of(path).startswith("others may write to the folder")
    path.parent.parent.chmod(0o1777)
    assert read(path).read_only


@posix
def test_a_link_is_followed_and_where_it_leads_is_looked_at_too(tmp_path: Path) -> None:
    target = written(tmp_path / "dotfiles" / "venice")
    link = tmp_path / "config" / "policy.toml"
    link.parent.mkdir(mode=0o700)
    link.symlink_to(target)
    assert read(link).read_only
    target.parent.chmod(0o770)
    assert problem_of(link).startswith("others may write to the folder")


@posix
def test_every_link_on_the_way_is_looked_at(tmp_path: Path) -> None:
    target = written(tmp_path / "end")
    between = tmp_path / "between" / "policy.toml"
    between.parent.mkdir()
    between.symlink_to(target)
    link = tmp_path / "policy.toml"
    link.symlink_to(between)
    between.parent.chmod(0o777)
    assert problem_of(link).startswith("others may write to the folder")


def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    if sys.platform == "win32" or os.getuid() != 0:
        pytest.skip("only root can give files away")
    path = written(tmp_path / "theirs")
    os.chown(path, 12345, -1)
    assert problem_of(path) == "it belongs to another user"
    os.chown(path, 0, -1)
    os.chown(path.parent, 12345, -1)
    assert "belongs to another user" in problem_of(path)


def test_a_pipe_or_a_folder_is_no_policy_and_does_not_block(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("such pipes are POSIX's")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert problem_of(tmp_path / "pipe") == "it is not a regular file"
    (tmp_path / "folder").mkdir(mode=0o700)
    assert problem_of(tmp_path / "folder") == "it is not a regular file"
    assert problem_of(Path("/dev/null"))


@posix
def test_a_link_among_the_folders_is_looked_at_too(tmp_path: Path) -> None:
    target = written(tmp_path / "end" / "venice-mcp")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(tmp_path / "end")
    config = tmp_path / "config"
    config.symlink_to(shared / "link")
    path = config / "venice-mcp" / target.name
    assert read(path).read_only
    shared.chmod(0o777)
    assert problem_of(path).startswith("others may write to the folder")


def test_a_link_that_leads_nowhere_or_round_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert problem_of(tmp_path / "nowhere").startswith("it cannot be read")
    assert problem_of(tmp_path / "round").startswith("it cannot be read")
    assert problem_of(tmp_path / "a\0b") == "its path names no file"


# --- what it says ---------------------------------------------------------------------------------


def test_what_is_too_long_or_not_text_is_refused(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"#" * MAX_BYTES)) == Policy()
    assert problem_of(written(tmp_path, b"#" * (MAX_BYTES + 1))) == "it is longer than 64 KiB"
    assert problem_of(written(tmp_path, b"# \xff\n")) == "it is not UTF-8 text"
    assert read(written(tmp_path, b"\xef\xbb\xbfread_only = true\r\n")).read_only


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"read_only = {SECRET}\n", "at line 1, column 13"),
        (f"\nread_only true # {SECRET}\n", "at line 2, column 11"),
        (f'x = "{SECRET}\n', "at line 1"),
        ("[keys\n", "at line 1, column 6"),
        ("read_only =", "at end of document"),
        (f"['{SECRET}']\na = 1\n['{SECRET}']\n", "at line 3"),
        ("x = " + "9" * 5000 + "\n", ""),
        ("x = " + "[" * 30000, ""),
    ],
)
def test_what_is_not_toml_is_refused_by_its_place_and_not_repeated(tmp_path: Path, text: str, place: str) -> None:
    problem = problem_of(written(tmp_path, text))
    assert problem.startswith("it is not TOML")
    assert place in problem
    assert "VENICE" not in problem


WRONG = [
    ("readonly = true", "readonly is not a member of a policy"),
    ("[key]\nmax_days = 1", "key is not a member of a policy"),
    ('read_only = "yes"', "read_only must be a valid boolean"),
    ("read_only = 1", "read_only must be a valid boolean"),
    ("keys = 5", "keys must be"),
    ("[[keys]]\nmax_days = 1", "keys must be"),
    ('state_dir = "state"', "state_dir must be an absolute path or begin with ~/"),
    ('state_dir = "~other/state"', "state_dir must be an absolute path"),
    ('state_dir = "/a/../b"', "state_dir must be a path without .."),
    ('[tools]\noffer = "venice_*"', "tools.offer must be a valid list"),
    ('[tools]\noffer = ["venice *"]', "tools.offer[0] must match"),
    ('[keys]\ntypes = ["WALLET"]', "keys.types[0] must be 'INFERENCE' or 'ADMIN'"),
    ('[keys]\ntypes = ["ADMIN", "ADMIN"]', "keys.types names something twice"),
    ('[keys]\nrequire_caps = ["vcu"]', "keys.require_caps[0] must be 'usd' or 'diem'"),
    ("[keys]\nmax_days = 0", "keys.max_days must be greater than 0"),
    ("[keys]\nmax_days = inf", "keys.max_days must be"),
    ("[keys]\nmax_days = nan", "keys.max_days must be"),
    ("[keys]\nmax_days = true", "keys.max_days must be a valid number"),
    ('[keys]\nmax_days = "90"', "keys.max_days must be a valid number"),
    ("[keys]\nmax_days = 1e6", "keys.max_days must be less than or equal to 36500"),
    ("[keys]\nmax_days = 1979-05-27", "keys.max_days must be a valid number"),
    ('[keys]\ndescription = "(a+)+"', "keys.description may not repeat a group"),
    ('[keys]\ndescription = "["', "keys.description is not a regular expression"),
    ('[keys]\ndescription = "' + "a" * 201 + '"', "keys.description must be at most 200 characters"),
    ('[keys]\nmodel_privacy = "SOME"', "keys.model_privacy must be 'PRIVATE_ONLY', 'PRIVATE_TEXT' or 'ALL'"),
    ("[keys.max_cap.WEEK]\nusd = 1", "keys.max_cap.WEEK must be 'EPOCH', 'MONTH' or 'LIFETIME'"),
    ("[keys.max_cap.EPOCH]\neur = 1", "keys.max_cap.EPOCH.eur is not a member of a policy"),
    ("[keys.max_cap.EPOCH]\nusd = -1", "keys.max_cap.EPOCH.usd must be greater than or equal to 0"),
    ("[keys.max_cap.EPOCH]\nusd = inf", "keys.max_cap.EPOCH.usd must be"),
    ("[keys.max_cap]\nusd = 5", "keys.max_cap.usd must be"),
    (
        '[secrets]\nsinks = ["mail"]',
        "secrets.sinks[0] must be 'display', 'file', 'dotenv', 'csv', 'json', 'keyring' or 'command'",
    ),
    ('[secrets]\nfolders = ["secrets"]', "secrets.folders[0] must be an absolute path"),
    ('[secrets.commands.op]\nargv = ["op"]', "secrets.commands.op.argv must begin with the absolute path"),
    ("[secrets.commands.op]\nargv = []", "secrets.commands.op.argv must have at least 1 item"),
    ('[secrets.commands."o p"]\nargv = ["/op"]', "secrets.commands.o p must match"),
    ('[secrets.commands.op]\nargv = ["/op"]\ntimeout_s = 0', "secrets.commands.op.timeout_s must be greater than 0"),
    ('[network]\nproxy = "socks5://proxy:1"', "network.proxy must look like http://proxy.example:3128"),
    ('[network]\nproxy = "http://"', "network.proxy must look like"),
    ('[network]\nproxy = "http://proxy:99999"', "network.proxy is not an address"),
    ('[network]\nproxy = "http://proxy:1/path"', "network.proxy must look like"),
    (f'[network]\nproxy = "http://me:{SECRET}@proxy:1"', "network.proxy must not hold a name or a password"),
    ('[network]\nca_file = "corp.pem"', "network.ca_file must be an absolute path"),
    ('[approval]\nhow = "never"', "approval.how must be 'client' or 'terminal'"),
    (ALLOWANCE.replace("per_day = 10", ""), "approval.allowances[0].per_day is missing"),
    (ALLOWANCE.replace("max_days = 7", ""), "approval.allowances[0].max_days is missing"),
    (ALLOWANCE.replace('limit_period = "EPOCH"', ""), "approval.allowances[0].limit_period is missing"),
    (ALLOWANCE.replace("max_cap = { usd = 5 }", ""), "approval.allowances[0].max_cap is missing"),
    (ALLOWANCE.replace('["file"]', "[]"), "approval.allowances[0].sinks must have at least 1 item"),
    (ALLOWANCE.replace("usd = 5", "usd = nan"), "approval.allowances[0].max_cap.usd must be"),
    (ALLOWANCE.replace("per_day = 10", "per_day = 0"), "approval.allowances[0].per_day must be greater"),
    (ALLOWANCE.replace("per_day = 10", "per_day = 1.5"), "approval.allowances[0].per_day must be a valid integer"),
    (ALLOWANCE.replace("per_day = 10", "per_day = inf"), "approval.allowances[0].per_day must be"),
    (ALLOWANCE.replace("max_days = 7", "max_days = inf"), "approval.allowances[0].max_days must be"),
    (ALLOWANCE + 'operations = ["update"]', "approval.allowances[0].operations[0] must be"),
    (ALLOWANCE + 'api_key_type = "ADMIN"', "approval.allowances[0].api_key_type is not a member of a policy"),
    (ALLOWANCE + ALLOWANCE, "approval.allowances names something twice"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG, ids=[each[1][:60] for each in WRONG])
def test_what_no_policy_says_is_refused_by_the_name_of_the_member(tmp_path: Path, text: str, problem: str) -> None:
    found = problem_of(written(tmp_path, text))
    assert problem in found
    assert SECRET not in found


def test_many_problems_are_counted(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path, "".join(f"x{number} = 1\n" for number in range(50))))
    assert problem.count("is not a member") == 3
    assert problem.endswith("and 47 more")


def test_a_long_name_is_cut_and_its_odd_characters_are_left_out(tmp_path: Path) -> None:
    problem = problem_of(written(tmp_path, f'"{"n" * 5000}\\u202e" = 1\n"\\u001b[2J" = 1\n'))
    assert "\u202e" not in problem
    assert "\x1b" not in problem


@given(st.text(max_size=60).filter(lambda text: "\r" not in text))
def test_whatever_a_file_says_only_a_policy_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.mktemp("any", numbered=True), text.encode("utf-8", "replace"))
    try:
        found = read(path)
    except PolicyError:
        return
    assert found == Policy()


def member(path: tuple[str, ...]) -> str:
    values = {
        "state_dir": 'state_dir = "/state"',
        "network": 'network.proxy = "http://proxy:1"',
        "keyring_backends": "secrets.keyring_backends = []",
        "commands": 'secrets.commands.op.argv = ["/op"]',
        "narrowing_unasked": "approval.narrowing_unasked = false",
        "allowances": ALLOWANCE,
    }
    return values[path[-1]]


@pytest.mark.parametrize("path", OPERATOR_ONLY, ids=".".join)
def test_what_grants_something_stands_in_the_operators_own_file_only(tmp_path: Path, path: tuple[str, ...]) -> None:
    file = written(tmp_path, member(path))
    assert isinstance(read(file), Policy)
    assert problem_of(file, trusted=False) == f"{'.'.join(path)} may stand only in the operator's own policy"


def test_every_member_reaches_the_rules(tmp_path: Path) -> None:
    policy = read(
        written(
            tmp_path,
            """
            read_only = true
            state_dir = "/state"
            tools = { offer = ["venice_*"], hide = ["venice_x"] }
            network = { proxy = "https://proxy:3128", ca_file = "/etc/ca.pem" }
            [keys]
            types = ["INFERENCE"]
            require_caps = ["usd"]
            max_days = 90
            description = "^a$"
            model_privacy = "PRIVATE_TEXT"
            max_cap.MONTH = { usd = 5, diem = 0.5 }
            [secrets]
            sinks = ["file"]
            folders = ["~/secrets"]
            keyring_backends = ["keyring.backends.fail.Keyring"]
            commands.op = { argv = ["/op", "{variable}"], timeout_s = 5, pass_env = ["X"] }
            [approval]
            how = "terminal"
            narrowing_unasked = true
            [[approval.allowances]]
            name = "ci"
            operations = ["create", "mint", "revoke"]
            max_cap = { usd = 5, diem = inf }
            limit_period = "EPOCH"
            max_days = 7
            description = "^ci:.*"
            sinks = ["file"]
            per_day = 10
            """,
        )
    )
    defaults = Policy()
    assert [name for name in vars(defaults) if getattr(policy, name) == getattr(defaults, name)] == []
    for rules, plain in ((policy.keys[0], type(policy.keys[0])()), (policy.secrets[0], type(policy.secrets[0])())):
        assert [name for name in vars(plain) if getattr(rules, name) == getattr(plain, name)] == []
    at_home = home()
    assert at_home is not None
    assert policy.folders == (os.path.realpath(at_home / "secrets"),)
    command = policy.sink_limits.commands["op"]
    assert (command.timeout_s, command.pass_env) == (5, ("X",))
    assert policy.allowances[0].max_cap == {"usd": 5, "diem": float("inf")}


# --- where it is ----------------------------------------------------------------------------------


def test_the_operators_file_is_found_without_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = (operator_file(), trusted_state_dir(), absolute("~/secrets"))
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "USERPROFILE", "APPDATA", "LOGNAME", "USER"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert (operator_file(), trusted_state_dir(), absolute("~/secrets")) == before
    assert str(tmp_path) not in str(before)


def test_the_trusted_state_directory_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from platformdirs import user_state_path

    monkeypatch.setenv("HOME", str(home()))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert trusted_state_dir() == user_state_path("venice-mcp", appauthor=False)


def in_force_with(tmp_path: Path, environment: dict[str, str] | None = None, **more: Any) -> InForce:
    return in_force(environment or {}, config_dir=tmp_path / "config", **more)


def test_without_any_file_there_is_no_rule_and_no_problem(tmp_path: Path) -> None:
    assert in_force_with(tmp_path) == InForce()
    assert in_force_with(tmp_path, {"VENICE_MCP_POLICY": " ", "VENICE_MCP_READ_ONLY": "0"}) == InForce()
    # A host that has no value for an option hands its name over.
    empty = {"VENICE_MCP_POLICY": "${user_config.policy}", "VENICE_MCP_READ_ONLY": "${user_config.read_only}"}
    assert in_force_with(tmp_path, empty) == InForce()


@pytest.mark.parametrize("left", ["${VENICE_MCP_POLICY}", "$POLICY", "%POLICY%", "{env:POLICY}"])
def test_whoever_meant_to_name_a_restriction_is_not_left_without_one(tmp_path: Path, left: str) -> None:
    assert in_force_with(tmp_path, {"VENICE_MCP_POLICY": left}).problem
    assert in_force_with(tmp_path, {"VENICE_MCP_READ_ONLY": left}).policy.read_only


def test_the_operators_file_and_every_other_one_are_in_force_together(tmp_path: Path) -> None:
    own = written(tmp_path / "config", "[keys]\nmax_days = 90\n" + ALLOWANCE)
    named = written(tmp_path / "project", "[keys]\nmax_days = 200\n")
    flag = written(tmp_path / "flag", 'approval.how = "terminal"\n')
    found = in_force_with(tmp_path, {"VENICE_MCP_POLICY": str(named), "VENICE_MCP_READ_ONLY": "on"}, policy_file=flag)
    assert found.problem is None
    assert found.sources == (str(own), str(named), str(flag), "VENICE_MCP_READ_ONLY")
    assert [rules.max_days for rules in found.policy.keys] == [90, 200]
    assert found.policy.read_only
    assert found.policy.allowances == ()


@pytest.mark.parametrize("where", ["operator", "variable", "flag"])
@pytest.mark.parametrize("text", ["read_only = maybe", "unknown = 1"])
def test_a_file_that_cannot_be_used_stops_writes_wherever_it_was_named(tmp_path: Path, where: str, text: str) -> None:
    path = written(tmp_path / ("config" if where == "operator" else "other"), text)
    environment = {"VENICE_MCP_POLICY": str(path)} if where == "variable" else {}
    found = in_force_with(tmp_path, environment, policy_file=path if where == "flag" else None)
    assert found.problem is not None
    assert str(path) in found.problem
    assert "Mend it and restart the server; until then nothing is created, changed or revoked." in found.problem
    assert found.policy.read_only
    assert found.sources == ()


@pytest.mark.parametrize("name", ["missing.toml", "~/missing-policy.toml", "~nobody/policy.toml", "a\0b", "", "."])
def test_a_named_policy_that_is_not_there_stops_writes(tmp_path: Path, name: str) -> None:
    path = name if name.startswith("~") else f"{tmp_path}/{name}"
    found = in_force_with(tmp_path, {"VENICE_MCP_POLICY": path})
    assert found.problem is not None
    assert found.policy.read_only


def test_an_operators_file_that_cannot_be_reached_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "policy.toml").symlink_to(tmp_path / "missing")
    assert in_force_with(tmp_path).problem is not None


def test_what_grants_something_makes_a_projects_file_malformed(tmp_path: Path) -> None:
    path = written(tmp_path / "project", ALLOWANCE)
    found = in_force_with(tmp_path, {"VENICE_MCP_POLICY": str(path)})
    assert found.problem is not None
    assert "approval.allowances may stand only in the operator's own policy" in found.problem
    assert found.policy.allowances == ()


@pytest.mark.parametrize(
    ("value", "read_only", "noted"),
    [("1", True, 0), ("TRUE", True, 0), ("yes", True, 0), ("off", False, 0), ("no", False, 0), ("ja", True, 1)],
)
def test_read_only_is_taken_from_its_variable(tmp_path: Path, value: str, read_only: bool, noted: int) -> None:
    found = in_force_with(tmp_path, {"VENICE_MCP_READ_ONLY": value})
    assert found.policy.read_only is read_only
    assert len(found.notes) == noted

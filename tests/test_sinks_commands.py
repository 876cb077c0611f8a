"""A command gets the secret on its standard input and nowhere else, and must end well in time."""

import sys

import pytest

if sys.platform == "win32":
    raise pytest.skip.Exception("secrets go into no file and no command there", allow_module_level=True)

import os
import select
import stat
from pathlib import Path

from venice_mcp.secrets import Command, Destination, Prepared, Secret, SinkError, SinkLimits
from venice_mcp.secrets.commands import _run  # pyright: ignore[reportPrivateUsage]
from venice_mcp.secrets.delivery import holds, prepare

KEY = "VENICE_INFERENCE_KEY_mustNotLeak-0123456789abcdef2V2jNW"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def script(folder: Path, body: str, name: str = "keeper") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def ready(*argv: str, variable: str | None = None, timeout_s: float = 30.0) -> Prepared:
    limits = SinkLimits(commands={"keeper": Command(argv, timeout_s)})
    return prepare(Destination("command", name="keeper", variable=variable), limits)


def refusal(*argv: str, variable: str | None = None) -> str:
    with pytest.raises(SinkError) as caught:
        ready(*argv, variable=variable)
    return str(caught.value)


def failure(prepared: Prepared, secret: str = KEY) -> str:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(SinkError) as caught:
        prepared.write(Secret(secret))
    error: BaseException = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "mustNotLeak" not in f"{error} {error.args!r}"
    assert len(os.listdir("/dev/fd")) == before
    return str(error)


def test_the_secret_arrives_with_a_line_feed_and_nothing_else_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VENICE_ADMIN_KEY", "mustNotLeak")
    monkeypatch.setenv("VENICE_MCP_ANYTHING", "mustNotLeak")
    monkeypatch.setenv("KEPT", "yes")
    program = script(folder, f"cd {folder}; cat > got; env > env; echo $@ > argv; pwd > pwd; cat got; cat got >&2")
    before = len(os.listdir("/dev/fd"))
    monkeypatch.setenv("OTHER", "mustNotLeak")
    limits = SinkLimits(
        commands={"keeper": Command((program, "set", "{variable}", "--name={variable}"), pass_env=("KEPT", "VENICE_X"))}
    )
    prepared = prepare(Destination("command", name="keeper", variable="MY_KEY"), limits)
    assert prepared.notes == ()
    assert [path.name for path in folder.iterdir()] == ["keeper"]
    prepared.write(Secret(KEY))
    assert (folder / "got").read_text() == f"{KEY}\n"
    assert (folder / "argv").read_text() == "set MY_KEY --name=MY_KEY\n"
    environment = (folder / "env").read_text()
    assert "KEPT=yes" in environment
    assert "VENICE_" not in environment
    assert "mustNotLeak" not in environment
    assert capfd.readouterr() == ("", "")
    assert len(os.listdir("/dev/fd")) == before


def test_it_runs_at_the_root_and_in_a_session_of_its_own(folder: Path) -> None:
    ready(script(folder, f"pwd > {folder}/pwd; ps -o sid= -p $$ > {folder}/sid; echo $$ > {folder}/pid; cat")).write(
        Secret(KEY)
    )
    assert (folder / "pwd").read_text() == "/\n"
    assert (folder / "sid").read_text().split() == (folder / "pid").read_text().split()


def test_only_the_status_of_a_failed_command_is_told(folder: Path) -> None:
    message = failure(ready(script(folder, "cat; cat >&2; exit 3")))
    assert message == 'the secret was not saved to the command "keeper": it ended with status 3'
    assert failure(ready(script(folder, "kill -9 $$"))).endswith("it was ended by signal 9")


def test_a_command_that_hangs_is_killed_with_all_that_it_started(folder: Path) -> None:
    # All of them hold the pipe open, so that its end is the end of the last of them.
    os.mkfifo(folder / "alive")
    reader = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        program = script(folder, f"exec 9> {folder}/alive; echo up >&9; tail -f /dev/null & tail -f /dev/null")
        message = failure(ready(program, timeout_s=1.0))
        assert message.endswith("it did not end within 1 s and was killed")
        assert os.read(reader, 10) == b"up\n"
        assert select.select([reader], [], [], 10)[0]
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)


def test_a_child_that_keeps_the_pipe_does_not_hold_up_a_command_that_ended_well(folder: Path) -> None:
    prepared = ready(script(folder, f"cat > {folder}/got; tail -f /dev/null <&0 & echo $! > {folder}/child; exit 0"))
    try:
        prepared.write(Secret(KEY))
        assert (folder / "got").read_text() == f"{KEY}\n"
    finally:
        os.kill(int((folder / "child").read_text()), 9)


def test_a_command_that_never_reads_ends_in_one_of_two_ways(folder: Path) -> None:
    prepared = ready(script(folder, "exec 0<&-; exit 0"))
    outcomes: set[str] = set()
    try:
        prepared.write(Secret(KEY))
        outcomes.add("delivered")
    except SinkError as error:
        outcomes.add(str(error).rpartition(": ")[2])
    # Whether the pipe took it first is the scheduler's choice; what must not happen is an exception of another kind.
    assert outcomes <= {"delivered", "it ended before it took the secret"}


def test_a_command_that_ends_well_without_taking_all_has_not_taken_the_secret(folder: Path) -> None:
    # More than a pipe holds, so that it is certain that the command is gone before all is written.
    much = bytes(1 << 20)
    early = "it ended before it took the secret"
    for body, problem in (("exec 0<&-; exit 0", early), ("head -c 10; exit 0", early), ("cat; exit 0", None)):
        command = Command((script(folder, body),))
        assert _run(command, command.filled(None), much) == problem


@pytest.mark.parametrize(("secret", "problem"), [("a" * 4096, "too long"), (f"{KEY}\ud800", "not valid text")])
def test_a_secret_that_cannot_be_handed_over_whole_starts_nothing(folder: Path, secret: str, problem: str) -> None:
    assert problem in failure(ready(script(folder, f"touch {folder}/ran; cat")), secret)
    assert not (folder / "ran").exists()


def test_a_secret_is_handed_over_once(folder: Path) -> None:
    prepared = ready(script(folder, f"cat >> {folder}/got"))
    prepared.write(Secret(KEY))
    prepared.discard()
    assert "already written or discarded" in failure(prepared)
    assert (folder / "got").read_text() == f"{KEY}\n"
    prepared = ready(script(folder, f"cat >> {folder}/got"))
    prepared.discard()
    prepared.discard()
    assert "already written or discarded" in failure(prepared)


# --- refused ---------------------------------------------------------------------------------------


def test_a_command_that_the_policy_does_not_define_is_refused() -> None:
    with pytest.raises(SinkError, match='defines no command "op"; it defines: none'):
        prepare(Destination("command", name="op"), SinkLimits())
    assert "defines no command" not in refusal("/bin/cat", variable="NAME")


def test_a_variable_is_there_exactly_when_the_command_uses_it(folder: Path) -> None:
    program = script(folder, "cat")
    assert "takes no variable" in refusal(program, variable="NAME")
    assert "needs a variable" in refusal(program, "{variable}")
    for odd in ("--output=x", "a b", "$(id)", "a;b", ""):
        assert "is not a name of" in refusal(program, "{variable}", variable=odd)
    assert "looks like a key" in refusal(program, "{variable}", variable=KEY.replace("-", "_"))
    assert Command((program, "x{variable}")).uses_variable
    assert not Command((program, "variable")).uses_variable


def test_a_program_that_is_no_absolute_path_to_an_executable_is_refused(folder: Path) -> None:
    program = script(folder, "cat")
    assert "no program" in refusal()
    assert "no program" in refusal(program, "\0")
    assert "not an absolute path" in refusal("cat")
    assert "not an absolute path" in refusal(f"{folder}/{{variable}}", variable="keeper")
    assert "No such file" in refusal(f"{program}2")
    assert "not an executable file" in refusal(str(folder))
    Path(program).chmod(0o600)
    assert "not an executable file" in refusal(program)


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_program_that_others_may_change_is_refused(folder: Path, mode: int) -> None:
    program = Path(script(folder, "cat"))
    program.chmod(mode)
    assert "others may write" in refusal(str(program))
    program.chmod(0o700)
    folder.chmod(mode | stat.S_ISVTX)
    assert "others may write" in refusal(str(program))


def test_a_link_to_a_program_is_as_safe_as_both_its_ends(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir(0o700)
    program = script(inner, "cat")
    link = folder / "link"
    link.symlink_to(program)
    ready(str(link)).write(Secret(KEY))
    for open_to_others in (inner, folder):
        open_to_others.chmod(0o777)
        assert "others may write" in refusal(str(link))
        open_to_others.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_a_program_of_another_user_is_refused(folder: Path) -> None:
    program = script(folder, "cat")
    os.chown(program, 12345, -1)
    assert "belongs to another user" in refusal(program)


def test_a_program_that_changed_hands_since_is_not_run(folder: Path) -> None:
    program = script(folder, f"touch {folder}/ran; cat")
    prepared = ready(program)
    Path(program).chmod(0o777)
    assert "others may write" in failure(prepared)
    assert not (folder / "ran").exists()


def test_a_program_that_cannot_be_started_is_told_without_its_path(folder: Path) -> None:
    program = folder / "keeper"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o700)
    assert failure(ready(str(program))).endswith("it could not be started: No such file or directory")


def test_whether_a_command_kept_the_secret_cannot_be_told(folder: Path) -> None:
    limits = SinkLimits(commands={"keeper": Command((script(folder, "cat"),))})
    assert holds(Destination("command", name="keeper"), limits, "2V2jNW") is None

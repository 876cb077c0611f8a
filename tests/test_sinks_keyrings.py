"""Only keyrings of an operating system, or those the operator names, get a secret; it is read back, or removed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer, fail, null

from venice_mcp.secrets import Destination, Prepared, Secret, SinkError, SinkLimits
from venice_mcp.secrets.delivery import holds, prepare

KEY = "VENICE_INFERENCE_KEY_mustNotLeak-0123456789abcdef2V2jNW"
ENTRY = Destination("keyring", variable="MY_KEY")
SERVICE = "venice-mcp-keys"


class Memory(KeyringBackend):
    """A keyring that lasts as long as the test, and does as it is told."""

    # keyring collects all subclasses; one without priority is never chosen by itself.
    priority: ClassVar[float] = 0  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.fail_on: set[str] = set()
        self.mangle = False

    def _perhaps_fail(self, what: str, password: str = "") -> None:
        if what in self.fail_on:
            raise RuntimeError(f"{what} failed with {password or KEY}")

    def get_password(self, service: str, username: str) -> str | None:
        self._perhaps_fail("get")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password[:-1] if self.mangle else password
        self._perhaps_fail("set", password)

    def delete_password(self, service: str, username: str) -> None:
        self._perhaps_fail("delete")
        del self.entries[service, username]


ACCEPTED = SinkLimits(keyring_backends=(f"{Memory.__module__}.{Memory.__qualname__}",))


class Chain(chainer.ChainerBackend):
    links: ClassVar[list[Any]] = []


# A chain is judged by its module, and would find links of its own.
Chain.__module__ = chainer.__name__
Chain.backends = Chain.links  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def memory() -> Iterator[Memory]:
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)
    Chain.links.clear()


def ready() -> Prepared:
    return prepare(ENTRY, ACCEPTED)


def refusal(limits: SinkLimits = ACCEPTED) -> str:
    with pytest.raises(SinkError) as caught:
        prepare(ENTRY, limits)
    assert caught.value.__context__ is None
    assert "mustNotLeak" not in str(caught.value)
    return str(caught.value)


def failure(prepared: Prepared) -> str:
    with pytest.raises(SinkError) as caught:
        prepared.write(Secret(KEY))
    error: BaseException = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "mustNotLeak" not in f"{error} {error.args!r}"
    return str(error)


def test_a_new_entry_is_made_under_our_service(memory: Memory) -> None:
    prepared = ready()
    assert prepared.notes == ()
    assert memory.entries == {}
    prepared.write(Secret(KEY))
    prepared.discard()
    assert memory.entries == {(SERVICE, "MY_KEY"): KEY}
    assert "already written or discarded" in failure(prepared)


def test_an_entry_that_exists_is_never_overwritten(memory: Memory) -> None:
    memory.entries[SERVICE, "MY_KEY"] = "precious"
    assert "already has an entry MY_KEY" in refusal()
    memory.entries.clear()
    prepared = ready()
    memory.entries[SERVICE, "MY_KEY"] = "precious"
    assert "already has an entry MY_KEY" in failure(prepared)
    assert memory.entries == {(SERVICE, "MY_KEY"): "precious"}


def test_a_keyring_that_nobody_named_gets_nothing(memory: Memory) -> None:
    assert f'backend "{Memory.__module__}.Memory" is none of an operating system' in refusal(SinkLimits())
    assert memory.entries == {}


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_a_keyring_that_keeps_nothing_is_refused(memory: Memory, backend: type[KeyringBackend]) -> None:
    keyring.set_keyring(backend())
    assert "this system offers none" in refusal()


def test_a_chain_is_as_safe_as_each_of_its_links(memory: Memory) -> None:
    keyring.set_keyring(Chain())
    assert "this system offers none" in refusal()
    Chain.links.append(memory)
    prepared = ready()
    Chain.links.append(null.Keyring())
    assert "this system offers none" in refusal()
    assert "this system offers none" in failure(prepared)
    assert memory.entries == {}
    Chain.links.pop()
    assert "is none of an operating system" in refusal(SinkLimits())
    ready().write(Secret(KEY))
    assert memory.entries == {(SERVICE, "MY_KEY"): KEY}


def test_what_a_keyring_changed_is_removed(memory: Memory) -> None:
    prepared = ready()
    memory.mangle = True
    assert failure(prepared).endswith("entry MY_KEY: reading it back gave something else")
    assert memory.entries == {}


def test_a_keyring_that_fails_is_told_by_the_name_of_its_failure_only(memory: Memory) -> None:
    memory.fail_on = {"get"}
    assert refusal() == "the system keyring cannot be used: it failed with RuntimeError"
    memory.fail_on = set()
    prepared, second, third = ready(), ready(), ready()
    memory.fail_on = {"set"}
    assert failure(prepared).endswith("entry MY_KEY: it failed with RuntimeError")
    assert memory.entries == {}
    memory.fail_on = {"set", "delete"}
    assert failure(second).endswith("it failed with RuntimeError; its entry could not be removed")
    memory.entries.clear()
    memory.fail_on = {"get"}
    assert failure(third).endswith("it failed with RuntimeError")
    assert memory.entries == {}


def test_a_name_that_is_none_is_refused(memory: Memory) -> None:
    for variable in ("a b", "-x", "1", "a" * 65):
        with pytest.raises(SinkError, match="is not a name of"):
            prepare(Destination("keyring", variable=variable), ACCEPTED)


def test_whether_the_secret_arrived_can_be_told_later(memory: Memory) -> None:
    assert holds(ENTRY, ACCEPTED, "2V2jNW") is False
    ready().write(Secret(KEY))
    assert holds(ENTRY, ACCEPTED, "2V2jNW") is True
    assert holds(ENTRY, ACCEPTED, "3V3jNW") is False
    assert holds(ENTRY, SinkLimits(), "2V2jNW") is None
    memory.fail_on = {"get"}
    assert holds(ENTRY, ACCEPTED, "2V2jNW") is None


CHILD = """
import sys
if sys.argv[1] == "missing":
    sys.modules["keyring"] = None
from venice_mcp.secrets import Destination, SinkError, SinkLimits
from venice_mcp.secrets.delivery import prepare
assert sys.argv[1] == "missing" or "keyring" not in sys.modules
try:
    prepare(Destination("keyring", variable="MY_KEY"), SinkLimits())
except SinkError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("case", "environment", "message"),
    [
        ("missing", {}, "the keyring package is missing; install venice-mcp[keyring]"),
        ("null", {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}, "this system offers none"),
        ("fail", {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}, "this system offers none"),
        ("absent", {"PYTHON_KEYRING_BACKEND": "nowhere.Keyring"}, "it failed with ModuleNotFoundError"),
    ],
)
def test_what_a_process_of_its_own_finds(case: str, environment: dict[str, str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, case],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    assert message in done.stdout


def test_settings_of_the_keyring_package_that_a_project_brings_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('it was run')\n")
    settings = f"[backend]\ndefault-keyring = planted.Keyring\nkeyring-path = {tmp_path}\n"
    for folder in ("python_keyring", ".config/python_keyring"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "keyringrc.cfg").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "planted"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert "it was run" not in done.stderr
    assert done.returncode == 0, done.stderr

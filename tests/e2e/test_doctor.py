"""`venice-mcp doctor`: what is wrong is named, with its fix, and no key is shown."""

import json
import os
import ssl
import subprocess
from collections.abc import Callable, Generator
from datetime import UTC, timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import httpx
import pytest

from tests.e2e.bench import ADMIN_KEY, KEYS, Forward, Json, World, world
from tests.e2e.processes import OURS, SandboxProcess, environment, sandbox_process
from venice_mcp import cli
from venice_mcp.client.network import tls_context
from venice_mcp.doctor import Check, examine
from venice_mcp.policy.places import operator_file


@pytest.fixture(scope="module")
def venice(tmp_path_factory: pytest.TempPathFactory) -> Generator[SandboxProcess]:
    with sandbox_process(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


Doctor = Callable[..., subprocess.CompletedProcess[str]]


def doctor(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*OURS, "doctor", "--state-dir", str(folder / "state"), *arguments]
    return subprocess.run(
        command, env=environment(folder, **env), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def doctor_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """The same command in this process, with nothing in its environment but what is given."""

    def running(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        words = ["doctor", "--state-dir", str(tmp_path / "state"), *arguments]
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in environment(tmp_path, **env).items():
            monkeypatch.setenv(name, value)
        status = cli.run(words)
        told = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, told.out, told.err)

    return running


def checks_of(world: World) -> dict[str, Check]:
    return {check.name: check for check in anyio.run(examine, world.app)}


def test_a_good_setup_is_all_ok_and_shows_no_key(tmp_path: Path, venice: SandboxProcess) -> None:
    told = doctor(tmp_path, venice.env)
    assert (told.returncode, told.stderr) == (0, "")
    assert {line.split()[0] for line in told.stdout.splitlines()} == {"ok"}
    assert f"...{venice.admin_key[-6:]}; accepted by Venice" in told.stdout
    assert venice.admin_key not in told.stdout
    assert venice.inference_key not in told.stdout


def test_json_says_the_same_to_programs(doctor_here: Doctor, venice: SandboxProcess) -> None:
    told = doctor_here(venice.env, "--json")
    report: Json = json.loads(told.stdout)
    assert (told.returncode, report["ok"]) == (0, True)
    assert {"version", "target", "network", "VENICE_ADMIN_KEY", "clock", "record"} <= {
        check["name"] for check in report["checks"]
    }
    assert {check["state"] for check in report["checks"]} == {"ok"}


def test_keys_in_the_wrong_places_are_named_without_being_sent(doctor_here: Doctor, venice: SandboxProcess) -> None:
    swapped = venice.env | {"VENICE_ADMIN_KEY": venice.inference_key}
    told = doctor_here(swapped)
    assert told.returncode == 1
    assert "is an INFERENCE key; VENICE_ADMIN_KEY takes an ADMIN key" in told.stdout
    assert venice.inference_key not in told.stdout


def test_a_refused_address_is_told_before_anything_is_sent(doctor_here: Doctor) -> None:
    told = doctor_here({"VENICE_BASE_URL": "https://venice.example/api/v1"})
    assert told.returncode == 1
    assert "VENICE_BASE_URL is refused" in told.stdout


def test_without_a_policy_it_says_where_one_was_looked_for(tmp_path: Path) -> None:
    said = checks_of(world(tmp_path))["policy"].found
    assert said == f"none; looked for {operator_file()}; every write needs a person's approval"


def test_missing_keys_are_a_warning_because_the_server_can_do_without(tmp_path: Path) -> None:
    found = checks_of(world(tmp_path, env={}))
    assert found["VENICE_ADMIN_KEY"].state == "warning"
    assert "VENICE_ADMIN_KEY_FILE" in found["VENICE_ADMIN_KEY"].fix
    assert found["network"].state == "ok"


def test_a_key_venice_does_not_accept_is_told_from_a_broken_network(tmp_path: Path) -> None:
    strange = world(tmp_path, env=KEYS | {"VENICE_ADMIN_KEY": ADMIN_KEY[:-4] + "0000"})
    found = checks_of(strange)
    assert found["VENICE_ADMIN_KEY"].state == "problem"
    assert "did not accept the key in VENICE_ADMIN_KEY" in found["VENICE_ADMIN_KEY"].found
    assert found["network"].state == "ok"
    assert found["VENICE_API_KEY"].state == "ok"


def test_a_network_that_is_down_is_named(tmp_path: Path) -> None:
    venice = world(tmp_path)

    async def down(request: httpx.Request, forward: Forward) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    venice.edge.hook = down
    found = checks_of(venice)
    assert found["network"].state == "problem"
    assert "could not be reached" in found["network"].found


@pytest.mark.parametrize(("ahead_s", "state"), [(0, "ok"), (50, "ok"), (3600, "problem"), (-3600, "problem")])
def test_a_clock_that_is_off_is_named_with_its_direction(tmp_path: Path, ahead_s: int, state: str) -> None:
    venice = world(tmp_path)

    async def dated(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward()
        response.headers["Date"] = format_datetime(
            (venice.clock() - timedelta(seconds=ahead_s)).astimezone(UTC), usegmt=True
        )
        return response

    venice.edge.hook = dated
    clock = checks_of(venice)["clock"]
    assert clock.state == state
    if state == "problem":
        assert ("ahead of" if ahead_s > 0 else "behind") in clock.found
        assert "Set this machine's clock" in clock.fix


def test_a_record_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    venice = world(tmp_path)
    venice.state_dir.write_text("a file where the folder should be")
    record = checks_of(venice)["record"]
    assert record.state == "problem"
    assert "--state-dir" in record.fix


def test_tls_secrets_are_never_written_down_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    context = tls_context()
    assert not context.keylog_filename
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] > 50
    assert not (tmp_path / "keys").exists()


def test_proxy_variables_are_said_to_be_ignored(tmp_path: Path, doctor_here: Doctor, venice: SandboxProcess) -> None:
    told = doctor_here(venice.env | {"HTTPS_PROXY": "http://127.0.0.1:1", "SSLKEYLOGFILE": str(tmp_path / "keys")})
    assert told.returncode == 0
    assert "SSLKEYLOGFILE, HTTPS_PROXY set, and ignored" in told.stdout
    assert not (tmp_path / "keys").exists()

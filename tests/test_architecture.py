"""What the code promises about itself: one direction of imports, and one place for everything that is dangerous."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_harness import ROOT
from venice_mcp.client import VeniceClient

# A module imports only from modules above it. A package stands after its modules, because it re-exports them.
ORDER = [
    "venice_mcp",
    "errors",
    "text",
    "systems",
    "consent",
    "secrets.types",
    "secrets.folding",
    "secrets.shapes",
    "secrets.needles",
    "secrets.redaction",
    "secrets.masking",
    "secrets.streams",
    "secrets.logs",
    "secrets.destinations",
    "secrets.sinks",
    "secrets.folders",
    "secrets.tracking",
    "secrets.files",
    "secrets.reports",
    "secrets.exchange",
    "secrets.envtext",
    "secrets.dotenv",
    "secrets.tabletext",
    "secrets.tables",
    "secrets.keyrings",
    "secrets.commands",
    "secrets.delivery",
    "secrets.saved",
    "secrets",
    "policy",
    "policy.rules",
    "policy.patterns",
    "policy.places",
    "policy.document",
    "policy.files",
    "policy.sources",
    "settings",
    "operating",
    "models",
    "models.lenient",
    "models.wire",
    "models.requests",
    "models.results",
    "models.leaks",
    "models.plans",
    "models.hygiene",
    "models.spending",
    "models.diagnosis",
    "sandbox",
    "store.record",
    "store.journal",
    "store.remembered",
    "store.approvals",
    "store.plans",
    "store.trail",
    "store",
    "wallet",
    "client.pace",
    "client.hurry",
    "client.network",
    "client.transport",
    "client.refusals",
    "client.keys",
    "client.api",
    "client",
    "diagnosis",
    "diagnosis.claims",
    "diagnosis.notation",
    "diagnosis.bodies",
    "diagnosis.traces",
    "diagnosis.accounts",
    "diagnosis.pasted",
    "diagnosis.causes",
    "diagnosis.hits",
    "diagnosis.tuning",
    "diagnosis.advice",
    "diagnosis.evidence",
    "diagnosis.standing",
    "diagnosis.funds",
    "diagnosis.offers",
    "diagnosis.rates",
    "diagnosis.judging",
    "diagnosis.report",
    "questions",
    "plan_questions",
    "policy.reach",
    "policy.summary",
    "policy.gate",
    "proposals",
    "patience",
    "gatekeeping",
    "changes",
    "cases",
    "guard",
    "asking",
    "workflows",
    "workflows.critical",
    "workflows.facts",
    "workflows.spending",
    "workflows.forecasts",
    "workflows.shares",
    "workflows.readings",
    "workflows.remedies",
    "workflows.hygiene",
    "workflows.hygiene_report",
    "workflows.changing",
    "workflows.finding_out",
    "workflows.making",
    "workflows.recovering",
    "workflows.successors",
    "workflows.templates",
    "workflows.plan_rows",
    "workflows.plan_steps",
    "workflows.plans",
    "workflows.undoing",
    "leaks",
    "leaks.placeholders",
    "leaks.patterns",
    "leaks.content",
    "leaks.walking",
    "leaks.folders",
    "leaks.git",
    "leaks.ignoring",
    "leaks.standing",
    "leaks.history",
    "leaks.worker",
    "leaks.scanning",
    "charts",
    "app",
    "tools.fields",
    "tools.arguments",
    "tools.times",
    "tools.schemas",
    "tools.build",
    "tools.listing",
    "tools.occupants",
    "tools.keys",
    "tools.finding",
    "tools.audit",
    "tools.limits",
    "tools.billing",
    "tools.forecast_data",
    "tools.forecast_summary",
    "tools.forecast_text",
    "tools.forecasting",
    "tools.diagnosis_answer",
    "tools.diagnosing",
    "tools.plans",
    "tools.rotating",
    "tools.provisioning",
    "tools.several",
    "tools.recover",
    "tools.scanning",
    "tools.status",
    "tools.web3",
    "tools",
    "tasks",
    "prompts",
    "icons",
    "instructions",
    "resources",
    "completions",
    "subscriptions",
    "server",
    "fence",
    "serving",
    "approving",
    "auditing",
    "doctor",
    "installing",
    "installing.machine",
    "installing.launching",
    "installing.jsontext",
    "installing.configfile",
    "installing.hosts",
    "installing.entries",
    "installing.hostprogram",
    "installing.changing",
    "installing.command",
    "cli",
    "__main__",
]

PACKAGE = ROOT / "venice_mcp"
REVEALING = {
    "app.show",  # the one display
    "client.api.VeniceClient.create_web3_api_key",  # token and signature go to Venice
    "client.transport.Transport._send",  # the Authorization header
    "client.transport._in_process_sandbox",  # throwaway keys of the sandbox in this process
    "secrets.commands.PreparedCommand._deliver",  # the standard input of a program that the policy names
    "secrets.dotenv.PreparedVariable._deliver",  # the .env file that deliver_to names
    "secrets.files.PreparedFile._deliver",  # the new file that deliver_to names
    "secrets.keyrings.PreparedEntry._deliver",  # the keyring's new entry
    "secrets.tables.PreparedRow._deliver",  # the CSV or JSON file that takes many keys
    "secrets.redaction.Redactor._masked",
    "secrets.redaction.Redactor.add",
    "secrets.redaction._marker",
    "fence.Fence._refusal",  # compared with what a caller sent
    "wallet._checked_keystore",  # the file is parsed
    "wallet.address_of",
    "wallet.check_token",
    "wallet.open_keystore",  # its password opens it
    "wallet.sign_token",
    "wallet.signed_by",
}
SHOWING = {
    "tools.keys.made_answer",  # a new key, in the result of the call that made it
    "tools.web3.venice_get_web3_token",  # a token to be signed elsewhere
}
PRINTING = {
    "approving",
    "auditing",
    "leaks.worker",
    "cli",
    "doctor",
    "serving",
    "sandbox.serving",
    "secrets.logs",
    "installing.command",
}
HOLDING_THE_WALLET = {"wallet", "sandbox.wallet"}


class Source(NamedTuple):
    """A module: its name without the package's, and its syntax tree."""

    name: str
    tree: ast.Module


def sources() -> list[Source]:
    found: list[Source] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        name = "venice_mcp" if name == "__init__" else name
        found.append(Source(name, ast.parse(path.read_text(encoding="utf-8"))))
    return found


SOURCES = sources()
NAMES = {source.name for source in SOURCES}


def short(module: str) -> str:
    return module.removeprefix("venice_mcp.")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module a tree imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if short(inner) in NAMES else node.module


def ours(tree: ast.AST) -> set[str]:
    return {short(name) for name in imported(tree) if name.split(".")[0] == "venice_mcp"}


class Call(NamedTuple):
    place: str
    node: ast.Call

    @property
    def called(self) -> str:
        function = self.node.func
        return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls(source: Source) -> Iterator[Call]:
    """Every call of a module with the function it stands in."""

    def visit(node: ast.AST, place: str) -> Iterator[Call]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            place = f"{place}.{node.name}"
        if isinstance(node, ast.Call):
            yield Call(place, node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, place)

    yield from visit(source.tree, source.name)


def places_calling(name: str) -> set[str]:
    return {call.place for source in SOURCES for call in calls(source) if call.called == name}


# --- imports ---------------------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_order() -> None:
    listed = [name for name in ORDER if name != "sandbox"]
    assert len(ORDER) == len(set(ORDER))
    assert set(listed) == {name for name in NAMES if name.split(".")[0] != "sandbox"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_module_imports_only_what_stands_above_it(source: Source) -> None:
    if source.name.split(".")[0] == "sandbox":
        foreign = {name for name in ours(source.tree) if name.split(".")[0] != "sandbox"}
        assert not foreign, "the sandbox knows nothing of the rest, so that a wrong model shows"
        return
    above = set(ORDER[: ORDER.index(source.name)])
    package = f"{source.name}."
    own = {name for name in ours(source.tree) if name.startswith(package)}
    assert own <= above
    assert ours(source.tree) - own <= above


def test_the_walk_over_the_imports_sees_lazy_ones_too() -> None:
    by_name = {source.name: ours(source.tree) for source in SOURCES}
    assert "sandbox" in by_name["client.transport"]
    assert "server" in by_name["doctor"]


def test_the_wallet_library_has_one_importer() -> None:
    for source in SOURCES:
        libraries = {name.split(".")[0] for name in imported(source.tree)}
        if source.name not in HOLDING_THE_WALLET:
            assert not libraries & {"eth_account", "eth_keys", "eth_utils"}, source.name


# --- consent ---------------------------------------------------------------------------------------


def test_only_the_guard_makes_consents() -> None:
    assert places_calling("Consent") == {"guard.Guard._redeem", "guard.Guard.carry_step", "guard.Guard._undo"}
    # Nor does anybody get at the class by another road.
    for source in SOURCES:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name) and node.id == "Consent" and isinstance(node.ctx, ast.Store):
                pytest.fail(f"{source.name} gives Consent another name")
            if isinstance(node, ast.ImportFrom):
                assert not [a for a in node.names if a.name == "Consent" and a.asname], source.name


def test_undoing_is_for_a_key_whose_secret_was_lost_only() -> None:
    assert places_calling("take_back") == {"workflows.making.Maker._revoke_again"}
    # Not saved, or to be displayed to a caller that is gone.
    again = {"workflows.making.Maker._take_back", "workflows.making.Maker._nobody_waits"}
    assert places_calling("_revoke_again") == again


def test_only_methods_with_a_consent_write_and_each_claims_it_first() -> None:
    api = next(source.tree for source in SOURCES if source.name == "client.api")
    client = next(node for node in ast.walk(api) if isinstance(node, ast.ClassDef) and node.name == "VeniceClient")
    writers: set[str] = set()
    for method in client.body:
        if not isinstance(method, ast.AsyncFunctionDef):
            continue
        writes = [node for node in ast.walk(method) if isinstance(node, ast.Attribute) and node.attr == "write"]
        if not writes:
            continue
        writers.add(method.name)
        parameter = inspect.signature(getattr(VeniceClient, method.name)).parameters["consent"]
        assert parameter.default is inspect.Parameter.empty, method.name
        assert getattr(parameter.annotation, "__name__", parameter.annotation) == "Consent"
        body = method.body[1:] if ast.get_docstring(method) else method.body
        assert ast.unparse(body[0]).startswith("consent.claim("), f"{method.name} must claim before all else"
    assert writers == {"create_api_key", "update_api_key", "delete_api_key", "create_web3_api_key"}


def places_reaching(*ends: str) -> set[str]:
    return {
        ".".join(call.place.split(".")[:2])
        for source in SOURCES
        for call in calls(source)
        if isinstance(call.node.func, ast.Attribute) and ast.unparse(call.node.func).endswith(ends)
    }


def test_nobody_but_the_client_reaches_the_transport() -> None:
    assert places_reaching(".transport.write") == {"client.api"}
    # The doctor asks for the public catalogue to see whether Venice can be reached.
    assert places_reaching(".transport.read") == {"client.api", "doctor._reachable"}
    assert places_reaching("._send", "._exchange") == {"client.transport"}


# --- secrets ---------------------------------------------------------------------------------------


def test_secrets_are_opened_where_this_list_says() -> None:
    assert places_calling("reveal") == REVEALING


def test_reveal_is_always_called_and_never_handed_on() -> None:
    for source in SOURCES:
        called = sum(call.called == "reveal" for call in calls(source))
        named = sum(isinstance(node, ast.Attribute) and node.attr == "reveal" for node in ast.walk(source.tree))
        assert named == called, source.name


def test_secrets_are_shown_where_this_list_says() -> None:
    assert places_calling("show") == SHOWING


def test_nobody_looks_into_a_secret() -> None:
    for source in SOURCES:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "_Secret__" in node.value:
                assert source.name == "secrets.types"
            if isinstance(node, ast.Attribute):
                assert "_Secret__" not in node.attr


# --- the outside world -----------------------------------------------------------------------------


def test_only_commands_write_to_the_standard_streams() -> None:
    for source in SOURCES:
        printing = any(call.called in ("print", "input") for call in calls(source)) or any(
            isinstance(node, ast.Attribute)
            and node.attr.strip("_") in ("stdout", "stderr")
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
            for node in ast.walk(source.tree)
        )
        assert not printing or source.name in PRINTING, source.name


def test_no_assertion_stands_in_for_a_check() -> None:
    for source in SOURCES:
        found = [node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.Assert)]
        assert not found, f"{source.name}: {found}, and -O takes assertions away"


def test_nothing_catches_everything_without_saying_why() -> None:
    for source in SOURCES:
        lines = (PACKAGE / "__init__.py").parent.joinpath(*source.name.split("."))
        path = lines / "__init__.py" if lines.is_dir() else lines.with_suffix(".py")
        text = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
                assert "#" in text[node.lineno - 1], f"{source.name}:{node.lineno}"


WATCHING = """
import sys
touched = []
import errno, os
def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.system", "shutil.", "sqlite3.")):
        touched.append(event)
    if event in ("os.mkdir", "os.remove", "os.rename", "os.chmod", "os.rmdir", "os.link", "os.symlink"):
        touched.append(event)
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if str(args[0]) != os.devnull:
            touched.append(f"open {args[0]} to write")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import venice_mcp.server
heavy = {name.split(".")[0] for name in sys.modules} & {"httpx", "eth_account", "keyring", "matplotlib", "platformdirs"}
print(touched, sorted(heavy))
"""


def test_importing_the_server_touches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHING], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] []"
    assert not list(tmp_path.iterdir())

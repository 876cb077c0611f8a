"""What each tool tells a model is short and complete, and promises nothing that the code does not keep."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast, get_type_hints

import jsonschema
import pytest
from hypothesis import given
from mcp.server.mcpserver.resolve import Resolve
from mcp_types import Tool
from pydantic import ValidationError, create_model

from tests.e2e.striking import quick_folder
from tests.test_bad_input import valid_calls
from tests.test_contract_client import FEW, changes, new_keys, walk
from tests.test_harness import MODERN, ROOT, House, Json, Person, data_of, house, text_of
from tests.test_schemas import listed
from venice_mcp.sandbox.limits import CREATES_PER_MINUTE
from venice_mcp.sandbox.wallet import TOKEN_LIFE
from venice_mcp.text import parse_time
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import ToolSpec, _stored, build, derived  # pyright: ignore[reportPrivateUsage]
from venice_mcp.workflows.facts import RECENT

TOKENS_OF_A_TOOL, TOKENS_OF_ALL = 400, 7_500
LONGEST_DESCRIPTION, LONGEST_SENTENCE = 450, 160
NOT_FOR_MODELS = {"outputSchema", "annotations", "icons", "_meta"}
SPECS = {spec.name: spec for spec in TOOLS}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tool]:
    return {tool.name: tool for tool in listed(tmp_path_factory.mktemp("lint"))}


every_tool = pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: cast("ToolSpec", spec).name)


def validate(value: object, schema: Json) -> None:
    cast("Any", jsonschema).validate(value, schema, cls=jsonschema.Draft202012Validator)


def description(spec: ToolSpec) -> str:
    return " ".join((spec.fn.__doc__ or "").split())


def guarded(spec: ToolSpec) -> bool:
    """Whether the tool takes a verdict that a chain of resolvers makes, the only way to a consent."""
    taken = get_type_hints(spec.fn, include_extras=True).get("verdict")
    return taken is not None and any(isinstance(each, Resolve) for each in taken.__metadata__)


# --- what it costs ---------------------------------------------------------------------------------


def tokens(tool: Tool) -> float:
    """What a client that shows everything but results, hints and pictures makes a model pay, as it came."""
    entry = tool.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    shown = {name: value for name, value in entry.items() if name not in NOT_FOR_MODELS}
    assert {"name", "title", "description", "inputSchema"} <= set(shown)
    return len(json.dumps(shown, ensure_ascii=False, separators=(",", ":"))) / 4


def test_each_tool_costs_a_model_little_and_so_do_all_of_them(tools: dict[str, Tool]) -> None:
    costs = {name: tokens(tool) for name, tool in tools.items()}
    assert {name: cost for name, cost in costs.items() if cost > TOKENS_OF_A_TOOL} == {}
    assert sum(costs.values()) <= TOKENS_OF_ALL


def test_descriptions_are_short_and_begin_with_a_short_sentence(tools: dict[str, Tool]) -> None:
    long: dict[str, int] = {}
    for name, tool in tools.items():
        text = tool.description or ""
        assert text.isascii(), name
        assert "\n" not in text
        assert 40 < len(text) <= LONGEST_DESCRIPTION, name
        first = re.split(r"(?<=[.])\s", text, maxsplit=1)[0]
        assert first.endswith("."), name
        assert not first.endswith(("e.g.", "i.e.")), f"{name}: the tables of tools would end in the middle"
        if len(first) > LONGEST_SENTENCE:
            long[name] = len(first)
    assert not long


# --- what is stated --------------------------------------------------------------------------------


def test_every_annotation_is_stated_and_fits_the_tool(tools: dict[str, Tool]) -> None:
    for name, tool in tools.items():
        notes = tool.annotations
        assert notes is not None
        assert tool.title
        assert notes.title == tool.title
        stated = (notes.read_only_hint, notes.destructive_hint, notes.idempotent_hint, notes.open_world_hint)
        assert all(isinstance(hint, bool) for hint in stated), name
        # venice_recover revokes when it is told to.
        destroys = any(word in name for word in ("_update_", "_revoke_", "_rotate_")) or name == "venice_recover"
        # venice_audit_api_keys writes a new file when it is told to.
        writes = "_create_" in name or "_provision_" in name or destroys or name == "venice_audit_api_keys"
        assert notes.read_only_hint is not writes, name
        assert notes.destructive_hint is destroys, name


@pytest.fixture
def near() -> Iterator[Path]:
    """A folder in which `walk` may keep files of secrets: others may not write to where it lies."""
    with quick_folder() as folder:
        yield folder


NOT_THE_SAME_AGAIN = {
    "venice_audit_api_keys": "its report is a new file, and a path can be free again",
    "venice_rotate_api_key": "once the successor is somewhere else, the same call makes another one",
    "venice_get_web3_token": "each call gets a token of its own",
}
"""What a second call at the same moment, with everything as the first one left it, does not show."""


def left_behind(bench: House) -> object:
    """What calls may change: keys, but for when they were used, and files beside our own record."""
    files = [path for path in bench.app.settings.state_dir.rglob("*") if not path.name.startswith("state.sqlite3")]
    keys = [{**key, "lastUsedAt": None} for key in bench.made_keys()]
    return keys, sorted((str(path), path.read_bytes()) for path in files if path.is_file())


def test_a_tool_is_idempotent_exactly_if_the_same_call_once_more_changes_nothing(near: Path) -> None:
    """And open to the world exactly if it sends something; those that only read are looked at below."""
    bench = house(near)
    growing, sending = set(NOT_THE_SAME_AGAIN), set[str]()

    async def each_twice() -> None:
        async with bench.client(MODERN, Person()) as client:
            for tool, given_arguments in walk(bench):
                if SPECS[tool].read_only:
                    continue
                sent = len(bench.edge.sent)
                data_of(await client.call_tool(tool, given_arguments))
                sending.update({tool} if len(bench.edge.sent) > sent else ())
                before = left_behind(bench)
                await client.call_tool(tool, given_arguments)  # an error if it is about what is gone or done
                growing.update({tool} if left_behind(bench) != before else ())

    bench.run(each_twice)
    assert growing == {spec.name for spec in TOOLS if not spec.idempotent}
    assert sending == {spec.name for spec in TOOLS if spec.open_world and not spec.read_only}


def test_a_second_token_is_another_one(tmp_path: Path) -> None:
    bench = house(tmp_path)
    first = data_of(bench.call("venice_get_web3_token"))["token"]
    bench.clock.advance(seconds=1)
    assert data_of(bench.call("venice_get_web3_token"))["token"] != first


class Argument(NamedTuple):
    """An argument or a member of one: as it is shown, as it is checked, and what the text above it says."""

    tool: str
    name: str
    shown: Json
    checked: Json
    above: str

    @property
    def said(self) -> str:
        return str(self.shown.get("description", ""))


def resolved(schema: Json, definitions: Json) -> Json:
    """A part of a full schema without its null branch and its reference."""
    if "anyOf" in schema:
        [branch] = [each for each in schema["anyOf"] if each != {"type": "null"}]
        schema = {**schema, **branch}
    if "$ref" in schema:
        schema = {**schema, **definitions[schema["$ref"].rpartition("/")[2]]}
    return schema


def arguments() -> Iterator[Argument]:
    for spec in TOOLS:
        shown, full = derived(spec)["input"], spec.arguments.model_json_schema()
        definitions = full.get("$defs", {})
        assert set(shown["properties"]) == set(full["properties"])
        for name, part in shown["properties"].items():
            checked = resolved(full["properties"][name], definitions)
            yield Argument(spec.name, name, part, checked, description(spec))
            for member, inner in part.get("properties", {}).items():
                below = resolved(checked["properties"][member], definitions)
                yield Argument(spec.name, f"{name}.{member}", inner, below, str(part.get("description", "")))


ARGUMENTS = tuple(arguments())
PAGING = {"limit", "page", "page_size"}
UNIT = re.compile(r"(?:^|_)(?:days|hours|seconds|s|percent|usd|diem)$")


def test_every_argument_is_described_or_explains_itself() -> None:
    """It explains itself if it chooses among words, is yes or no, pages, has its unit in its name or described
    members, or if the text above it names it."""
    silent: set[str] = set()
    for argument in ARGUMENTS:
        last = argument.name.rpartition(".")[2]
        by_itself = "enum" in argument.shown or argument.shown["type"] == "boolean" or last in PAGING
        members = cast("list[Json]", list(argument.shown.get("properties", {}).values()))
        by_itself |= bool(members) and all("description" in each or "enum" in each for each in members)
        named = re.search(rf"(?<!\w){last}(?!\w)", argument.above) or f"*_{last.rpartition('_')[2]}" in argument.above
        if not (argument.said or by_itself or UNIT.search(last) or named):
            silent.add(f"{argument.tool} {argument.name}")
    assert silent == set()


FORMATTED = re.compile(r"(?:^|_)(?:ids?|at|date|start|end|path|file|folders?|allowlist|code)$")
ALSO_FORMATTED = {"revoke", "acknowledge", "resume", "undo", "give_up"}
# Texts of a fixed form that nobody has to compose: they come from a tool, a wallet, the policy or the key itself.
GIVEN = {"last6_chars", "cursor", "address", "signature", "deliver_to.name"}
# The audit's codes stand in its summary.
NOT_A_FORMAT = {("venice_audit_api_keys", "code")}


def examples_in(argument: Argument) -> list[Any]:
    """What follows "e.g." as a value: an object, a word in quotes, or a word; and what stands under `examples`."""
    found = list(cast("list[Any]", argument.shown.get("examples", [])))
    for example in re.findall(r"[Ee]\.g\. (\{[^}]*\}(?!')|'[^']*'|\S+)", argument.said):
        literal = example[0] in "{'"
        found.append(ast.literal_eval(example) if literal else example.rstrip(".,;"))
    return found


def test_arguments_of_a_certain_form_come_with_an_example() -> None:
    without: set[str] = set()
    for argument in ARGUMENTS:
        last = argument.name.rpartition(".")[2]
        composed = "pattern" in argument.checked and argument.name not in GIVEN
        formed = FORMATTED.search(last) or last in ALSO_FORMATTED or composed
        texts = argument.shown["type"] == "string" or argument.shown.get("items") == {"type": "string"}
        if not (formed and texts) or (argument.tool, argument.name) in NOT_A_FORMAT:
            continue
        outer = argument.above if "." in argument.name else ""
        shown = examples_in(argument) or "~/" in argument.said or f"'{last}':" in outer or "default" in argument.shown
        if not shown:
            without.add(f"{argument.tool} {argument.name}")
    assert without == set()


def accepts(spec: ToolSpec, name: str, value: object) -> bool:
    """Whether an argument takes a value, as its own field checks it."""
    field = spec.arguments.model_fields[name]
    alone = create_model("Alone", **cast("Any", {name: (field.annotation, field)}))
    try:
        alone.model_validate({name: value})
    except ValidationError:
        return False
    return True


def test_every_example_is_taken_by_the_argument_it_explains() -> None:
    tried = 0
    for argument in ARGUMENTS:
        for example in examples_in(argument) if "." not in argument.name else ():
            value = [example] if argument.shown["type"] == "array" and isinstance(example, str) else example
            assert accepts(SPECS[argument.tool], argument.name, value), f"{argument.tool} {argument.name}: {value}"
            validate(value, argument.shown)
            # Times are text to the model of the arguments; the tool reads them.
            assert not re.match(r"\d{4}-", str(example)) or parse_time(example) is not None, example
            tried += 1
    assert tried > 25


# --- what is shown is never stricter than what is taken --------------------------------------------


def test_the_schema_that_is_shown_asks_for_nothing_that_is_not_checked() -> None:
    words = {"description", "examples"}
    for argument in ARGUMENTS:
        for keyword, value in argument.shown.items():
            if keyword in words:
                continue
            if keyword == "properties":
                assert set(value) == set(argument.checked["properties"])
            elif keyword == "items":
                assert value.items() <= resolved(argument.checked["items"], {}).items()
            else:
                assert argument.checked.get(keyword) == value, f"{argument.tool} {argument.name}: {keyword}"


def test_every_model_of_arguments_is_closed_to_the_last_member() -> None:
    for spec in TOOLS:
        full = spec.arguments.model_json_schema()
        assert derived(spec)["input"]["additionalProperties"] is False
        for part in (full, *full.get("$defs", {}).values()):
            assert part.get("type") != "object" or part["additionalProperties"] is False, spec.name


@FEW
@given(made=new_keys(), changed=changes())
def test_what_a_tool_takes_its_schema_takes(made: Json, changed: Json) -> None:
    for tool, taken in (("venice_create_api_key", made), ("venice_update_api_key", changed)):
        validate(taken, derived(SPECS[tool])["input"])


def test_without_the_file_of_schemas_they_come_from_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [build.__wrapped__(spec) for spec in TOOLS[:2]]
    monkeypatch.setattr("venice_mcp.tools.build.SCHEMAS", tmp_path / "schemas.json")
    _stored.cache_clear()
    try:
        assert [build.__wrapped__(spec).parameters for spec in TOOLS[:2]] == [tool.parameters for tool in stored]
    finally:
        _stored.cache_clear()


def test_ordinary_calls_fit_the_schemas(tmp_path: Path) -> None:
    bench = house(tmp_path)
    for tool, given_arguments in (*walk(bench), *valid_calls(bench).items()):
        validate(given_arguments, derived(SPECS[tool])["input"])


# --- promises --------------------------------------------------------------------------------------

PROMISING = re.compile(r"\b(?:never|cannot|nothing|nobody|only|always|every|no key|secrets?)\b", re.IGNORECASE)
ADVICE = ""
"""Said to the model: what to do, or when. There is nothing to keep."""
HERE, E2E = "tests/test_tool_lint.py", "tests/e2e"
CANARY = "tests/test_canary.py::test_no_frame_holds_a_secret_but_the_one_display"
KEPT: dict[tuple[str, str], str] = {
    (
        "venice_recover",
        "Find out what interrupted calls left behind (writes of unknown outcome, keys whose secret reached nobody,"
        " unfinished plans) and settle it by reading Venice.",
    ): f"{E2E}/test_recover.py::test_a_key_whose_secret_reached_nobody_is_named_until_it_is_revoked",
    (
        "venice_recover",
        "acknowledge notes that the person stored a displayed secret;",
    ): f"{E2E}/test_recover.py::test_a_displayed_secret_is_open_until_it_is_acknowledged",
    ("venice_recover", "only when the person said that the secret is stored"): ADVICE,
    ("venice_diagnose", "Changes nothing."): f"{HERE}::test_what_is_not_said_to_ask_writes_nothing_and_asks_nobody",
    (
        "venice_list_api_keys",
        "never secrets.",
    ): CANARY,
    (
        "venice_list_api_keys",
        "Not used, or never used and made, for N days",
    ): f"{E2E}/test_listing.py::test_every_filter_finds_exactly_the_keys_it_names",
    (
        "venice_list_api_keys",
        "true: only keys with neither a USD nor a DIEM cap",
    ): f"{E2E}/test_listing.py::test_every_filter_finds_exactly_the_keys_it_names",
    (
        "venice_get_api_key",
        "It cannot show the secret;",
    ): f"{E2E}/test_new_secrets.py::test_no_later_result_or_error_shows_the_secret_again",
    ("venice_get_api_key", "nobody can."): CANARY,
    (
        "venice_find_api_key",
        "Never takes the key itself.",
    ): f"{E2E}/test_find.py::test_a_pasted_key_is_refused_without_an_echo",
    (
        "venice_audit_api_keys",
        "Changes no key;",
    ): f"{HERE}::test_what_is_not_said_to_ask_writes_nothing_and_asks_nobody",
    ("venice_create_api_key", "ADMIN only for managing keys."): ADVICE,
    (
        "venice_create_api_key",
        "The secret is shown once or saved to a file.",
    ): f"{E2E}/test_new_secrets.py::test_a_delivered_secret_is_in_its_file_and_not_in_the_result",
    ("venice_create_api_key", "Never pass or repeat a secret."): ADVICE,
    (
        "venice_create_api_key",
        "without it the secret is shown in this chat, once",
    ): f"{E2E}/test_new_secrets.py::test_a_secret_is_in_both_halves_of_its_one_result",
    (
        "venice_create_web3_api_key",
        "else the secret is shown here",
    ): f"{E2E}/test_new_secrets.py::test_a_secret_is_in_both_halves_of_its_one_result",
    ("venice_update_api_key", "The type cannot change."): f"{HERE}::test_what_cannot_be_said_cannot_be_asked_for",
    (
        "venice_rotate_api_key",
        "only then the old key ends, after a grace period that Venice enforces.",
    ): f"{E2E}/test_rotation.py::test_with_grace_both_keys_work_until_venice_ends_the_old_one",
    ("venice_rotate_api_key", "For the new secret, e.g."): ADVICE,
    (
        "venice_provision_api_keys",
        "secrets go to files, never the chat.",
    ): f"{E2E}/test_provisioning.py::test_each_secret_is_filed_under_its_own_name",
    (
        "venice_provision_api_keys",
        "nobody is asked again.",
    ): f"{E2E}/test_provisioning.py::test_45_keys_never_meet_a_limit_and_no_call_takes_longer_than_45_s",
    ("venice_update_api_keys", "Use it for a cap on every key that has none."): ADVICE,
    (
        "venice_get_rate_limits",
        "Venice tells this only for the calling key, not for others.",
    ): f"{HERE}::test_what_cannot_be_said_cannot_be_asked_for",
    (
        "venice_forecast_spend",
        "Changes nothing.",
    ): f"{HERE}::test_what_is_not_said_to_ask_writes_nothing_and_asks_nobody",
    (
        "venice_scan_for_leaked_keys",
        "Nothing found is shown, sent or stored but path, line, kind and last six;",
    ): f"{E2E}/test_scan.py::test_no_found_secret_is_in_a_result_a_log_or_on_disk",
    (
        "venice_scan_for_leaked_keys",
        "nothing is changed.",
    ): f"{HERE}::test_what_is_not_said_to_ask_writes_nothing_and_asks_nobody",
}
"""Every sentence that promises something for all cases, and the test that shows it."""


def test_every_promise_for_all_cases_has_its_proof() -> None:
    texts = [(spec.name, description(spec)) for spec in TOOLS] + [(each.tool, each.said) for each in ARGUMENTS]
    said = {(tool, part) for tool, text in texts for part in re.split(r"(?<=[.;])\s", text) if PROMISING.search(part)}
    assert said - set(KEPT) == set(), "prove it, or do not say it"
    assert set(KEPT) - said == set()
    for proof in filter(None, set(KEPT.values())):
        path, _, name = proof.partition("::")
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), proof


def test_what_cannot_be_said_cannot_be_asked_for() -> None:
    """The models of arguments are closed, so what they have no member for nobody can ask for."""
    assert "api_key_type" not in SPECS["venice_update_api_key"].arguments.model_fields
    assert set(SPECS["venice_get_rate_limits"].arguments.model_fields) == {"api_key_type", "model"}


STANDARD = {"personal_sign"}
NO_ARGUMENTS = {"it", "the", "or", "from"}


def members_of(schema: Json) -> set[str]:
    """Every member of a result."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}


@every_tool
def test_every_tool_and_argument_that_is_named_exists(spec: ToolSpec) -> None:
    schemas = derived(spec)
    own = {name for each in ARGUMENTS if each.tool == spec.name for name in (each.name, each.name.rpartition(".")[2])}
    fields = members_of(schemas["output"])
    texts = [description(spec), *(each.said for each in ARGUMENTS if each.tool == spec.name)]
    for text in texts:
        plain = re.sub(r"\{[^}]*\}|'[^']*'", " ", text)
        for word in re.findall(r"(?<![\w*{])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?!\w)", plain):
            assert word in SPECS or word in own | fields | STANDARD, f"{spec.name}: {word}"
        for word in re.findall(r"\b(?:set|give|pass|use(?=\s\w+ to\b)) ([a-z]\w*)", description(spec), re.IGNORECASE):
            assert word in own | NO_ARGUMENTS, f"{spec.name}: {word}"
        for ending in re.findall(r"\*_([a-z]+)", plain):
            assert any(name.endswith(f"_{ending}") for name in own), f"{spec.name}: {ending}"


@every_tool
def test_a_tool_says_that_a_person_approves_exactly_if_its_code_asks_one(spec: ToolSpec) -> None:
    says = re.search(r"\bafter a person (?:\w+ )*?(?:approved|saw .* approved)", description(spec)) is not None
    assert says == guarded(spec)
    assert not (guarded(spec) and spec.read_only)
    if re.search(r"\b(?:[Cc]hanges nothing|[Nn]othing is changed)\b", description(spec)):
        assert spec.read_only


def test_who_says_so_asks_a_person_and_who_was_declined_writes_nothing(tmp_path: Path) -> None:
    asked = set[str]()
    for spec in filter(guarded, TOOLS):
        # A house of its own: whoever said no about a key is not asked about it again at once.
        bench = house(tmp_path / spec.name)
        # Without arguments venice_recover only reads.
        for given_arguments in [taken for tool, taken in walk(bench) if tool == spec.name and taken]:
            person = Person("decline")
            said = text_of(bench.call(spec.name, given_arguments, person=person))
            assert "Nothing was changed at Venice." in said, spec.name
            assert len(person.questions) == 1, spec.name
            asked.add(spec.name)
        assert bench.edge.writes == []
    assert asked | {"venice_recover"} == {spec.name for spec in TOOLS if guarded(spec)}


def test_what_is_not_said_to_ask_writes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    bench, person, sending = house(tmp_path / "state"), Person(), set[str]()
    (tmp_path / ".env").write_text(f"KEY={bench.made_keys()[0]['secret']}\n", encoding="utf-8")

    async def each() -> None:
        async with bench.client(MODERN, person) as client:
            for tool, given_arguments in (*walk(bench), ("venice_scan_for_leaked_keys", {"folders": [str(tmp_path)]})):
                if not guarded(SPECS[tool]):
                    before = len(bench.edge.sent)
                    data_of(await client.call_tool(tool, given_arguments))
                    sending.update({tool} if len(bench.edge.sent) > before else ())

    bench.run(each)
    assert person.questions == []
    assert bench.edge.writes == []
    assert sending == {spec.name for spec in TOOLS if spec.open_world and not guarded(spec)}


# --- numbers ---------------------------------------------------------------------------------------

STATUSES = {401, 402, 403, 429, 503}
NUMBER = re.compile(r"(?<![\w/.:-])\d[\d,]*(?:\.\d+)?(?![\w/:-])")


def numbers_in(text: str) -> set[float]:
    """The numbers of a text, without those in examples; 0 and 1 are words, and what a status means is tried below."""
    plain = re.sub(r"[Ee]\.g\. [^\s{']\S+|\{[^}]*\}|'[^']*'", " ", text)
    return {float(number.replace(",", "")) for number in NUMBER.findall(plain)} - {0.0, 1.0, *STATUSES}


def bound(tool: str, name: str, keyword: str) -> float:
    """A bound as the model of the arguments checks it."""
    return float(next(each for each in ARGUMENTS if (each.tool, each.name) == (tool, name)).checked[keyword])


def longest(tool: str, name: str) -> float:
    """The longest text that an argument takes, whether a bound or a function of ours checks it."""
    return float(next(length for length in range(1, 1_000) if not accepts(SPECS[tool], name, "x" * (length + 1))))


def kept_numbers() -> dict[tuple[str, str], set[float]]:
    """Every number that a tool's words hold, as the code has it."""
    ledger, analytics = "venice_get_rate_limit_log", "venice_get_usage_analytics"
    rotate, audit = "venice_rotate_api_key", "venice_audit_api_keys"
    several = ("venice_update_api_keys", "venice_revoke_api_keys")
    described = ("venice_create_api_key", "venice_update_api_key", "venice_create_web3_api_key")
    return {
        ("venice_get_web3_token", ""): {TOKEN_LIFE / timedelta(minutes=1)},
        ("venice_provision_api_keys", ""): {float(CREATES_PER_MINUTE)},
        (ledger, ""): {bound(ledger, "limit", "maximum")},
        (analytics, ""): {7.0, bound(analytics, "lookback_days", "maximum")},
        (rotate, "grace_hours"): {bound(rotate, "grace_hours", "maximum") / 24},
        (audit, "unused_days"): {float(RECENT.days)},
        **{(tool, "key_ids"): {bound(tool, "key_ids", "maxItems")} for tool in several},
        **{(tool, "description"): {longest(tool, "description")} for tool in described},
    }


def test_every_number_that_is_named_is_the_codes() -> None:
    said = {(spec.name, ""): numbers_in(description(spec)) for spec in TOOLS}
    said |= {(each.tool, each.name): numbers_in(each.said) for each in ARGUMENTS}
    assert {place: numbers for place, numbers in said.items() if numbers} == kept_numbers()


def test_numbers_that_only_behaviour_shows(tmp_path: Path) -> None:
    bench: House = house(tmp_path)
    data_of(bench.call("venice_get_usage_analytics"))
    assert bench.edge.sent[-1].url.params["lookback"] == "7d"
    said = {int(status) for status in re.findall(r"\b[45]\d\d\b", description(SPECS["venice_diagnose"]))}
    assert said == STATUSES
    for status in said:
        found = data_of(bench.call("venice_diagnose", {"error": f"HTTP/1.1 {status}"}))
        assert found["pasted"]["status"] == status
        assert found["causes"]


def test_the_lint_sees_what_it_should() -> None:
    """So that no rule is empty: numbers, examples and guards are found where they are."""
    assert numbers_in("At most 64 of 1,000, e.g. 2027-01-31, last6_chars, web3, '9'") == {64.0, 1000.0}
    assert {spec.name for spec in TOOLS if guarded(spec)} == {
        spec.name for spec in TOOLS if "verdict" in inspect.signature(spec.fn).parameters
    }
    deliver = next(each for each in ARGUMENTS if (each.tool, each.name) == ("venice_create_api_key", "deliver_to"))
    assert examples_in(deliver) == [{"kind": "dotenv", "path": "~/.env", "variable": "VENICE_API_KEY"}]

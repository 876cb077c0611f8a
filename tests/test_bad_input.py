"""Bad input: every case is refused by name, with a next step, without an echo, and with nothing sent."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult

from tests.test_harness import (
    ADMIN_KEY,
    ERAS,
    KEYS,
    LEGACY,
    MODERN,
    NOON,
    ROOT,
    UNKNOWN_ID,
    House,
    Json,
    Person,
    data_of,
    house,
    text_of,
)
from venice_mcp.tools import TOOLS
from venice_mcp.tools.build import ToolSpec, build
from venice_mcp.tools.schemas import input_schema

OTHER_KEY = "VENICE_INFERENCE_KEY_q7Rk-2Zx_9vTnB4yLmWc8HsPd3Ge5UjA6FoKi1xCt"
HEX_KEY = "3b1f9ad2" * 8
OLD_KEY = "k9Xv2QpLr7Tn4Wb8Zc1Yd6Hs3Gf5Jm0AeUiOqRtKw-M"
TOKEN = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
    for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "venice-account", "exp": int(NOON.timestamp()) + 600})
)
JWT = f"{TOKEN}.c2lnbmF0dXJlLW9mLW5vYm9keS1hdC1hbGw"
ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
SIGNATURE = "0x" + "5c" * 65

CREATE, UPDATE, REVOKE, GET = (
    "venice_create_api_key",
    "venice_update_api_key",
    "venice_revoke_api_key",
    "venice_get_api_key",
)
LIST, MINT, USAGE, ANALYTICS = (
    "venice_list_api_keys",
    "venice_create_web3_api_key",
    "venice_get_billing_usage",
    "venice_get_usage_analytics",
)
ID = {"key_id": UNKNOWN_ID}


class Case(NamedTuple):
    """`argument` must be named; nothing in `hidden` may come back."""

    name: str
    tool: str
    arguments: Json
    argument: str
    hidden: tuple[str, ...] = ()


def described(name: str, description: object, *hidden: str) -> list[Case]:
    return [
        Case(f"create: {name}", CREATE, {"description": description}, "description", hidden),
        Case(f"update: {name}", UPDATE, {**ID, "description": description}, "description", hidden),
        Case(f"mint: {name}", MINT, {"description": description}, "description", hidden),
    ]


def capped(name: str, cap: object, *hidden: str) -> list[Case]:
    return [
        case
        for unit in ("usd", "diem")
        for case in (
            Case(
                f"create: {unit} {name}", CREATE, {"description": "x", "consumption_limit": {unit: cap}}, unit, hidden
            ),
            Case(f"update: {unit} {name}", UPDATE, {**ID, "consumption_limit": {unit: cap}}, unit, hidden),
        )
    ]


def expiring(name: str, argument: str, *hidden: str, **arguments: object) -> list[Case]:
    return [
        Case(f"create: {name}", CREATE, {"description": "x", **arguments}, argument, hidden),
        Case(f"mint: {name}", MINT, {**arguments}, argument, hidden),
    ]


def only_from(name: str, addresses: object, *hidden: str) -> list[Case]:
    return [
        Case(f"create: {name}", CREATE, {"description": "x", "ip_allowlist": addresses}, "ip_allowlist", hidden),
        Case(f"update: {name}", UPDATE, {**ID, "ip_allowlist": addresses}, "ip_allowlist", hidden),
    ]


def naming(name: str, key_id: object, *hidden: str) -> list[Case]:
    return [
        Case(f"{tool}: {name}", tool, {"key_id": key_id, **more}, "key_id", hidden)
        for tool, more in ((GET, {}), (REVOKE, {}), (UPDATE, {"description": "x"}))
    ]


SECRETS = {"a prefixed key": OTHER_KEY, "64 hex digits": HEX_KEY, "a JWT": JWT, "an old key": OLD_KEY}

CASES: list[Case] = [
    *naming("no UUID", "not-a-uuid-at-all", "not-a-uuid-at-all"),
    *naming("a UUID too short", UNKNOWN_ID[:-1], UNKNOWN_ID[:-1]),
    *naming("a UUID in braces", "{" + UNKNOWN_ID[2:] + "}"),
    *naming("a path", f"../{UNKNOWN_ID}"[:36], "../"),
    *naming("a number", 12, "=12"),
    *[case for name, secret in SECRETS.items() for case in naming(name, secret, secret, secret[-30:])],
    *[case for name, secret in SECRETS.items() for case in described(name, f"for {secret} only", secret, secret[-30:])],
    *[Case(f"list: {name}", LIST, {"text": secret}, "text", (secret,)) for name, secret in SECRETS.items()],
    Case("cursor: a prefixed key", USAGE, {"cursor": OTHER_KEY}, "cursor", (OTHER_KEY,)),
    Case("cursor: our own key", USAGE, {"cursor": ADMIN_KEY}, "cursor", (ADMIN_KEY,)),
    Case(
        "path: a key",
        CREATE,
        {"description": "x", "deliver_to": {"path": f"/srv/{OTHER_KEY}"}},
        "deliver_to",
        (OTHER_KEY,),
    ),
    Case("model: a key", "venice_get_rate_limits", {"model": OTHER_KEY}, "model", (OTHER_KEY,)),
    Case("neither", GET, {}, "key_id"),
    Case("both", GET, {**ID, "last6_chars": "abcdef"}, "key_id"),
    Case("last six: five", GET, {"last6_chars": "abcde"}, "last6_chars", ("abcde",)),
    Case("last six: odd", GET, {"last6_chars": "ab\u200bcde"}, "last6_chars", ("\u200b",)),
    *described("65 characters", "q" * 65, "qqq"),
    *described("65 UTF-16 units", "\U0001f511" * 33, "\U0001f511"),
    *described("blank", " \t "),
    *described("empty", ""),
    *described("a line break", "abc\ndef"),
    *described("a control character", "abc\x07def", "\x07"),
    *described("an escape sequence", "abc\x1b[2Kdef", "\x1b"),
    *described("bidirectional", "abc\u202edef", "\u202e"),
    *described("zero width", "abc\u200bdef", "\u200b"),
    *described("a lone surrogate", "abc\ud83ddef", "\ud83d"),
    *described("a number", 4711, "4711"),
    *described("a list", ["abcxyz"], "abcxyz"),
    *capped("negative", -4711.5, "4711"),
    *capped("NaN", "NaN", "input_value"),
    *capped("Infinity", "Infinity", "input_value"),
    *capped("too large", 99_999_999_999, "99999999999"),
    *capped("boolean", True),
    *capped("text", "forty-seven", "forty-seven"),
    Case("cap: unknown unit", CREATE, {"description": "x", "consumption_limit": {"vcu": 3}}, "vcu"),
    Case("cap: a number", CREATE, {"description": "x", "consumption_limit": 4711}, "consumption_limit", ("4711",)),
    Case("null cap", UPDATE, {**ID, "consumption_limit": {"usd": None}}, "consumption_limit"),
    *expiring("past date", "expires_at", "2020-01-31", expires_at="2020-01-31"),
    *expiring("past time", "expires_at", "09:30", expires_at="2026-11-18T09:30:00Z"),
    *expiring("no date", "expires_at", "next tuesday", expires_at="next tuesday"),
    *expiring("impossible date", "expires_at", "02-30", expires_at="2027-02-30"),
    *expiring("beyond the calendar", "expires_at", "9999", expires_at="9999-12-31T23:59:59-14:00"),
    *expiring("before the calendar", "expires_at", "0001", expires_at="0001-01-01T00:00:00+14:00"),
    *expiring("both forms", "expires_at", "2027-01-31", expires_at="2027-01-31", expires_in_days=4711),
    *expiring("days: zero", "expires_in_days", expires_in_days=0),
    *expiring("days: negative", "expires_in_days", "4711", expires_in_days=-4711),
    *expiring("days: NaN", "expires_in_days", expires_in_days="NaN"),
    *expiring("days: too many", "expires_in_days", "36501", expires_in_days=36_501),
    *expiring("days: boolean", "expires_in_days", expires_in_days=True),
    Case("update: past", UPDATE, {**ID, "expires_at": "2020-01-31"}, "expires_at", ("2020-01-31",)),
    Case("update: both forms", UPDATE, {**ID, "expires_at": "2027-01-31", "expires_in_days": 3}, "expires_at"),
    Case("create: period alone", CREATE, {"description": "x", "limit_period": "MONTH"}, "limit_period"),
    Case(
        "create: period, empty cap",
        CREATE,
        {"description": "x", "limit_period": "MONTH", "consumption_limit": {}},
        "limit_period",
    ),
    Case("mint: period alone", MINT, {"limit_period": "MONTH"}, "limit_period"),
    Case("unknown period", CREATE, {"description": "x", "limit_period": "FORTNIGHT"}, "limit_period", ("FORTNIGHT",)),
    Case("unknown privacy", CREATE, {"description": "x", "model_privacy": "SOMEWHAT"}, "model_privacy", ("SOMEWHAT",)),
    Case("unknown type", CREATE, {"description": "x", "api_key_type": "ROOTISH"}, "api_key_type", ("ROOTISH",)),
    *only_from("bad range", ["10.0.0.0/33"], "10.0.0.0/33"),
    *only_from("bad address", ["198.51.100.1", "198.51.100.256"], "198.51.100.256"),
    *only_from("a name", ["gateway.test"], "gateway.test"),
    *only_from("101 entries", [f"10.0.{n}.1" for n in range(101)], "10.0.100.1"),
    *only_from("empty", []),
    *only_from("no list", "198.51.100.7", "198.51.100.7"),
    *only_from("a zone with a line break", ["fe80::1%eth0\nHIGH RISK: none."], "HIGH RISK"),
    *only_from("a zone with words", ["fe80::1%checked by your bank"], "bank"),
    Case("clear and set a cap", UPDATE, {**ID, "consumption_limit": {"usd": 1}, "clear": ["usd_cap"]}, "clear"),
    Case("clear and set expiry", UPDATE, {**ID, "expires_in_days": 3, "clear": ["expires_at"]}, "clear"),
    Case("clear and set addresses", UPDATE, {**ID, "ip_allowlist": ["10.0.0.1"], "clear": ["ip_allowlist"]}, "clear"),
    Case("clear an unknown thing", UPDATE, {**ID, "clear": ["everything"]}, "clear", ("everything",)),
    Case("nothing to change", UPDATE, ID, "description"),
    Case("unknown argument", REVOKE, {**ID, "dry_run": True}, "dry_run"),
    Case("unknown argument of none", "venice_status", {"verbose": True}, "verbose"),
    *[
        Case(f"an argument named like {name}", REVOKE, {**ID, secret: True}, "argument", (secret, secret[-30:]))
        for name, secret in SECRETS.items()
    ],
    *[
        Case(
            f"an argument named like {name} with its value",
            REVOKE,
            {secret: secret},
            "argument",
            (secret, secret[-30:]),
        )
        for name, secret in SECRETS.items()
    ],
    Case(
        "a cap named like a key",
        CREATE,
        {"description": "x", "consumption_limit": {OTHER_KEY: 1}},
        "consumption_limit",
        (OTHER_KEY,),
    ),
    Case(
        "a path in the wrong place",
        CREATE,
        {"description": "x", "deliver_to": "/srv/secret"},
        "deliver_to",
        ("/srv/secret",),
    ),
    Case("a path with a line break", CREATE, {"description": "x", "deliver_to": {"path": "/srv/a\nb"}}, "deliver_to"),
    Case(
        "another sink",
        CREATE,
        {"description": "x", "deliver_to": {"kind": "mail", "path": "/srv/a"}},
        "deliver_to",
        ("mail",),
    ),
    Case("limit 0", LIST, {"limit": 0}, "limit"),
    Case("limit 101", LIST, {"limit": 101}, "limit"),
    Case("page 0", LIST, {"page": 0}, "page"),
    Case("unused: NaN", LIST, {"unused_for_days": "NaN"}, "unused_for_days"),
    Case("unused: Infinity", LIST, {"unused_for_days": "Infinity"}, "unused_for_days"),
    Case("unused: beyond the calendar", LIST, {"unused_for_days": 1e12}, "unused_for_days"),
    Case("unused: boolean", LIST, {"unused_for_days": True}, "unused_for_days"),
    Case("expiring: beyond the calendar", LIST, {"expiring_within_days": 1e12}, "expiring_within_days"),
    Case("expiring: Infinity", LIST, {"expiring_within_days": "Infinity"}, "expiring_within_days"),
    Case("unknown sort", LIST, {"sort": "fanciest"}, "sort", ("fanciest",)),
    Case("cursor and currency", USAGE, {"cursor": "abc", "currency": "USD"}, "cursor"),
    Case("cursor and start", USAGE, {"cursor": "abc", "start": "2026-01-01"}, "cursor", ("2026-01-01",)),
    Case("cursor: odd letters", USAGE, {"cursor": "abc&pageSize=1000"}, "cursor", ("pageSize=1000",)),
    Case("end before start", USAGE, {"start": "2026-03-02", "end": "2026-03-01"}, "end", ("2026-03-01",)),
    Case("end at start", USAGE, {"start": "2026-03-02", "end": "2026-03-02T01:00:00+01:00"}, "end"),
    Case("start: no date", USAGE, {"start": "last week"}, "start", ("last week",)),
    Case("start: before the calendar", USAGE, {"start": "0001-01-01T00:00:00+14:00"}, "start", ("0001",)),
    Case("end: beyond the calendar", USAGE, {"end": "9999-12-31T23:59:59-14:00"}, "end", ("9999",)),
    Case("start: a year Venice's form cannot say", USAGE, {"start": "0999-01-01"}, "start", ("0999",)),
    Case("page size", USAGE, {"page_size": 9}, "page_size"),
    Case("one date", ANALYTICS, {"start_date": "2026-03-01"}, "start_date", ("2026-03-01",)),
    Case("the other date", ANALYTICS, {"end_date": "2026-03-01"}, "start_date", ("2026-03-01",)),
    Case("dates turned round", ANALYTICS, {"start_date": "2026-03-02", "end_date": "2026-03-01"}, "end_date"),
    Case("no dates", ANALYTICS, {"start_date": "2026-02-30", "end_date": "2026-03-01"}, "start_date", ("02-30",)),
    Case("dates of other digits", ANALYTICS, {"start_date": "２０２６-03-01", "end_date": "2026-03-02"}, "start_date"),
    Case(
        "dates and days",
        ANALYTICS,
        {"start_date": "2026-03-01", "end_date": "2026-03-02", "lookback_days": 3},
        "lookback_days",
    ),
    Case("91 days", ANALYTICS, {"lookback_days": 91}, "lookback_days"),
    Case("address alone", MINT, {"address": ADDRESS}, "signature", (ADDRESS,)),
    Case("signature alone", MINT, {"signature": SIGNATURE}, "address", (SIGNATURE, SIGNATURE[2:])),
    Case("token alone", MINT, {"token": JWT}, "address", (JWT,)),
    Case(
        "no address",
        MINT,
        {"address": "vitalik.test", "signature": SIGNATURE, "token": JWT},
        "address",
        ("vitalik.test", SIGNATURE, JWT),
    ),
    Case(
        "a private key as signature",
        MINT,
        {"address": ADDRESS, "signature": "0x" + HEX_KEY, "token": JWT},
        "signature",
        (HEX_KEY, JWT),
    ),
    Case(
        "a key as token",
        MINT,
        {"address": ADDRESS, "signature": SIGNATURE, "token": OTHER_KEY},
        "token",
        (OTHER_KEY, SIGNATURE),
    ),
    Case(
        "somebody else's signature",
        MINT,
        {"address": ADDRESS, "signature": SIGNATURE, "token": JWT},
        "signature",
        (SIGNATURE, JWT),
    ),
    Case(
        "an old token",
        MINT,
        {"address": ADDRESS, "signature": SIGNATURE, "token": "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2ln"},
        "token",
        ("eyJleHAi",),
    ),
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> House:
    return house(tmp_path_factory.mktemp("bad"))


@dataclass(frozen=True)
class Answer:
    """What became of a call: how many requests were sent for it, and how many questions asked."""

    result: CallToolResult
    sent: int
    questions: int


def answered(bench: House, cases: Sequence[Case], era: str) -> list[Answer]:
    """All of them over one connection."""
    person = Person()

    async def work() -> list[Answer]:
        answers: list[Answer] = []
        async with bench.client(era, person) as client:
            for case in cases:
                sent, questions = len(bench.edge.sent), len(person.questions)
                result = await client.call_tool(case.tool, case.arguments)
                answers.append(Answer(result, len(bench.edge.sent) - sent, len(person.questions) - questions))
        return answers

    return bench.run(work)


def refusal(answer: Answer) -> str:
    """The error text of a call for which nothing was sent."""
    said = text_of(answer.result)
    assert answer.result.is_error, said
    assert answer.sent == 0, "nothing may be sent"
    assert answer.questions == 0, "nobody may be bothered"
    return said


def refused(bench: House, case: Case) -> str:
    (answer,) = answered(bench, [case], MODERN)
    return refusal(answer)


@pytest.fixture(scope="module")
def answers(bench: House) -> list[Answer]:
    """To every case."""
    return answered(bench, CASES, MODERN)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[cast("int", number)].name)
def test_bad_input_is_refused_by_name_and_without_an_echo(answers: list[Answer], number: int) -> None:
    case, said = CASES[number], refusal(answers[number])
    assert case.argument in said
    _, *rest = re.split(r"Nothing was (?:sent to|changed at) Venice[.:]", said)
    assert len(rest) == 1, said
    after = rest[0].strip()
    assert len(after) > 10, f"a next step is missing: {said}"
    assert "Error executing tool" not in said
    assert len(said) < 1200
    for value in case.hidden:
        assert value not in said


def test_both_eras_say_the_same(bench: House, answers: list[Answer]) -> None:
    legacy = answered(bench, CASES[::7], LEGACY)
    assert [refusal(answer) for answer in legacy] == [refusal(answer) for answer in answers[::7]]


# The SDK's client turns these into null, and other clients do not: here they reach the arguments as they are.
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("tool", "arguments", "argument"),
    [
        (CREATE, {"description": "x", "consumption_limit": {"usd": ...}}, "usd"),
        (UPDATE, {**ID, "consumption_limit": {"diem": ...}}, "diem"),
        (CREATE, {"description": "x", "expires_in_days": ...}, "expires_in_days"),
        (LIST, {"unused_for_days": ...}, "unused_for_days"),
        (LIST, {"expiring_within_days": ...}, "expiring_within_days"),
    ],
)
def test_numbers_that_are_none_are_refused(tool: str, arguments: Json, argument: str, value: float) -> None:
    def filled(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: filled(inner) for name, inner in cast("Json", item).items()}
        return value if item is ... else item

    spec = next(spec for spec in TOOLS if spec.name == tool)
    with pytest.raises(ToolError) as caught:
        build(spec).fn_metadata.validate_arguments(filled(arguments))
    assert argument in str(caught.value)


# --- over-long input -------------------------------------------------------------------------------


def string_places(schema: Json, definitions: Json) -> Iterator[Callable[[str], Any]]:
    """Every way to put a text into a value of this schema."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "allOf" in schema:
        schema = schema["allOf"][0]
    match schema.get("type"):
        case "string":
            yield lambda text: text
        case "array":
            for place in string_places(schema["items"], definitions):
                yield lambda text, place=place: [place(text)]
        case "object":
            for name, inner in schema.get("properties", {}).items():
                for place in string_places(inner, definitions):
                    yield lambda text, name=name, place=place: {name: place(text)}
        case _:
            if schema.get("$ref"):
                yield from string_places(schema, definitions)


def long_cases() -> Iterator[Any]:
    for spec in TOOLS:
        schema = input_schema(spec.arguments)
        for name, inner in schema.get("properties", {}).items():
            if name in spec.arguments.PASTED_FIELDS:
                continue  # of what is pasted the end is read, however long it is
            for place in string_places(inner, schema.get("$defs", {})):
                yield pytest.param(spec.name, name, place, id=f"{spec.name} {name}")


@pytest.mark.parametrize(("tool", "argument", "place"), list(long_cases()))
def test_100_kb_in_any_text_are_refused(bench: House, tool: str, argument: str, place: Callable[[str], Any]) -> None:
    needed: Json = {"description": "x"} if tool == CREATE and argument != "description" else {}
    arguments = needed | {argument: place("Zq " * 34_000)}
    said = refused(bench, Case("long", tool, arguments, argument))
    assert argument in said
    assert "Zq Zq" not in said
    assert len(said) < 2000


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: cast("ToolSpec", spec).name)
@pytest.mark.parametrize("value", ["20 USD", ["x"], 20], ids=["words", "a list", "a number"])
def test_what_is_no_object_is_answered_with_one_that_fits(bench: House, spec: ToolSpec, value: Any) -> None:
    objects = [name for name, part in input_schema(spec.arguments)["properties"].items() if part["type"] == "object"]
    for name in objects:
        said = refused(bench, Case("", spec.name, {name: value}, name))
        given, _ = json.JSONDecoder().raw_decode(said.partition(f"{name}: give an object such as ")[2])
        # What is proposed is accepted.
        again = refused(bench, Case("", spec.name, {name: given, "zq": 1}, "zq"))
        assert not any(each.startswith((f"{name}:", f"{name}.")) for each in again.split("; "))


@pytest.mark.parametrize("name", ["clear", "ip_allowlist"])
def test_what_is_no_list_is_answered_without_the_names_of_python(bench: House, name: str) -> None:
    said = refused(bench, Case("", UPDATE, {**ID, name: {"x": 1}}, name))
    assert said == f"{name}: give a list, also for one. Nothing was sent to Venice: correct it and call again."


def test_a_long_name_of_an_argument_is_cut(bench: House) -> None:
    said = refused(bench, Case("", REVOKE, {**ID, "Zq" * 50_000: 1}, ""))
    assert len(said) < 600


# --- what is read, but never written ---------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("tool", "more"), [(GET, {}), (REVOKE, {}), (UPDATE, {"description": "x"})])
def test_an_unknown_id_is_looked_for_and_nothing_else(tmp_path: Path, era: str, tool: str, more: Json) -> None:
    bench, person = house(tmp_path), Person()
    result = bench.call(tool, {**ID, **more}, era=era, person=person)
    said = text_of(result)
    assert result.is_error
    assert UNKNOWN_ID in said
    assert "venice_list_api_keys" in said
    assert "Nothing was changed" in said
    assert not bench.edge.writes
    assert not person.questions


@pytest.mark.parametrize(("tool", "more"), [(GET, {}), (REVOKE, {}), (UPDATE, {"description": "x"})])
def test_two_keys_with_the_same_ending_are_told_apart_by_a_person(tmp_path: Path, tool: str, more: Json) -> None:
    bench, person = house(tmp_path), Person()
    ending = next(str(key["secret"])[-6:] for key in bench.made_keys() if key.get("description") == "support chatbot")
    result = bench.call(tool, {"last6_chars": ending, **more}, person=person)
    said = text_of(result)
    assert result.is_error
    for description in ("support chatbot", "Tomas laptop"):
        assert bench.id_of(description) in said
    assert "last6_chars" in said
    assert "key_id" in said
    assert not bench.edge.writes
    assert not person.questions


def test_an_ending_nobody_has_is_not_found(tmp_path: Path) -> None:
    bench = house(tmp_path)
    result = bench.call(REVOKE, {"last6_chars": "______"})
    assert result.is_error
    assert text_of(result).startswith("No active key of the account ends in ______.")
    assert "venice_list_api_keys" in text_of(result)
    assert not bench.edge.writes


def test_a_period_for_a_key_without_a_cap_is_refused(tmp_path: Path) -> None:
    bench, person = house(tmp_path), Person()
    arguments = {"key_id": bench.id_of("Priya laptop"), "limit_period": "MONTH"}
    result = bench.call(UPDATE, arguments, person=person)
    said = text_of(result)
    assert result.is_error
    assert said.startswith("limit_period: ")
    assert "consumption_limit" in said
    assert not bench.edge.writes
    assert not person.questions


def test_a_period_for_a_key_whose_cap_is_cleared_is_refused(tmp_path: Path) -> None:
    bench = house(tmp_path)
    arguments = {"key_id": bench.id_of("staging"), "limit_period": "MONTH", "clear": ["usd_cap"]}
    result = bench.call(UPDATE, arguments)
    assert result.is_error
    assert text_of(result).startswith("limit_period: ")
    assert not bench.edge.writes


# --- input that looks bad and is not ---------------------------------------------------------------


def beside(bench: House, name: str) -> str:
    """A path in the folder of this house."""
    return str(bench.app.settings.state_dir / name)


def valid_calls(bench: House) -> dict[str, Json]:
    spare = bench.id_of("staging")
    return {
        "venice_status": {},
        "venice_recover": {},
        "venice_scan_for_leaked_keys": {"folders": [str(ROOT / "skills")]},
        LIST: {},
        GET: {"key_id": spare},
        "venice_find_api_key": {"description": "staging"},
        "venice_audit_api_keys": {},
        CREATE: {"description": "nulls"},
        UPDATE: {"key_id": spare, "consumption_limit": {"usd": 6}},
        "venice_get_rate_limits": {},
        "venice_get_rate_limit_log": {},
        "venice_get_web3_token": {},
        MINT: {},
        "venice_get_billing_balance": {},
        USAGE: {"page_size": 10},
        ANALYTICS: {},
        "venice_forecast_spend": {},
        "venice_diagnose": {"key_id": spare, "error": "429", "model": "kimi-k2-6"},
        "venice_rotate_api_key": {
            "key_id": bench.id_of("Mei laptop"),
            "deliver_to": {"kind": "file", "path": beside(bench, "rotated")},
        },
        "venice_provision_api_keys": {"names": ["a"], "deliver_to": {"kind": "csv", "path": beside(bench, "k.csv")}},
        "venice_update_api_keys": {"key_ids": [bench.id_of("image service")], "consumption_limit": {"usd": 8}},
        "venice_revoke_api_keys": {"key_ids": [bench.id_of("eval harness")]},
        REVOKE: {"key_id": spare},
    }


def test_null_for_any_optional_argument_is_as_if_it_were_absent(tmp_path: Path) -> None:
    bench, plain = house(tmp_path / "a"), house(tmp_path / "b")
    fresh = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
    calls, same = valid_calls(bench), valid_calls(plain)
    assert set(calls) == {spec.name for spec in TOOLS}
    nulls = {spec.name: dict.fromkeys(set(spec.arguments.model_fields) - set(calls[spec.name])) for spec in TOOLS}
    given = [Case("nulls", tool, {**nulls[tool], **calls[tool]}, "") for tool in nulls]
    absent = [Case("none", tool, same[tool], "") for tool in nulls]
    for answer in answered(bench, given, MODERN) + answered(plain, absent, MODERN):
        assert not answer.result.is_error, text_of(answer.result)
    # A mint carries a fresh token and signature, and a new key has a fresh id.
    sent, expected = (
        [(each.method, fresh.sub("ID", str(each.url))) for each in one.edge.sent] for one in (bench, plain)
    )
    assert sent == expected
    assert json.loads(bench.edge.writes[0].body) == json.loads(plain.edge.writes[0].body)


def test_null_inside_the_caps_of_a_new_key_means_no_cap(tmp_path: Path) -> None:
    bench = house(tmp_path)
    made = data_of(bench.call(CREATE, {"description": "x", "consumption_limit": {"usd": 5, "diem": None}}))
    assert made["usd_cap"] == 5
    assert "diem" not in json.loads(bench.edge.writes[0].body)["consumptionLimit"]


def test_objects_sent_as_json_text_are_taken_as_objects(tmp_path: Path) -> None:
    bench = house(tmp_path)
    arguments = {"description": "as text", "consumption_limit": '{"usd": 5}', "ip_allowlist": '["198.51.100.7"]'}
    made = data_of(bench.call(CREATE, arguments))
    body = json.loads(bench.edge.writes[0].body)
    assert made["usd_cap"] == 5
    assert body["consumptionLimit"] == {"usd": 5}
    assert body["ipAllowlist"] == ["198.51.100.7"]


@pytest.mark.parametrize("value", ['{"usd": -1}', '{"usd": null, "eur": 1}', "{not json", "[1, 2]", "[" * 5000])
def test_objects_sent_as_broken_text_are_refused(bench: House, value: str) -> None:
    case = Case("", CREATE, {"description": "x", "consumption_limit": value}, "")
    assert "consumption_limit" in refused(bench, case)


@pytest.mark.parametrize("description", ["[1]", "{}", "[]", '["a"]', "null", "12"])
def test_a_description_that_happens_to_be_json_stays_text(tmp_path: Path, description: str) -> None:
    bench = house(tmp_path)
    assert data_of(bench.call(CREATE, {"description": description}))["description"] == description


@pytest.mark.parametrize(
    "description", ["z" * 64, "  padded  ", "\U0001f511" * 32, "Schlüssel für Köln", "密钥", "x" * 31 + " " + "Y2" * 16]
)
def test_good_descriptions_are_taken(tmp_path: Path, description: str) -> None:
    bench = house(tmp_path, environment=KEYS)
    assert data_of(bench.call(CREATE, {"description": description}))["description"] == description.strip()

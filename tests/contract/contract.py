"""Holds requests and answers against Venice's published contract and our dated additions to it.

`venice-openapi.json` is the published contract of the fourteen operations that are used, without its prose.
`overlay.json` lists what is known beyond it. The kinds of entries there:

- `member`: one more member of a body, at the places listed in `at`
- `status`: one more status of the listed operations
- `header`: a header that any answer may carry, with the form of its value
- `route`: an operation of Venice's that the slice leaves out and the sandbox has
- `choice`: what the sandbox does where Venice says nothing; `shown_by` names the test that shows it
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

HERE = Path(__file__).parent
BASE_PATH = "/api/v1"
Json = dict[str, Any]
Pairs = Mapping[str, str] | Iterable[tuple[str, str]]
_FORMATS = FormatChecker(formats=())
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    if isinstance(value, str) and _DATE_TIME.fullmatch(value):
        # Fractions of any length are allowed, and say nothing about whether the date exists.
        datetime.fromisoformat(re.sub(r"\.[0-9]+", "", value))
        return True
    return not isinstance(value, str)


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    spec: Json

    @property
    def needs_key(self) -> bool:
        return "security" not in self.spec

    @property
    def forbids_key(self) -> bool:
        return self.spec.get("security") == []

    def matches(self, method: str, path: str) -> bool:
        pattern = re.sub(r"\\{[a-z]+\\}", "[^/]+", re.escape(self.path))
        return method.upper() == self.method and re.fullmatch(pattern, path) is not None


@dataclass
class Contract:
    """The contract with its overlay. Remembers what it was used for, so that tests can ask what was not."""

    operations: dict[str, Operation]
    components: Json
    entries: list[Json]
    seen: set[str] = field(default_factory=set[str])
    used: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    @classmethod
    def load(cls) -> "Contract":
        published: Json = json.loads((HERE / "venice-openapi.json").read_text(encoding="utf-8"))
        overlay: Json = json.loads((HERE / "overlay.json").read_text(encoding="utf-8"))
        if overlay["contract"] != published["info"]["version"]:
            raise ValueError("the overlay was written for another version of the contract")
        operations = {
            spec["operationId"]: Operation(spec["operationId"], method.upper(), path, spec)
            for path, methods in published["paths"].items()
            for method, spec in methods.items()
        }
        contract = cls(operations, published["components"], overlay["entries"])
        for entry in contract.entries:
            contract._lay_over(entry)
        return contract

    def _lay_over(self, entry: Json) -> None:
        if entry["kind"] == "status":
            schema = {"$ref": f"#/components/schemas/{entry['schema']}"}
            for name in entry["operations"]:
                responses = self.operations[name].spec["responses"]
                if entry["status"] in responses:
                    raise ValueError(f"{entry['id']}: the contract has {entry['status']} of {name} already")
                responses[entry["status"]] = {"content": {"application/json": {"schema": schema}}}
        if entry["kind"] == "member":
            for place in entry["at"]:
                schema = self._schema_at(place)
                if entry["name"] in schema["properties"]:
                    raise ValueError(f"{entry['id']}: the contract has {entry['name']} already")
                schema["properties"][entry["name"]] = entry["schema"]

    def _schema_at(self, place: Json) -> Json:
        spec = self.operations[place["operation"]].spec
        part = spec["requestBody"] if place["part"] == "request" else spec["responses"][place["part"]]
        schema: Json = part["content"]["application/json"]["schema"]
        for step in place["path"]:
            schema = schema["items"] if step == "*" else schema["properties"][step]
        return schema

    def operation(self, method: str, path: str) -> Operation:
        relative = path.removeprefix(BASE_PATH)
        found = [each for each in self.operations.values() if each.matches(method, relative)]
        assert found, f"{method} {relative} is no operation of the contract"
        return min(found, key=lambda each: "{" in each.path)

    def check_request(
        self, method: str, path: str, query: Pairs, headers: Mapping[str, str], body: bytes | None
    ) -> str:
        """Check one request; returns the operationId.

        Raises:
            AssertionError: it breaks the contract; the text says how.
        """
        operation = self.operation(method, path)
        lowered = {name.lower(): value for name, value in headers.items()}
        authorization = lowered.get("authorization", "")
        assert not operation.needs_key or re.fullmatch(r"Bearer \S+", authorization), (
            f"{operation.name} needs a key, and the request carries none"
        )
        assert not (operation.forbids_key and authorization), (
            f"{operation.name} needs no key, and the request shows it one"
        )
        self._check_query(operation, query)
        self._check_request_body(operation, lowered, body or b"")
        return operation.name

    def _check_query(self, operation: Operation, query: Pairs) -> None:
        pairs = list(cast("Mapping[str, str]", query).items() if isinstance(query, Mapping) else query)
        declared = {each["name"]: each for each in operation.spec.get("parameters", []) if each["in"] == "query"}
        for name, value in pairs:
            where = f"query parameter {name} of {operation.name}"
            assert name in declared, f"{where} is not in the contract"
            assert [given for given, _ in pairs].count(name) == 1, f"{where} is given more than once"
            schema = declared[name]["schema"]
            is_number = schema.get("type") in ("integer", "number") and re.fullmatch(r"-?[0-9]+", value)
            self._validate(int(value) if is_number else value, schema, where)

    def _check_request_body(self, operation: Operation, headers: Mapping[str, str], body: bytes) -> None:
        declared = operation.spec.get("requestBody")
        if declared is None:
            assert not body, f"{operation.name} takes no body, and the request has one"
            return
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        assert media_type in declared["content"], f"{operation.name} does not take {media_type or 'a bare body'}"
        where = f"body sent to {operation.name}"
        value = _parsed(body, where)
        self._validate(value, declared["content"][media_type]["schema"], where)
        self._note_members(operation.name, "request", value)

    def check_response(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """Check one answer; returns the operationId.

        Raises:
            AssertionError: it breaks the contract; the text says how.
        """
        operation = self.operation(method, path)
        part, where = str(status), f"{status} of {operation.name}"
        declared = operation.spec["responses"].get(part)
        assert declared is not None, f"{where} is not in the contract"
        lowered = {name.lower(): value for name, value in headers.items()}
        for name, header in declared.get("headers", {}).items():
            if name.lower() in lowered:
                self._validate(lowered[name.lower()], header["schema"], f"header {name} in {where}")
        media_type = lowered.get("content-type", "").partition(";")[0].strip().lower()
        assert media_type in declared["content"], f"{where} is {media_type or 'untyped'}"
        if media_type == "application/json":
            value = _parsed(body, f"body of {where}")
            self._validate(value, declared["content"][media_type]["schema"], f"body of {where}")
            self._note_members(operation.name, part, value)
        self._note_status(operation.name, part)
        self._check_known_headers(lowered, where)
        self.seen.add(operation.name)
        return operation.name

    def _check_known_headers(self, headers: Mapping[str, str], where: str) -> None:
        for entry in self._entries("header"):
            if entry["name"] in headers:
                self._validate(headers[entry["name"]], entry["schema"], f"header {entry['name']} in {where}")
                self.used.add((entry["id"], entry["name"]))

    @property
    def beyond(self) -> set[tuple[str, str, str]]:
        """Name, method and path of each operation that the sandbox has beyond the contract."""
        return {(entry["operation"], entry["method"], entry["path"]) for entry in self._entries("route")}

    def _entries(self, kind: str) -> list[Json]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    def _note_status(self, operation: str, status: str) -> None:
        for entry in self._entries("status"):
            if entry["status"] == status and operation in entry["operations"]:
                self.used.add((entry["id"], operation))

    def _note_members(self, operation: str, part: str, value: object) -> None:
        for entry in self._entries("member"):
            for place in entry["at"]:
                if (place["operation"], place["part"]) == (operation, part):
                    holders = _reached(value, place["path"])
                    if any(isinstance(holder, dict) and entry["name"] in holder for holder in holders):
                        self.used.add((entry["id"], f"{operation} {part}"))

    def unused(self) -> list[str]:
        """Every single claim of the overlay that nothing checked so far has made use of."""
        claims = [(entry["id"], claim) for entry in self.entries for claim in _claims(entry)]
        return [f"{name}: {claim}" for name, claim in claims if (name, claim) not in self.used]

    def _validate(self, value: Any, schema: Json, where: str) -> None:
        # The published types of jsonschema are incomplete here.
        validator = cast("Any", Draft202012Validator(_json_schema(schema, self.components), format_checker=_FORMATS))
        try:
            validator.validate(value)
        except ValidationError as error:
            place = "".join(f"{step}: " for step in error.absolute_path)
            # Cut short: a schema with many branches explains itself at length.
            raise AssertionError(f"{where}: {place}{error.message[:300]}") from None


def _claims(entry: Json) -> list[str]:
    match entry["kind"]:
        case "status":
            return list(entry["operations"])
        case "member":
            return [f"{place['operation']} {place['part']}" for place in entry["at"]]
        case "header":
            return [entry["name"]]
        case _:
            return []


def _reached(value: object, path: list[str]) -> list[object]:
    """All values at a path in which "*" stands for every item of a list."""
    found = [value]
    for step in path:
        if step == "*":
            found = [item for each in found if isinstance(each, list) for item in cast("list[object]", each)]
        else:
            found = [cast("Json", each)[step] for each in found if isinstance(each, dict) and step in each]
    return found


def _parsed(body: bytes, where: str) -> object:
    def refuse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(body.decode(), parse_constant=refuse_constant)
    except ValueError as error:
        raise AssertionError(f"{where} is not JSON: {error}") from error


def _json_schema(node: Json, components: Json) -> Json:
    """OpenAPI 3.0 as JSON Schema 2020-12: references resolved, nullable and exclusive bounds rewritten."""
    if "$ref" in node:
        return _json_schema(components["schemas"][node["$ref"].rpartition("/")[2]], components)
    schema = {name: value for name, value in node.items() if name not in ("nullable", "default")}
    if "pattern" in schema:
        # "$" also matches before a final newline in Python, and \d matches every script's digits.
        schema["pattern"] = re.sub(r"\$$", r"\\Z", schema["pattern"]).replace(r"\d", "[0-9]")
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.pop(exclusive, False) is True:
            schema[exclusive] = schema.pop(bound)
    if "properties" in schema:
        schema["properties"] = {name: _json_schema(each, components) for name, each in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = _json_schema(schema[name], components)
    if "anyOf" in schema:
        schema["anyOf"] = [_json_schema(each, components) for each in schema["anyOf"]]
    if node.get("nullable"):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema


@functools.cache
def published() -> Contract:
    """The contract shared by everything that only wants to check, not to ask what was covered."""
    return Contract.load()


def check_request(method: str, path: str, query: Pairs, headers: Mapping[str, str], body: bytes | None) -> str:
    return published().check_request(method, path, query, headers, body)


def check_response(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
    return published().check_response(method, path, status, headers, body)

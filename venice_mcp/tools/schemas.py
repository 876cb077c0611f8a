"""The JSON schemas that a client is shown: of a tool's arguments, in one piece, and of its result."""

from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class _Lean(GenerateJsonSchema):
    """Schemas without titles, null defaults, and the null of what is simply left out."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = schema["schema"]
        if schema.get("default", ...) is None and inner["type"] == "nullable":
            return self.generate_inner(cast("core_schema.NullableSchema", inner)["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Shown(_Lean):
    """What a model reads before it calls.

    The arguments' own models check lengths, patterns and bounds and name what is wrong; a description says what a
    caller might run into. Bounds of whole numbers stand here, because they tell how paging goes.
    """

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {"type": "string"}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"type": "number"}

    def list_schema(self, schema: core_schema.ListSchema) -> JsonSchemaValue:
        rendered = super().list_schema(schema)
        return {name: value for name, value in rendered.items() if name not in ("minItems", "maxItems")}


def input_schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """The lean schema of a tool's arguments, in one piece: some clients do not follow references."""
    schema = _untitled(arguments.model_json_schema(schema_generator=_Shown))
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    for part in definitions.values():
        part.pop("description", None)
        part.pop("additionalProperties", None)
    return cast("dict[str, Any]", _inlined(schema, definitions))


def output_schema(result: type[BaseModel]) -> dict[str, Any]:
    """The lean schema of a tool's result; clients check results against it, and no host shows it to a model."""
    return _untitled(result.model_json_schema(schema_generator=_Lean))


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
    return schema


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    members = dict(cast("dict[str, Any]", part))
    reference = members.pop("$ref", None)
    if reference is not None:
        members = {**definitions[reference.rpartition("/")[2]], **members}
    return {name: _inlined(item, definitions) for name, item in members.items()}

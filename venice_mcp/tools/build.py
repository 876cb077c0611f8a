"""From a typed function to a tool: closed arguments, our own error texts, a lean schema, a readable result."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, cast, get_args

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from venice_mcp.app import App, app_of
from venice_mcp.asking import noting_questions
from venice_mcp.client.hurry import answered_within
from venice_mcp.errors import Changed, VeniceError
from venice_mcp.models.results import Result
from venice_mcp.secrets import looks_like_secret, mask_pasted
from venice_mcp.store import actor
from venice_mcp.text import plain, quoted
from venice_mcp.tools.arguments import NOT_TEXT, Arguments, Part
from venice_mcp.tools.fields import PASTED
from venice_mcp.tools.schemas import input_schema, output_schema

NOTHING_SENT = "Nothing was sent to Venice"
ANSWERED_S = 38.0
"""Leaves room below 45 s for finding out what became of the last request."""
SCHEMAS = Path(__file__).with_name("schemas.json")
WITHHELD = "an argument whose name is withheld"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolSpec:
    """A row of the index of tools. The function has the tool's name and its docstring is the description."""

    fn: Callable[..., Awaitable[CallToolResult]]
    arguments: type[Arguments]
    title: str
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True
    open_world: bool = True
    in_time: bool = False
    """Whether a call must answer within `ANSWERED_S`, because it is made again and again until all is done."""

    @property
    def name(self) -> str:
        return self.fn.__name__


def answer(text: str, structured: Result, *more: ContentBlock) -> CallToolResult:
    """A result in both channels, because hosts read one or the other: short text, and the data without nulls.

    `more` are further parts for people, such as a chart.
    """
    return CallToolResult(
        content=[TextContent(type="text", text=text), *more],
        structured_content=structured.model_dump(mode="json", exclude_none=True),
    )


class _ClosedArguments(FuncMetadata):
    """Validates with our own model and reports problems without repeating what was sent."""

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        model = cast("type[Arguments]", self.arg_model)
        try:
            return model.model_validate(_unpacked(arguments_to_validate)).model_dump_one_level()
        except ValidationError as error:
            raise ToolError(_bad_arguments(error, model)) from None


def _unpacked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Objects and lists that a client sent as JSON text, which some do, as what they are. Null is left out."""
    unpacked: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in NOT_TEXT and isinstance(value, str):
            with suppress(ValueError):
                value = from_json(value)
        if value is not None:
            unpacked[name] = value
    return unpacked


def _bad_arguments(error: ValidationError, model: type[Arguments]) -> str:
    """Each problem with the argument's name; the value itself may be a secret and stays out, as do foreign names."""
    lines: list[str] = []
    for item in error.errors(include_url=False, include_input=False)[:5]:
        context = item.get("ctx") or {}
        path = [str(part) for part in item["loc"]] or [str(context.get("argument", "arguments"))]
        if item["type"] == "extra_forbidden":
            lines.append(
                f"unknown argument {_name(path[-1])}; this tool takes: {', '.join(model.model_fields) or 'none'}"
            )
            continue
        place = ".".join(path) if path[0] in model.model_fields else _name(path[0])
        lines.append(f"{place}: {_problem(item, context, model)}")
    return f"{'; '.join(lines)}. {NOTHING_SENT}: correct it and call again."


def _problem(item: ErrorDetails, context: Mapping[str, Any], model: type[Arguments]) -> str:
    """What is wrong, without the names of classes, which mean nothing to a caller."""
    if item["type"] == "argument":
        return str(context["text"])
    if item["type"] == "model_type":
        field = model.model_fields[str(item["loc"][0])]
        return f"give an object such as {_example(field.annotation, str(context['class_name']))}"
    return "give a list, also for one" if item["type"] == "list_type" else item["msg"]


def _example(annotation: Any, name: str) -> str:
    """As JSON, of the argument's type that has this name."""
    if isinstance(annotation, type) and issubclass(annotation, Part) and annotation.__name__ == name:
        return to_json(annotation.EXAMPLE).decode()
    return next((found for each in get_args(annotation) if (found := _example(each, name))), "")


def _name(name: str) -> str:
    return f"'{plain(name, 40)}'" if not looks_like_secret(name) else WITHHELD


class VeniceTool(Tool):
    """A tool whose failures arrive as our own sentences, and which takes no secret this server knows."""

    in_time: bool = False

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        app = app_of(context)
        model = cast("type[Arguments]", self.fn_metadata.arg_model)
        arguments = {
            name: _without_secrets(value, app) if name in model.PASTED_FIELDS else value
            for name, value in arguments.items()
        }
        for name, value in arguments.items():
            # A token or signature is known from the moment it was used, and is sent again on purpose.
            if name not in ("token", "signature") and app.redactor.redact_tree([name, value]) != [name, value]:
                fields = model.model_fields
                instead = "Name the key by last6_chars instead." if "last6_chars" in fields else "Leave it out."
                raise ToolError(f"{name if name in fields else WITHHELD}: {PASTED}. {NOTHING_SENT}. {instead}")
        who = actor.set(_caller(context, app))
        with noting_questions() as asked, answered_within(ANSWERED_S) if self.in_time else nullcontext():
            try:
                return await super().run(arguments, context, convert_result=convert_result)
            except ToolError as error:
                raise ToolError(self._explained(error.__cause__, error)) from None
            except MCPError:
                if not asked:
                    raise
                # A client that says it can ask, but answers with an error: the request waits for the terminal.
                raise ToolError(str(app.guard.unanswered(asked[-1], "the client could not ask a person"))) from None
            finally:
                actor.reset(who)

    def _explained(self, cause: BaseException | None, error: ToolError) -> str:
        if isinstance(cause, VeniceError):
            return str(cause)
        if isinstance(cause, ToolError) and str(cause).startswith("Resolver "):
            unfit = "The answer did not fit the question, so it was not done."
            return f"{unfit} {Changed.NOTHING.value} Call again to ask anew."
        if isinstance(cause, ToolError):
            return str(cause)
        if not isinstance(error, UnexpectedToolError):
            return str(error)
        _log.error("%s failed unexpectedly", self.name, exc_info=cause)
        if self.annotations is None or self.annotations.read_only_hint:
            return f"venice-mcp failed unexpectedly. {Changed.NOTHING.value} Please report it; see the log."
        return (
            f"venice-mcp failed unexpectedly. {Changed.UNKNOWN.value}"
            " Read the keys with venice_list_api_keys before calling again."
        )


def _without_secrets(pasted: Any, app: App) -> str | None:
    """The end of a pasted text, or of what a client made of it, without secrets, before anything else sees it.

    None if there is nothing in it. What is marked as redacted was so here: a mark that came along is no key.
    """
    if pasted in (None, "", [], {}):
        return None
    text = pasted if isinstance(pasted, str) else to_json(pasted, fallback=str).decode(errors="replace")
    safe = mask_pasted(text.replace("[redacted", "[masked"), app.redactor)
    return safe if safe.strip() else None


def _caller(context: Any, app: App) -> str:
    """Who calls, for the audit trail; a client says of itself whatever it likes, so its name stands in quotes."""
    params = context.session.client_params
    info = params.client_info if params is not None else None
    if info is None:
        return f"a client without a name over {app.transport}"
    # Redacted before it is cut: half a secret would not be recognised.
    name, version = (app.redactor.redact(text) for text in (info.name, info.version))
    return f"client {quoted(name, 40)} {plain(version, 20)} over {app.transport}"


def _with_bare_arguments(fn: Callable[..., Awaitable[CallToolResult]]) -> Callable[..., Awaitable[CallToolResult]]:
    """The function as the SDK shall see it: the arguments, whose schema we make ourselves, cost it nothing."""

    @wraps(fn)
    async def seen(*args: Any, **kwargs: Any) -> CallToolResult:
        return await fn(*args, **kwargs)

    signature = inspect.signature(fn, eval_str=True)
    bare = [each.replace(annotation=Any) if each.name == "args" else each for each in signature.parameters.values()]
    seen.__signature__ = signature.replace(parameters=bare)  # pyright: ignore[reportAttributeAccessIssue]
    seen.__annotations__ = {each.name: each.annotation for each in bare} | {"return": signature.return_annotation}
    return seen


def derived(spec: ToolSpec) -> dict[str, Any]:
    """The schemas of a tool's arguments and result, from the code."""
    return {"input": input_schema(spec.arguments), "output": output_schema(_result_of(spec))}


@cache
def _stored() -> dict[str, dict[str, Any]]:
    """The schemas as `scripts/docs.py` wrote them: to derive them took a third of a start-up. A test compares both."""
    found: dict[str, dict[str, Any]] = {}
    with suppress(OSError):  # without the file they are derived
        found = from_json(SCHEMAS.read_bytes())
    return found


@cache
def build(spec: ToolSpec) -> Tool:
    """The SDK's tool for a spec."""
    schemas = _stored().get(spec.name) or derived(spec)
    made = Tool.from_function(
        _with_bare_arguments(spec.fn),
        title=spec.title,
        description=" ".join((spec.fn.__doc__ or "").split()),
        annotations=ToolAnnotations(
            title=spec.title,
            read_only_hint=spec.read_only,
            destructive_hint=spec.destructive,
            idempotent_hint=spec.idempotent,
            open_world_hint=spec.open_world,
        ),
        structured_output=False,
    )
    metadata = _ClosedArguments(
        arg_model=spec.arguments,
        output_schema=schemas["output"],
        output_model=_result_of(spec),
        wrap_output=False,
    )
    return VeniceTool(
        **{name: getattr(made, name) for name in Tool.model_fields if name not in ("fn", "fn_metadata", "parameters")},
        fn=spec.fn,
        fn_metadata=metadata,
        parameters=schemas["input"],
        in_time=spec.in_time,
    )


def _result_of(spec: ToolSpec) -> type[Result]:
    """The model that a tool's result is checked against: what stands beside CallToolResult."""
    returned = inspect.signature(spec.fn, eval_str=True).return_annotation
    return cast("type[Result]", get_args(returned)[1])

"""A minimal `POST /chat/completions`: it computes nothing, and limits and charges as Venice does."""

import math
import secrets
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox import paying
from venice_mcp.sandbox.call import Call, JsonObject, as_list, as_object, read_json
from venice_mcp.sandbox.catalogue import MODELS_BY_ID, Model
from venice_mcp.sandbox.pace import Pace
from venice_mcp.sandbox.refusal import INVALID, Problems, Refusal
from venice_mcp.sandbox.state import Inference, Key, LimitHit

DEFAULT_TOKENS = 64
MAX_TOKENS = 1_000_000
MAX_MODEL_LENGTH = 200
_CHARACTERS_PER_TOKEN = 4
_REPLY = "The sandbox computes nothing. This stands in for an answer."
_TIERS = {"PRIVATE_ONLY": "Private models only", "PRIVATE_TEXT": "Private text models only"}
OVERLOADED = "The model is currently overloaded. Please try again later."
OFFLINE = "The model is temporarily offline. Please try again later."
CAPACITY = "The model is at capacity. Please try again later."
_STATES: dict[str, tuple[int, str, dict[str, str]]] = {
    "offline": (503, OFFLINE, {}),
    "at_capacity": (503, CAPACITY, {}),
    "overloaded": (429, OVERLOADED, {"Retry-After": "30"}),
}


@dataclass(frozen=True)
class Wanted:
    """What a body asks for, in the parts that matter here."""

    model_id: str
    prompt_tokens: int
    max_tokens: int
    tools: bool
    images: bool


def complete(call: Call) -> Response:
    wanted = _read(call)
    model = _model(call, wanted.model_id)
    call.subject.model_id = model.id
    call.subject.headers.update(Pace(call.account, model, call.at).headers())
    _check_privacy(call.key, model)
    _check_state(call, model)
    _check_features(call, model, wanted)
    currency = paying.currency_for(call.account, call.key, call.at)
    _check_pace(call, model)
    inference = Inference(
        request_id=f"chatcmpl-{secrets.token_hex(16)}",
        prompt_tokens=wanted.prompt_tokens,
        completion_tokens=wanted.max_tokens,
        execution_ms=300 + 5 * wanted.max_tokens,
    )
    paying.charge(call.account, call.key, model, call.at, currency, inference)
    call.subject.headers.update(Pace(call.account, model, call.at).headers())
    return JSONResponse(_shape(call, model, wanted, inference))


def _shape(call: Call, model: Model, wanted: Wanted, inference: Inference) -> JsonObject:
    message = {"role": "assistant", "content": _REPLY}
    return {
        "id": inference.request_id,
        "object": "chat.completion",
        "created": int(call.at.timestamp()),
        "model": model.id,
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        "usage": {
            "prompt_tokens": wanted.prompt_tokens,
            "completion_tokens": wanted.max_tokens,
            "total_tokens": wanted.prompt_tokens + wanted.max_tokens,
        },
    }


# --- the body ---------------------------------------------------------------------------------------


def _read(call: Call) -> Wanted:
    """The body, which is open: members unknown here are taken for others' business."""
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "Invalid request content-type")
    try:
        given = as_object(read_json(call.body))
    except ValueError as error:
        raise Refusal(400, INVALID, details={"_errors": ["Malformed JSON"]}) from error
    problems = Problems()
    if given is None:
        problems.add((), "Expected object")
        problems.settle()
        return Wanted("", 0, 0, tools=False, images=False)
    model_id = _model_id(given, problems)
    # Known or not, it is what the log will name if the rest of the body is wrong.
    if model_id:
        call.subject.model_id = model_id if model_id in MODELS_BY_ID else "model:unknown"
    characters, images = _messages(given, problems)
    max_tokens = _max_tokens(given, problems)
    if given.get("stream") not in (None, False):
        problems.add(("stream",), "The sandbox does not stream")
    tools = given.get("tools")
    if tools is not None and as_list(tools) is None:
        problems.add(("tools",), "Expected array")
    problems.settle()
    prompt_tokens = max(1, math.ceil(characters / _CHARACTERS_PER_TOKEN))
    return Wanted(model_id, prompt_tokens, max_tokens, tools=bool(tools), images=images)


def _model_id(given: JsonObject, problems: Problems) -> str:
    model_id = given.get("model")
    if "model" not in given:
        problems.add(("model",), "Required")
    elif not isinstance(model_id, str):
        problems.add(("model",), "Expected string")
    # Shown again in the answer, which could not be written with half a character.
    elif not 0 < len(model_id) <= MAX_MODEL_LENGTH or any("\ud800" <= each <= "\udfff" for each in model_id):
        problems.add(("model",), f"String must contain 1 to {MAX_MODEL_LENGTH} character(s)")
    else:
        return model_id
    return ""


def _messages(given: JsonObject, problems: Problems) -> tuple[int, bool]:
    """The characters of all messages, and whether there are images among them."""
    messages = as_list(given.get("messages"))
    if messages is None:
        problems.add(("messages",), "Expected array" if "messages" in given else "Required")
        return 0, False
    if not messages:
        problems.add(("messages",), "Array must contain at least 1 element(s)")
    characters, images = 0, False
    for index, item in enumerate(messages):
        message = as_object(item)
        if message is None or not isinstance(message.get("role"), str):
            problems.add(("messages", str(index)), "Expected object with a role")
            continue
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else as_list(content) or []
        if content is not None and not isinstance(content, str | list):
            problems.add(("messages", str(index), "content"), "Expected string or array")
        for part in map(as_object, parts):
            text = (part or {}).get("text")
            characters += len(text) if isinstance(text, str) else 0
            images = images or (part or {}).get("type") == "image_url"
    return characters, images


def _max_tokens(given: JsonObject, problems: Problems) -> int:
    found = DEFAULT_TOKENS
    for name in ("max_tokens", "max_completion_tokens"):
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            problems.add((name,), "Expected integer")
        elif not 1 <= value <= MAX_TOKENS:
            problems.add((name,), f"Number must be between 1 and {MAX_TOKENS}")
        else:
            found = value
    return found


# --- what stands in the way -------------------------------------------------------------------------


def _model(call: Call, model_id: str) -> Model:
    model = MODELS_BY_ID.get(model_id)
    if model is None:
        raise Refusal(404, f"Specified model not found: {model_id}")
    if model.type != "text":
        raise Refusal(400, "Invalid model specified")
    return model


def _check_privacy(key: Key, model: Model) -> None:
    tier = _TIERS.get(key.model_privacy)
    if tier and model.privacy != "private":
        raise Refusal(
            403,
            f"This API key is set to '{tier}', but `{model.id}` is an Anonymous model. Choose a Private, TEE,"
            " or E2EE model, or change the model privacy setting of this API key.",
        )


def _check_state(call: Call, model: Model) -> None:
    state = call.account.conditions.models.get(model.id)
    if state is not None:
        status, text, headers = _STATES[state]
        raise Refusal(status, text, headers=headers)


def _check_features(call: Call, model: Model, wanted: Wanted) -> None:
    asked = {"tools": (wanted.tools, "supportsFunctionCalling"), "image_url": (wanted.images, "supportsVision")}
    for feature, (is_asked, capability) in asked.items():
        if is_asked and not model.can(capability):
            if call.limiter.unsupported(call.key.id, call.at):
                call.account.log(LimitHit(call.key.id, model.id, "UNSUPPORTED_FEATURE_REQUESTS", call.at))
            raise Refusal(400, f"{feature} is not supported by this model", counts=False)


def _check_pace(call: Call, model: Model) -> None:
    reached = Pace(call.account, model, call.at).reached
    if reached is not None and call.limiter.on:
        call.account.log(LimitHit(call.key.id, model.id, reached.kind, call.at))
        raise Refusal(429, "Rate limit exceeded")

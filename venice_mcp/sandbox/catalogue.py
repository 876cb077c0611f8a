"""The models on offer: a small choice with one or more of every type and privacy tier."""

from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response

from venice_mcp.sandbox.call import Call, JsonObject
from venice_mcp.sandbox.refusal import invalid

_CREATED = 1_768_000_000


@dataclass(frozen=True)
class Model:
    id: str
    name: str
    type: str
    # Price in USD of one unit of each part of a call; DIEM prices are the same numbers.
    prices: dict[str, float]
    privacy: str = "private"
    spec: JsonObject = field(default_factory=dict[str, object])
    capabilities: JsonObject = field(default_factory=dict[str, object])

    def can(self, capability: str) -> bool:
        return bool((_NO_CAPABILITIES | self.capabilities)[capability])

    def shape(self, *, offline: bool) -> JsonObject:
        spec: JsonObject = {"name": self.name, "privacy": self.privacy, "offline": offline, **self.spec}
        spec["pricing"] = self._pricing()
        if self.type == "text":
            spec["capabilities"] = _NO_CAPABILITIES | self.capabilities
        return {
            "id": self.id,
            "object": "model",
            "owned_by": "venice.ai",
            "created": _CREATED,
            "type": self.type,
            "model_spec": spec,
        }

    def _pricing(self) -> JsonObject:
        prices: JsonObject = {part: {"usd": usd, "diem": usd} for part, usd in self.prices.items()}
        return {"upscale": prices} if self.type == "upscale" else prices


_NO_CAPABILITIES: JsonObject = {
    "optimizedForCode": False,
    "quantization": "fp8",
    "supportsFunctionCalling": True,
    "supportsAudioInput": False,
    "supportsReasoning": False,
    "supportsReasoningEffort": False,
    "supportsResponseSchema": True,
    "supportsMultipleImages": False,
    "supportsVision": False,
    "supportsVideoInput": False,
    "supportsWebSearch": True,
    "supportsLogProbs": False,
    "supportsTeeAttestation": False,
    "supportsE2EE": False,
    "supportsXSearch": False,
}
_LONG: JsonObject = {"availableContextTokens": 200_000, "maxCompletionTokens": 32_768}
_ENCLAVE: JsonObject = {"supportsTeeAttestation": True, "supportsE2EE": True}

MODELS: tuple[Model, ...] = (
    Model(
        "zai-org-glm-5-1",
        "GLM 5.1",
        "text",
        {"input": 0.7, "output": 2.8},
        spec={**_LONG, "traits": ["default"]},
        capabilities={"supportsReasoning": True},
    ),
    Model(
        "kimi-k2-6",
        "Kimi K2.6",
        "text",
        {"input": 0.75, "output": 3.2},
        spec=_LONG,
        capabilities={"supportsVision": True},
    ),
    Model(
        "llama-3.2-3b",
        "Llama 3.2 3B",
        "text",
        {"input": 0.15, "output": 0.6},
        spec={"traits": ["fastest"]},
        capabilities={"supportsFunctionCalling": False},
    ),
    Model(
        "qwen3-coder-480b",
        "Qwen 3 Coder 480B",
        "text",
        {"input": 0.75, "output": 3.0},
        spec={"traits": ["default_code"]},
        capabilities={"optimizedForCode": True},
    ),
    Model(
        "e2ee-gpt-oss-120b",
        "GPT OSS 120B (E2EE)",
        "text",
        {"input": 0.13, "output": 0.65},
        capabilities=_ENCLAVE,
    ),
    Model(
        "gemini-3-6-flash",
        "Gemini 3.6 Flash",
        "text",
        {"input": 0.5, "output": 3.0},
        "anonymized",
        {"beta": True},
    ),
    Model(
        "text-embedding-bge-m3",
        "BGE-M3",
        "embedding",
        {"input": 0.15, "output": 0.6},
        spec={"embeddingDimensions": 1024},
    ),
    Model("grok-imagine-image", "Grok Imagine", "image", {"generation": 0.1}, "anonymized"),
    Model("venice-sd35", "Venice SD35", "image", {"generation": 0.01}),
    Model("qwen-edit", "Qwen Edit", "inpaint", {"inpaint": 0.04}),
    Model("upscaler", "Upscaler", "upscale", {"2x": 0.02, "4x": 0.08}),
    Model(
        "tts-kokoro",
        "Kokoro",
        "tts",
        {"input": 3.5},
        spec={"voices": ["af_sky", "am_adam"], "default_voice": "af_sky"},
    ),
    Model("parakeet-tdt", "Parakeet TDT", "asr", {"per_audio_second": 0.0001}),
    Model("wan-2-6-text-to-video", "Wan 2.6", "video", {"generation": 0.55}, "anonymized"),
    Model("ace-step-music", "ACE-Step", "music", {"generation": 0.03}),
)
MODELS_BY_ID = {model.id: model for model in MODELS}
_TYPES = ("asr", "embedding", "image", "music", "text", "tts", "upscale", "inpaint", "video", "all", "code")


def list_models(call: Call) -> Response:
    # Venice does not state what is listed when no type is asked for.
    wanted = call.parameter_or("type", "text")
    if wanted not in _TYPES:
        raise invalid({"type": [f"Invalid enum value. Expected {' | '.join(map(repr, _TYPES))}"]})
    states = call.account.conditions.models
    shown = [model for model in MODELS if _is_wanted(model, wanted)]
    data = [model.shape(offline=states.get(model.id) == "offline") for model in shown]
    return JSONResponse({"object": "list", "type": wanted, "data": data})


def _is_wanted(model: Model, wanted: str) -> bool:
    if wanted == "code":
        return bool(model.capabilities.get("optimizedForCode"))
    return wanted in ("all", model.type)

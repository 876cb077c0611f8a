"""Causes that lie in the model: unknown, offline, or outside the key's privacy tier."""

from collections.abc import Iterator

from venice_mcp.diagnosis.causes import KNOWN, Cause, Remedy, model_name
from venice_mcp.diagnosis.evidence import Evidence
from venice_mcp.models.wire import Key, Model
from venice_mcp.text import plain

_NAMED = 3
_TEXT_TYPES = ("text", "embedding")


def offers(evidence: Evidence) -> Iterator[Cause]:
    """What the list of models says about the one in question."""
    if evidence.model is None or not evidence.models:
        return
    name, found = model_name(evidence.model), evidence.offered
    if found is None:
        alike = [model_name(each.id) for each in evidence.models if _alike(each.id, evidence.model_id)][:_NAMED]
        instead = f"Perhaps {' or '.join(alike)} is meant." if alike else KNOWN["model_unknown"].remedy
        sentence = f"Venice lists no model {name}; only a trait (such as default) or a compatibility name would do"
        ends = KNOWN["model_unknown"].ends
        yield Cause("model_unknown", sentence, Remedy(instead), sure="likely", ends=ends)
        return
    if found.model_spec.offline:
        remedy = Remedy(f"{KNOWN['model_offline'].remedy} {_others(evidence, found)}".strip())
        yield Cause("model_offline", f"The model {name} is offline", remedy, ends=KNOWN["model_offline"].ends)
    key = evidence.key
    if key is not None and forbids(key.model_privacy, found):
        yield _outside(evidence, key, found)


def forbids(privacy: str, model: Model) -> bool:
    """Whether a key of this tier may not call the model. Private covers TEE and E2EE models as well."""
    if model.model_spec.privacy != "anonymized":
        return False
    return privacy == "PRIVATE_ONLY" or (privacy == "PRIVATE_TEXT" and model.type in _TEXT_TYPES)


def _outside(evidence: Evidence, key: Key, model: Model) -> Cause:
    sentence = (
        f"The {evidence.subject.name(key)} may only call private models ({plain(key.model_privacy, 20)}),"
        f" and {model_name(model.id)} is {plain(model.model_spec.privacy, 20)}"
    )
    return Cause(
        "model_privacy",
        sentence,
        Remedy(
            f"Use a private model. {_others(evidence, model)} Or widen the key's privacy",
            "venice_update_api_key",
            {"key_id": key.id, "model_privacy": "ALL"},
            "prompts then go to other companies: ask first",
        ),
        numbers={"model_privacy": plain(key.model_privacy, 20), "model": plain(model.model_spec.privacy, 20)},
        ends=KNOWN["model_privacy"].ends,
    )


def _others(evidence: Evidence, model: Model) -> str:
    """Models of the same type that the key may call now."""
    privacy = evidence.key.model_privacy if evidence.key is not None else "ALL"
    usable = [
        model_name(each.id)
        for each in evidence.models or []
        if each.type == model.type
        and each.id != model.id
        and not each.model_spec.offline
        and not forbids(privacy, each)
    ]
    return f"Others of its type: {', '.join(usable[:_NAMED])}." if usable else ""


def _alike(one: str, other: str) -> bool:
    """Equal but for case and punctuation, or one the beginning of the other."""
    first, second = ("".join(filter(str.isalnum, each.casefold())) for each in (one, other))
    return bool(second) and (first.startswith(second) or second.startswith(first))

"""Looking for secrets in what a server wrote."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path

KEY = re.compile(r"VENICE_(?:INFERENCE|ADMIN)_KEY_[A-Za-z0-9_-]{12,}")
_PIECE = 12


def key_shapes(text: str) -> set[str]:
    """Everything in a text that has the shape of a Venice key."""
    return set(KEY.findall(text))


def finds(secret: str, text: str) -> bool:
    """Whether the secret, or any 12 characters of its random part, stand in a text; also as base64 or hex."""
    body = secret.rsplit("_", 1)[-1]
    pieces = [body[at : at + _PIECE] for at in range(len(body) - _PIECE + 1)]
    raw = secret.encode()
    # The first and last characters of base64 depend on what stands around it.
    encoded = [base64.b64encode(raw[at:]).decode().rstrip("=")[4:-4] for at in range(3)]
    return any(piece in text for piece in [*pieces, *encoded, raw.hex()])


def files_with(files: Iterable[Path], secrets: Iterable[str]) -> list[Path]:
    """The files in which one of the secrets, or anything of a key's shape, is found."""
    wanted = list(secrets)
    found: list[Path] = []
    for path in files:
        text = path.read_bytes().decode("latin-1")
        if key_shapes(text) or any(finds(secret, text) for secret in wanted):
            found.append(path)
    return found

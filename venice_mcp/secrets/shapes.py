"""What a secret looks like to someone who was never told about it."""

import re
from collections.abc import Iterator
from typing import Final

from venice_mcp.secrets.folding import drop_invisible

KEY_SHAPE: Final[re.Pattern[str]] = re.compile(r"VENICE_(?:INFERENCE|ADMIN)_KEY_[A-Za-z0-9_-]{12,}")
KEY_PREFIXES: Final = ("VENICE_INFERENCE_KEY_", "VENICE_ADMIN_KEY_")

_WORD = r"[A-Za-z0-9_-]"
# Starting only where a run starts, and never backtracking into one, keeps the search linear.
_THREE_PARTS: Final = re.compile(rf"(?<!{_WORD})({_WORD}++)\.eyJ{_WORD}++\.{_WORD}*+")
HEX_SECRET: Final = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}|[0-9A-Fa-f]{130})(?![0-9A-Fa-f])")
PUBLIC: Final = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?<![A-Za-z0-9])0x[0-9A-Fa-f]{40}(?![A-Za-z0-9])"
)
LONG_RUN: Final = re.compile(rf"{_WORD}{{32,}}")
# The parts of "Production-GitHubActions-Web2-EU-2026-01-31T1200": names and numbers, not noise.
_PLAIN_PART: Final = re.compile(
    r"[A-Z]{0,12}(?:[a-z]{2,16}(?:[A-Z]{1,3}[a-z]{2,16}){0,3}|[a-z]?)[0-9]{0,8}"
    r"|[0-9]{1,10}[A-Za-z]{0,2}|[0-9]{2,8}T[0-9]{2,6}Z?"
)
_SEPARATORS: Final = re.compile("[-_./+=:]")
# As in qwen3-235b-a22b-instruct-2507.
_SHORT_PART: Final = re.compile("[a-z0-9]{2,5}")
# However many: WhatSomeExceptionsAreCalledElsewhereError.
_WORDS: Final = re.compile("[a-z]{0,16}(?:[A-Z]{1,6}[a-z]{2,16})*[A-Z]{0,12}[0-9]{0,4}")
_NAME_PART: Final = re.compile("[A-Za-z]{3,16}[0-9]{0,2}")


def jwt_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where `text` holds JSON Web Tokens; their header and payload are JSON objects, so begin with eyJ."""
    at = 0
    while match := _THREE_PARTS.search(text, at):
        header = text.find("eyJ", match.start(), match.end(1))
        if header < 0:
            at = match.end(1)
        else:
            yield header, match.end()
            at = match.end()


def is_noise(run: str) -> bool:
    """Whether a long run of key characters is what a random generator makes: surely, so with all kinds of them."""
    mixed = any(c.islower() for c in run) and any(c.isupper() for c in run) and any(c.isdigit() for c in run)
    return mixed and not all(_PLAIN_PART.fullmatch(part) for part in re.split("[-_]", run))


def is_unreadable(run: str) -> bool:
    """Whether a run may be noise, also in one case of letters or in standard base64: no words, dates or model ids."""
    letters, digits = any(c.isalpha() for c in run), any(c.isdigit() for c in run)
    if not letters or not (digits or (any(c.islower() for c in run) and any(c.isupper() for c in run))):
        return False
    parts = _SEPARATORS.split(run)
    odd = [part for part in parts if not (_PLAIN_PART.fullmatch(part) or _WORDS.fullmatch(part))]
    names = sum(1 for part in parts if _NAME_PART.fullmatch(part))
    return len(odd) >= max(names, 1) or not all(_SHORT_PART.fullmatch(part) for part in odd)


def looks_like_secret(text: str) -> bool:
    """Whether `text`, which a person typed, seems to hold a key, a wallet key, a signature or a token."""
    text = drop_invisible(text)
    if KEY_SHAPE.search(text) or HEX_SECRET.search(text) or next(jwt_spans(text), None):
        return True
    return any(is_noise(run) for run in LONG_RUN.findall(PUBLIC.sub(" ", text)))

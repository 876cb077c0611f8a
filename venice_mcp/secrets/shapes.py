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
_HEX_SECRET: Final = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}|[0-9A-Fa-f]{130})(?![0-9A-Fa-f])")
_PUBLIC: Final = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?<![A-Za-z0-9])0x[0-9A-Fa-f]{40}(?![A-Za-z0-9])"
)
_LONG_RUN: Final = re.compile(rf"{_WORD}{{32,}}")
# The parts of "Production-GitHubActions-Web2-EU-2026-01-31T1200": names and numbers, not noise.
_PLAIN_PART: Final = re.compile(
    r"[A-Z]{0,12}(?:[a-z]{2,16}(?:[A-Z]{1,3}[a-z]{2,16}){0,3}|[a-z]?)[0-9]{0,8}"
    r"|[0-9]{1,10}[A-Za-z]{0,2}|[0-9]{2,8}T[0-9]{2,6}Z?"
)
# What stands behind the name of a credential in headers, program text and addresses, however it looks.
_CREDENTIAL: Final = re.compile(
    r"""(?ix)
    ( \b(?: (?:proxy-)?authorization | x-api-key | api[_\ -]?key | access[_-]?token | sign-in-with-x | cookie )
      ["']{0,2} \s{0,4} [:=] \s{0,4} ["']? (?: (?:bearer|basic) \s{1,4} )?
    | \b bearer \s{1,4}
    | [?&] (?:key|token) =
    )
    (?!\[redacted) [^\s"',;&}\])]{4,}""",
)


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


def _is_noise(run: str) -> bool:
    mixed = any(c.islower() for c in run) and any(c.isupper() for c in run) and any(c.isdigit() for c in run)
    return mixed and not all(_PLAIN_PART.fullmatch(part) for part in re.split("[-_]", run))


def mask_pasted(text: str) -> str:
    """What a person pasted, without anything that may be a secret nobody told us of: credentials by their names (older
    keys have no prefix), and long runs of noise. Key ids and wallet addresses stay.
    """
    text = _CREDENTIAL.sub(r"\1[redacted]", drop_invisible(text))
    text = _HEX_SECRET.sub("[redacted]", text)
    public = [match.span() for match in _PUBLIC.finditer(text)]

    def masked(run: re.Match[str]) -> str:
        inside = any(start < run.end() and run.start() < end for start, end in public)
        return "[redacted]" if not inside and _is_noise(run[0]) else run[0]

    return _LONG_RUN.sub(masked, text)


def looks_like_secret(text: str) -> bool:
    """Whether `text`, which a person typed, seems to hold a key, a wallet key, a signature or a token."""
    text = drop_invisible(text)
    if KEY_SHAPE.search(text) or _HEX_SECRET.search(text) or next(jwt_spans(text), None):
        return True
    return any(_is_noise(run) for run in _LONG_RUN.findall(_PUBLIC.sub(" ", text)))

"""Where bytes hold a key: prefixed, beside a name that speaks of one, plain, escaped, URL-encoded or in base64.

What is found is reduced at once to its last six characters and a digest that means nothing outside of one scan.
Every pattern is bounded and tried only where an anchor stands, so that no content can make a search slow.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

from venice_mcp.leaks.placeholders import could_be_body, could_be_key, could_be_wallet
from venice_mcp.secrets.shapes import KEY_PREFIXES, KEY_SHAPE
from venice_mcp.secrets.types import Secret

Kind = Literal["ADMIN", "INFERENCE", "unprefixed", "wallet"]

REACH: Final = 4096
"""More than any pattern spans, in bytes."""

SHORTEST_BODY: Final = 20
"""Shorter ones were cut off. Bodies of 42 to 44 characters were seen; no length is promised."""

_SHORTEST_UNPREFIXED: Final = 24

# An escape of an escape, as a log of a URL in a URL holds it.
_PERCENT: Final = rb"%(?:25){0,2}"
_LINE: Final = rb"(?:_|" + _PERCENT + rb"5[Ff])"
_BODY: Final = rb"(?:[A-Za-z0-9_-]|" + _PERCENT + rb"(?:5[Ff]|2[Dd]))"
_PREFIXED: Final = re.compile(
    rb"VENICE%s(?:INFERENCE|ADMIN)%sKEY%s%s{12,256}+(?![A-Za-z0-9_-])" % (*[_LINE] * 3, _BODY)
)

# What stands between a name and its value in any of the usual notations, among it type annotations, defaults of a
# lookup, `value:` of a manifest, quotes however escaped. Escapes come first: a backslash alone fits too.
_WORDS_BETWEEN: Final = (
    rb"values?|str|string|or|final|optional|none|null|get|default|bearer|secretstr|const|char|hex|bytes32"
)
_BETWEEN: Final = (
    rb"(?:\\u00[0-7][0-9A-Fa-f]|\\[nrt](?=[\s\"'\\])|&(?:quot|apos|gt|lt|#34|#39|#x22|#x27);|"
    rb"%s[0-7][0-9A-Fa-f]|[\s\"'`:=,()\[\]{}<>|?&*\\+-]|(?:%s)(?![A-Za-z0-9_-])){1,40}+" % (_PERCENT, _WORDS_BETWEEN)
)
_VALUE: Final = (
    rb"(?P<value>(?:[A-Za-z0-9_+/-]|" + _PERCENT + rb"(?:5[Ff]|2[BDFbdf])){20,400}+)(?P<padding>(?:=|%3[Dd]){0,2})"
    rb"(?![A-Za-z0-9_+/(\[{$-]|\.[A-Za-z0-9_])"
)
# `venice: {api_key: ...}` as well as VENICE_API_KEY, veniceApiKey and venice-api-key.
_NAMED: Final = re.compile(
    rb"(?P<name>venice[a-z0-9_.-]{0,60}(?:[\s\"'\\:={]{1,12}(?:api[_-]?)?(?:key|token|secret))?)(?P<between>"
    + _BETWEEN
    + rb")"
    + _VALUE,
    re.IGNORECASE,
)
_NAME_RUN: Final = re.compile(rb"[a-z0-9_.-]*+")
_LONGEST_RUN: Final = 128
_SPEAKS_OF_A_KEY: Final = re.compile(rb"key|token|secret|bearer|credential|auth|wallet")
# VENICE_API_KEY_ID and the like hold something about a key.
_ABOUT_A_KEY: Final = re.compile(
    rb"(?:id|ids|hash|sha|sha1|sha256|digest|fingerprint|checksum|file|path|dir|url|uri|name|type|prefix|last6|address)"
    rb"[0-9]{0,2}$"
)
# One pattern for each word that a name begins with, because a literal beginning is what makes a search quick.
_WALLET_NAMES: Final = {
    b"priv": rb"priv(?:ate)?[_. -]?key",
    b"wallet": rb"wallet(?:[a-z_. -]{0,20}(?:key|secret)|(?=\())",
    b"deployer": rb"deployer[a-z_. -]{0,20}key",
    b"signer": rb"signer[a-z_. -]{0,20}key",
}
_WALLET_ANCHORS: Final = {anchor: re.compile(name) for anchor, name in _WALLET_NAMES.items()}
_WALLET: Final = re.compile(
    rb"(?P<name>(?:%s)[a-z0-9_]{0,16})(?P<between>%s)(?P<value>(?:0x)?[0-9a-f]{64})(?![0-9a-z_])"
    % (rb"|".join(_WALLET_NAMES.values()), _BETWEEN),
    re.IGNORECASE,
)
_EMPTY: Final = re.compile(rb"\"\"|''|\\\"\\\"")
_QUOTED_VALUE: Final = re.compile(rb"value|[\"'`][^\n]{0,8}$", re.IGNORECASE)
_RUN: Final = re.compile(r"(?:0[xX])?[A-Za-z0-9_-]{20,}")
_VENICE: Final = b"venice"


class Hit(NamedTuple):
    """A found key without its text.

    Attributes:
        start: offset of the first byte of what was recognised; the value's own if it stands beside a name.
        also: another last six, if the last characters might belong to the text around the key.
        digest: equal for equal secrets within one scan, useless outside of it.
        sandbox: of the shape that this project's sandbox makes, which opens nothing.
    """

    start: int
    kind: Kind
    last6: str
    also: str
    digest: str
    sandbox: bool


def is_suspicious(lowered: bytes) -> bool:
    """Whether it is worth looking closer; cheap, because most files end here."""
    return _VENICE in lowered or any(
        anchor in lowered and name.search(lowered) for anchor, name in _WALLET_ANCHORS.items()
    )


def hits(data: bytes, lowered: bytes, salt: bytes) -> Iterator[Hit]:
    """Every key in `data`, in no particular order. `lowered` is `data.lower()`."""
    run_ends = 0
    for at in _places(lowered, _VENICE):
        if match := _PREFIXED.match(data, at):
            if hit := _prefixed(match.start(), _text(match[0]), salt):
                yield hit
            continue
        if at >= run_ends and (run := _NAME_RUN.match(lowered, at)):
            run_ends = run.end()
        # No name and value are so long without a break, and trying each "venice" in such a run would take its time.
        if run_ends - at > _LONGEST_RUN:
            continue
        if (match := _NAMED.match(data, at)) and _is_assignment(match) and (hit := _unprefixed(match, salt)):
            yield hit
    for name in _WALLET_ANCHORS.values():
        for named in name.finditer(lowered):
            match = _WALLET.match(data, named.start())
            if match and _is_assignment(match) and could_be_wallet(match["value"][-64:].decode()):
                yield _hit(match.start("value"), "wallet", match["value"][-64:].decode().lower(), salt)


def _places(lowered: bytes, anchor: bytes) -> Iterator[int]:
    at = lowered.find(anchor)
    while at >= 0:
        yield at
        at = lowered.find(anchor, at + 1)


def _text(value: bytes) -> str:
    text = value.decode("ascii")
    for _ in range(3):
        text = unquote(text)
    return text


def _prefixed(start: int, text: str, salt: bytes) -> Hit | None:
    if not KEY_SHAPE.fullmatch(text):
        return None
    _, kind, _, body = text.split("_", 3)
    sandbox = body.startswith("SANDBOX_")
    body = body.removeprefix("SANDBOX_")
    if len(body) < SHORTEST_BODY or not could_be_body(body):
        return None
    return _hit(start, "ADMIN" if kind == "ADMIN" else "INFERENCE", text, salt, sandbox=sandbox)


def _is_assignment(match: re.Match[bytes]) -> bool:
    """Whether the value belongs to the name: not to the next line's, and not to a name that only begins alike."""
    name, between = match["name"].lower(), match["between"]
    if not _SPEAKS_OF_A_KEY.search(name) or _ABOUT_A_KEY.search(name):
        return False
    if _EMPTY.search(between):
        return False
    return b"\n" not in between or _QUOTED_VALUE.search(between) is not None


def _unprefixed(match: re.Match[bytes], salt: bytes) -> Hit | None:
    text, start, name = _text(match["value"]), match.start("value"), match["name"].lower()
    if text.startswith(KEY_PREFIXES) or b"wallet" in name or b"priv" in name:
        return None  # found by its prefix, or as a wallet key
    if inner := _decoded(text):
        if KEY_SHAPE.fullmatch(inner):
            return _prefixed(start, inner, salt)
        text = inner
    if len(text) < _SHORTEST_UNPREFIXED or "+" in text or "/" in text or not could_be_key(text):
        return None
    return _hit(start, "unprefixed", text, salt)


def _decoded(text: str) -> str | None:
    """The key that base64 in a Kubernetes Secret stands for. A random key never decodes to anything readable."""
    try:
        inner = base64.b64decode(text + "=" * (-len(text) % 4), b"-_" if "-" in text or "_" in text else None)
        readable = inner.decode("ascii").strip()
    except (binascii.Error, ValueError):
        return None
    return readable if len(readable) >= SHORTEST_BODY and _RUN.fullmatch(readable) else None


def _hit(start: int, kind: Kind, text: str, salt: bytes, *, sandbox: bool = False) -> Hit:
    last6 = Secret(text).last6
    also = Secret(text.rstrip("-_")).last6 if last6 else ""
    return Hit(start, kind, last6, also if also != last6 else "", digest(text, salt), sandbox)


def digest(text: str, salt: bytes) -> str:
    """Equal for equal texts under one salt, which is thrown away with the scan."""
    return blake2b(text.encode(), key=salt, digest_size=12).hexdigest()


def masked(path: str, found: set[str], salt: bytes) -> str:
    """`path` without keys: those that show by their prefix, and those whose digest was found."""

    def mask(run: re.Match[str]) -> str:
        bare = run[0].lower().removeprefix("0x")
        known = digest(run[0], salt) in found or digest(bare, salt) in found
        return "(key)" if known else run[0]

    return _RUN.sub(mask, KEY_SHAPE.sub("(key)", path))

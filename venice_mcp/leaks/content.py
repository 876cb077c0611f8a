"""Keys in a stream of bytes of any length, in flat memory: with the line each stands on."""

import codecs
from collections.abc import Callable
from typing import Final

from venice_mcp.leaks.patterns import REACH, Hit, hits, is_suspicious

CHUNK: Final = 256 * 1024
_LOOK_AT: Final = 8192
_BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Read = Callable[[int], bytes]
"""At most so many bytes; none at the end."""
Found = Callable[[Hit, int], None]
"""A key and its line, counted from 1."""


def is_binary(beginning: bytes) -> bool:
    """Whether a file that begins like this holds no text. UTF-16 is text, as Windows shells write it."""
    return b"\0" in beginning[:_LOOK_AT] and not beginning.startswith(_BYTE_ORDER_MARKS)


def search(beginning: bytes, read: Read, found: Found, salt: bytes) -> int:
    """Look through `beginning` and whatever `read` gives after it; how many bytes that were.

    A window slides over the text: a match that starts in its last `REACH` bytes is left to the next window, which
    begins so far before that no name is cut off.
    """
    decode = _decoder(beginning)
    total, line, behind = len(beginning), 1, 0
    window = decode(beginning, False)
    while True:
        more = read(CHUNK)
        total += len(more)
        end = len(window) - REACH if more else len(window)
        lowered = window.lower()
        if is_suspicious(lowered):
            at, counted = 0, line
            for hit in _in_order(window, lowered, behind, end, salt):
                counted += window.count(b"\n", at, hit.start)
                at = hit.start
                found(hit, counted)
        if not more:
            return total
        handled = max(end, behind)
        kept = max(0, handled - REACH)
        line += window.count(b"\n", 0, kept)
        behind = handled - kept
        window = window[kept:] + decode(more, False)


def _in_order(window: bytes, lowered: bytes, start: int, end: int, salt: bytes) -> list[Hit]:
    """Each place once, though several names may lead to it."""
    unique = {hit.start: hit for hit in hits(window, lowered, salt) if start <= hit.start < end}
    return [unique[at] for at in sorted(unique)]


def _decoder(beginning: bytes) -> Callable[[bytes, bool], bytes]:
    if not beginning.startswith(_BYTE_ORDER_MARKS):
        return lambda data, final: data
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    return lambda data, final: decoder.decode(data, final).encode("utf-8", "replace")

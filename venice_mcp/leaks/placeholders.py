"""Whether a value could be a real key, or is what documentation writes in its place."""

import re
from itertools import pairwise
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_STANDS_FOR: Final = re.compile(
    r"example|placeholder|change.?me|redacted|replace.?(?:me|this|with)|insert.?your|your.?(?:key|api|venice|token|own)"
    r"|not.?a.?(?:real|key)|dummy.?key|sample.?key|fake.?key|xxxx|\*\*\*|goes.?here|key.?here|venice|private.?key|deadbeef|0123456789abcdef",
    re.IGNORECASE,
)
_ITS_PARTS: Final = frozenset(
    [
        "your",
        "here",
        "example",
        "placeholder",
        "dummy",
        "sample",
        "fake",
        "todo",
        "xxx",
        "paste",
        "goes",
        "insert",
        "replace",
    ]
)
_WORD: Final = re.compile(r"[A-Z]{1,16}|[A-Z]?[a-z]{1,16}(?:[A-Z][a-z]{1,16}){0,5}|[0-9]{1,4}|")
_SEPARATOR: Final = re.compile(r"[-_]")
_FEWEST_KINDS: Final = 8
_FEWEST_HEX_DIGITS: Final = 6
_LONGEST_PERIOD: Final = 4

# secp256k1: a private key lies between 0 and this.
_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
# The accounts that Hardhat, Anvil and Ganache start with: printed in their documents, drained by bots.
_PUBLIC_WALLETS: Final = frozenset(
    {
        0xAC0974BEC39A17E36BA4A6B4D238FF944BACB478CBED5EFCAE784D7BF4F2FF80,
        0x59C6995E998F97A5A0044966F0945389DC9E86DAE88C7A8412F4603B6B78690D,
        0x5DE4111AFA1A4B94908F83103EB1F1706367C2E68CA870FC3FB9A804CDAB365A,
        0x4F3EDF983AC636A65A842CE7C78D9AA706D3B113BCE9C46F30D7D21715B23B1D,
    }
)


def could_be_body(body: str) -> bool:
    """Whether what follows the prefix of a key could be a real one's."""
    return len(set(body)) >= _FEWEST_KINDS and not _stands_for_something(body)


def could_be_key(value: str) -> bool:
    """Whether a value without a prefix, found beside the name of a Venice key, could be one.

    Keys are noise: what is made of words, or a UUID, is not one. Of 1,500 random keys one has no digit.
    """
    return any(char.isdigit() for char in value) and could_be_body(value) and not _UUID.fullmatch(value)


def could_be_wallet(digits: str) -> bool:
    """Whether 64 hexadecimal digits could be somebody's private key."""
    number = int(digits, 16)
    if not 0 < number < _CURVE_ORDER or number in _PUBLIC_WALLETS:
        return False
    return len(set(digits.lower())) >= _FEWEST_HEX_DIGITS and not _stands_for_something(digits.lower())


def _stands_for_something(value: str) -> bool:
    parts = _SEPARATOR.split(value)
    if _STANDS_FOR.search(value) or any(part.lower() in _ITS_PARTS for part in parts):
        return True
    if all(_WORD.fullmatch(part) for part in parts):
        return True
    return _counts_up(value) or _repeats(value)


def _counts_up(value: str) -> bool:
    """abcdef123456 and aaaabbbb: most characters are the one before, or its successor."""
    steps = sum(ord(after) - ord(before) in (0, 1) for before, after in pairwise(value))
    return steps * 2 > len(value)


def _repeats(value: str) -> bool:
    return any(value == (value[:period] * len(value))[: len(value)] for period in range(1, _LONGEST_PERIOD + 1))

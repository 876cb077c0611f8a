"""No encoding or split brings a secret past the redactor, and nothing else is touched."""

import base64
import binascii
import json
import re
import string
import threading
import time
import urllib.parse
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from venice_mcp.secrets import KEY_SHAPE, Redactor, Secret

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"
MARKER = "[redacted ...2V2jNW]"
UNKNOWN_KEY = "VENICE_INFERENCE_KEY_neverRegistered0001YYYY"
WALLET_KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_"
INNOCENT = [
    "550e8400-e29b-41d4-a716-446655440000",
    "2V2jNW",
    "...2V2jNW",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "2026-01-31T12:00:00.000Z",
    "zai-org-glm-5-1",
    "VENICE_ADMIN_KEY_FILE",
    "VENICE_INFERENCE_KEY",
    "customer-production-environment-primary-eu-west-1",
    MARKER,
    "[redacted]",
    "[redacted wallet key]",
    "100% of C:\\new\\users \\u00e9 %41 eyJ.eyJ VENICE_",
]


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(Secret(value))
    return redactor


def strip(text: str) -> str:
    return re.sub(r"[\s\u200b-\u200f\u2060\ufeff\xad\x00-\x1f\\]+", "", text)


def body_of(secret: str) -> str:
    return secret.removeprefix("VENICE_ADMIN_KEY_") if KEY_SHAPE.fullmatch(secret) else secret


def decode(text: str) -> str:
    """Written apart from the project's own decoder, so that one mistake is not made twice."""
    for _ in range(5):
        text = re.sub(r"\\\r?\n|[\s\u200b-\u200f\u2060\ufeff\xad]", "", text)
        text = urllib.parse.unquote(text)
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"\\+x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)
    return strip(text)


def percent(text: str, random: Random) -> str:
    form = random.choice(["%{:02x}", "%{:02X}", "%25{:02x}", "%2525{:02X}"])
    pick = random.choice([0.3, 1.0])
    return "".join("".join(form.format(b) for b in c.encode()) if random.random() < pick else c for c in text)


def json_escapes(text: str, random: Random) -> str:
    slashes = "\\" * random.choice([1, 2, 4])
    return "".join(f"{slashes}u{ord(c):04x}" if random.random() < 0.5 else c for c in text)


def repr_escapes(text: str, random: Random) -> str:
    return "".join(f"\\x{ord(c):02x}" if random.random() < 0.5 else c for c in text)


def split(text: str, random: Random) -> str:
    gaps = [" ", "\n", "\r\n  ", "\t", "\u200b", "\ufeff", "\u2060", "\\\n", "\xa0"]
    parts: list[str] = []
    for char, following in zip(text, [*text[1:], ""], strict=True):
        gap = random.choice(gaps) if random.random() < 0.3 else ""
        # Before a u or x of the secret's own, a continuation reads as the backslash of an escape: nobody can tell.
        ambiguous = gap == "\\\n" and char != "\\" and following in "uUx"
        parts += (char, "\n" if ambiguous else gap)
    return "".join(parts)


def plain(text: str, random: Random) -> str:
    return text


ENCODINGS: list[Callable[[str, Random], str]] = [plain, percent, json_escapes, repr_escapes]
TOKENS = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=8, max_size=60)
ODD = st.text(alphabet=string.ascii_letters + string.digits + "+/=.:~!#&@$", min_size=8, max_size=40)
KEYS = st.text("abXY12-_", min_size=12, max_size=44).map(lambda body: "VENICE_ADMIN_KEY_" + body)
SECRETS = st.one_of(TOKENS, ODD, KEYS)
AROUND = st.text(alphabet='abc XYZ012.,:;"{}[]\n=/&?', max_size=30)


@settings(max_examples=300)
@given(SECRETS, AROUND, AROUND, st.sampled_from(ENCODINGS), st.booleans(), st.randoms(use_true_random=False))
def test_no_encoded_or_split_secret_survives(
    secret: str, before: str, after: str, encode: Callable[[str, Random], str], cut: bool, random: Random
) -> None:
    assume(secret not in decode(before + after))
    redactor = knowing(secret)
    encoded = encode(secret, random)
    text = before + (split(encoded, random) if cut else encoded) + after
    redacted = redactor.redact(text)
    assert secret not in decode(redacted)
    assert secret not in strip(redacted)
    assert "[redacted" in redacted
    assert redactor.redact(redacted) == redacted


@settings(max_examples=150)
@given(SECRETS, st.binary(max_size=20), st.binary(max_size=20), st.sampled_from("bushx:"), st.booleans())
def test_no_base64_or_hex_of_a_text_with_a_secret_survives(
    secret: str, before: bytes, after: bytes, kind: str, cut: bool
) -> None:
    # One character of either neighbour is shared in base64; between letters it cannot end the secret's own text.
    raw = before + b"|" + secret.encode() + b"|" + after
    encoded = {
        "b": lambda: base64.b64encode(raw).decode(),
        "u": lambda: base64.urlsafe_b64encode(raw).decode(),
        "s": lambda: base64.encodebytes(raw).decode(),
        "h": raw.hex,
        "x": lambda: raw.hex().upper(),
        ":": lambda: raw.hex(":"),
    }[kind]()
    if cut:
        encoded = "\n".join(encoded[i : i + 7] for i in range(0, len(encoded), 7))
    body = body_of(secret)
    redacted = knowing(secret).redact(f"body={encoded}")
    assert redacted.count("[redacted") >= 1
    left = "".join(re.split(r"\[redacted[^]]*\]", redacted.removeprefix("body=")))
    digits = re.sub(r"[\s:]", "", left)
    if kind in "hx:":
        assert secret not in binascii.unhexlify(digits[: len(digits) // 2 * 2]).decode("latin-1")
        assert body.encode().hex() not in digits.lower()
    else:
        standard = digits.translate(str.maketrans("-_", "+/")).rstrip("=")
        for offset in range(4):
            piece = standard[offset:]
            decoded = base64.b64decode(piece[: len(piece) // 4 * 4])
            assert body.encode() not in decoded


@pytest.mark.parametrize("separator", [" ", ":", "-", ", 0x", ","])
def test_a_hex_dump_is_redacted(separator: str) -> None:
    dump = separator.join(f"{byte:02x}" for byte in KEY.encode())
    assert knowing(KEY).redact(f"dump {dump} end") == f"dump {MARKER} end"


@settings(max_examples=200)
@given(SECRETS, st.lists(st.one_of(st.sampled_from(INNOCENT), st.text(max_size=30)), max_size=8))
@example("q" * 30, INNOCENT)
def test_text_without_a_secret_survives_unchanged(secret: str, words: list[str]) -> None:
    text = " ".join(words)
    core = body_of(secret)[6 * (len(secret) >= 24) :]
    assume(core not in decode(text) and core not in strip(text))
    assume((len(secret) >= 16 and "VENICE" not in strip("".join(words))) or words is INNOCENT)
    redactor = knowing(secret)
    assert redactor.redact(text) == text
    tree = {"a": [text, (text, 1, None)], text: {"b": True}}
    assert redactor.redact_tree(tree) is tree


@pytest.mark.parametrize("text", INNOCENT)
def test_ids_names_and_markers_survive(text: str) -> None:
    assert knowing(KEY, WALLET_KEY).redact(text) == text


def test_a_known_key_shows_its_last_six_and_other_secrets_their_label() -> None:
    redactor = knowing(KEY)
    redactor.add(Secret(WALLET_KEY), label="wallet key")
    redactor.add(Secret("hunter2hunter2"))
    redactor.add(Secret("correct horse battery"), label="not a [label]")
    assert redactor.redact(f"<{KEY}>") == f"<{MARKER}>"
    assert redactor.redact(f"<{WALLET_KEY}>") == "<[redacted wallet key]>"
    assert redactor.redact("<hunter2hunter2>") == "<[redacted]>"
    assert redactor.redact("<correct%20horse%20battery>") == "<[redacted]>"


@pytest.mark.parametrize(
    "text",
    [WALLET_KEY[2:], WALLET_KEY.upper(), repr(bytes.fromhex(WALLET_KEY[2:])), f"<{bytes.fromhex(WALLET_KEY[2:])}>"],
)
def test_a_wallet_key_is_redacted_in_any_notation(text: str) -> None:
    redacted = knowing(WALLET_KEY).redact(text)
    assert "[redacted]" in redacted
    assert len(redacted) < 30


def test_escapes_of_different_kinds_may_be_nested() -> None:
    text = "".join(f"\\u{ord(c):04x}" for c in KEY)
    for _ in range(2):
        text = json.dumps(urllib.parse.quote(text))
        assert MARKER in knowing(KEY).redact(text)
        assert len(knowing(KEY).redact(text)) < 60


def test_the_body_of_a_key_is_redacted_without_its_prefix() -> None:
    assert knowing(KEY).redact(f"tail {KEY[17:]} end") == f"tail {MARKER} end"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{} and more words",
        '{{"key": "{}"}}',
        "{}\nnext",
        "{}\\nnext",
        "key={}&x=1",
        "key%3D{}%26x",
        "`{}`",
        "{}%20x",
    ],
)
def test_unregistered_keys_and_tokens_are_redacted_without_their_neighbours(text: str) -> None:
    redactor = Redactor()
    escaped = json.dumps(UNKNOWN_KEY).replace("_", "\\u005f").strip('"')
    for form in (UNKNOWN_KEY, UNKNOWN_KEY.replace("_", "%5F"), escaped):
        assert redactor.redact(text.format(form)) == text.format("[redacted ...01YYYY]")
    assert redactor.redact(text.format(JWT)) == text.format("[redacted]")


@pytest.mark.parametrize("prefix", ["%", "\\", "100%", "C:\\", "%2", "\\u", "\\x", "%25"])
@pytest.mark.parametrize("secret", ["41abcdef0123Zz", "nope-nope-nope", "u0041abcdefgh", KEY])
def test_what_stands_before_a_secret_cannot_swallow_its_beginning(prefix: str, secret: str) -> None:
    assert secret not in knowing(secret).redact(prefix + secret)


def test_a_shown_secret_stays_only_where_it_is_exactly_itself() -> None:
    redactor = knowing(KEY, UNKNOWN_KEY)
    encoded = "".join(f"%{ord(c):02X}" for c in KEY)
    text = f"{KEY}_ {encoded} {KEY[:9]}\n{KEY[9:]} {UNKNOWN_KEY} {base64.b64encode(KEY.encode()).decode()}"
    redacted = redactor.redact(text, [Secret(KEY)])
    assert redacted.startswith(f"{KEY}_ {MARKER} {MARKER} [redacted ...01YYYY] ")
    assert redacted.count(KEY) == 1
    assert redacted.endswith(" ...2V2jNW]")
    assert "[redacted" in redacted.split()[-2]


def test_an_unregistered_shown_key_stays_and_a_key_glued_to_it_does_not() -> None:
    shown = [Secret(KEY)]
    assert Redactor().redact(f"a {KEY} b", shown) == f"a {KEY} b"
    assert Redactor().redact(f"a {KEY}{UNKNOWN_KEY} b", shown) == f"a {KEY}[redacted ...01YYYY] b"


def test_showing_a_secret_does_not_show_a_longer_one_that_contains_it() -> None:
    longer = f"{KEY}-and-more-of-it"
    redactor = knowing(KEY, longer)
    assert redactor.redact(f"{longer} {KEY}", [Secret(KEY)]) == f"[redacted ...-of-it] {KEY}"


def test_overlapping_secrets_leave_nothing_between_them() -> None:
    redactor = knowing("abcdefghijkl", "ghijklmnopqr", "xyxyxyxy")
    assert redactor.redact("<abcdefghijklmnopqr>") == "<[redacted]>"
    assert redactor.redact("<xyxyxyxyxyxyxyx>") in ("<[redacted]>", "<[redacted]x>")


def test_trees_are_redacted_with_their_keys_and_nothing_is_lost() -> None:
    redactor = knowing(KEY)
    tree = {KEY: 1, f"{KEY} ": (KEY, 2), "list": ["fine", {"deep": [f"x{KEY}"]}], MARKER: 3, 4: None}
    redacted = redactor.redact_tree(tree)
    assert redacted == {
        f"{MARKER} (2)": 1,
        f"{MARKER} ": (MARKER, 2),
        "list": ["fine", {"deep": [f"x{MARKER}"]}],
        MARKER: 3,
        4: None,
    }
    assert redacted["list"][0] is tree["list"][0]  # pyright: ignore[reportIndexIssue, reportUnknownVariableType, reportOptionalSubscript]
    assert redactor.redact_tree(tree, [Secret(KEY)]) is tree


def test_a_bottomless_tree_is_cut_instead_of_overflowing() -> None:
    tree: list[object] = [KEY]
    for _ in range(5000):
        tree = [tree]
    assert KEY not in str(knowing(KEY).redact_tree(tree))


def test_short_values_are_ignored_and_only_the_newest_secrets_kept() -> None:
    redactor = knowing("short12", *(f"secret-number-{n:05}" for n in range(2001)))
    assert redactor.redact("short12") == "short12"
    assert redactor.redact("secret-number-00000") == "secret-number-00000"
    assert redactor.redact("a secret-number-00001 b secret-number-02000") == "a [redacted] b [redacted]"
    assert redactor.redact("secret-number-00001"[1:]) != "[redacted]"


def test_many_secrets_and_few_find_the_same() -> None:
    random = Random(3)
    keys = ["VENICE_ADMIN_KEY_" + "".join(random.choices(string.ascii_letters, k=40)) for _ in range(300)]
    text = " ".join([keys[7], base64.b64encode(keys[9].encode()).decode(), keys[299].encode().hex(), "end"])
    assert knowing(*keys).redact(text) == knowing(keys[7], keys[9], keys[299]).redact(text)


def test_secrets_are_added_while_others_redact() -> None:
    redactor = knowing(KEY)
    leaks: list[str] = []

    def work(number: int) -> None:
        for n in range(50):
            redactor.add(Secret(f"thread-{number}-secret-{n}"))
            text = redactor.redact(f"{KEY} thread-{number}-secret-{n}")
            if KEY in text or "secret-" in text:
                leaks.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaks == []


def test_large_and_hostile_texts_take_linear_time() -> None:
    random = Random(1)
    redactor = knowing(*("VENICE_ADMIN_KEY_" + "".join(random.choices(string.ascii_letters, k=43)) for _ in range(20)))
    words = " ".join(random.choice(["the", "request", "status=200", '"id":', "5%"]) for _ in range(33_000))
    hostile = ["\\", "%", "%25", "25", "\\\n", "%C3", "eyJ", "eyJa.", "VENICE_ADMIN_KEY_", "\\ud83d", "a:", "0x", " "]
    for text in [words, *(piece * (200_000 // len(piece)) for piece in hostile)]:
        start = time.process_time()
        redactor.redact(text)
        # A text twice as long takes twice the time; a quadratic pass would take minutes. Usual are 20 to 80 ms.
        assert time.process_time() - start < 1

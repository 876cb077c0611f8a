"""What counts as a leaked key, in which notations, and what only looks like one."""

import base64
import json
import string
import time
import urllib.parse

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.test_bad_input import OLD_KEY, OTHER_KEY
from venice_mcp.leaks.content import CHUNK, search
from venice_mcp.leaks.patterns import Hit, hits, masked

SALT = b"salt of a test"
WALLET_KEY = "0x4c0883a69102937d6231471b5dbb6204fe512961708279feb1be6ae5538da033"
BASE64URL = string.ascii_letters + string.digits + "-_"


def found(text: str | bytes) -> list[tuple[str, str, int]]:
    """Kind, last six and line of everything in a file with this content."""
    content = text.encode() if isinstance(text, str) else text
    rest = iter([content[at : at + CHUNK] for at in range(CHUNK, len(content), CHUNK)])
    seen: list[tuple[str, str, int]] = []

    def note(hit: Hit, line: int) -> None:
        seen.append((hit.kind, hit.last6, line))

    assert search(content[:CHUNK], lambda most: next(rest, b""), note, SALT) == len(content)
    return seen


def noise(text: str) -> bool:
    """What a random generator makes nearly always: many different characters, a digit, an ending of its own."""
    plain = text.strip("-_") == text and len(set(text)) >= 16
    return plain and any(char.isdigit() for char in text) and any(char.isupper() for char in text)


bodies = st.text(BASE64URL, min_size=42, max_size=44).filter(noise)
prefixed = st.builds("VENICE_{}_KEY_{}".format, st.sampled_from(["INFERENCE", "ADMIN"]), bodies)
hexadecimal = st.binary(min_size=32, max_size=32).map(bytes.hex)
wallets = hexadecimal.filter(lambda digits: len(set(digits)) > 8 and digits < "f")
WORDS = ["venice", "VENICE_API_KEY", "=", "private_key", '"', "\n", "0x"]

NOTATIONS = {
    "a shell": "export VENICE_API_KEY={}\n",
    ".env": 'VENICE_API_KEY="{}"  # mine\n',
    "another name": "MY_OLD_VENICE_TOKEN={}",
    "JSON": '{{"VENICE_API_KEY": "{}", "x": 1}}',
    "nested JSON": '{{"venice": {{\n  "apiKey": "{}"}}}}',
    "YAML": "venice:\n  api_key: {}\n",
    "a manifest": "- name: VENICE_API_KEY\n  value: '{}'\n",
    "JSON by name": '{{"name": "VENICE_API_KEY", "value": "{}"}}',
    "a notebook": json.dumps({"source": ['VENICE_API_KEY = "{}"\n']}).replace('{"', '{{"', 1).replace("]}", "]}}"),
    "Python": 'VENICE_API_KEY: Final[str] = "{}"\n',
    "a default": 'os.getenv("VENICE_API_KEY", "{}")',
    "an index": "os.environ['VENICE_API_KEY'] = '{}'",
    "TypeScript": "const veniceApiKey: string = `{}`;",
    "JavaScript": "process.env.VENICE_API_KEY || '{}'",
    "a shell's default": "${{VENICE_API_KEY:-{}}}",
    "Go": 'veniceKey := "{}"',
    "Rust": 'const VENICE_KEY: &str = "{}";',
    "XML": "<venice_api_key>{}</venice_api_key>",
    "an attribute": '<add key="VENICE_API_KEY" value="{}"/>',
    "a Dockerfile": "ENV VENICE_API_KEY {}\n",
    "an option": "venice --venice-api-key {} run",
    "a query": "https://x.test/?venice_api_key={}&b=1",
    "an encoded query": "q=venice_api_key%3D{}%26b",
    "encoded JSON": "%7B%22VENICE_API_KEY%22%3A%20%22{}%22%7D",
    "JSON in JSON": '"{{\\"VENICE_API_KEY\\": \\"{}\\"}}"',
    "\\u escapes": "\\u0022VENICE_API_KEY\\u0022: \\u0022{}\\u0022",
    "HTML": "VENICE_API_KEY=&quot;{}&quot;",
    "a table": "| VENICE_API_KEY | `{}` |",
    "the next line": 'VENICE_API_KEY = (\n    "{}"\n)',
    "Windows": "setx VENICE_API_KEY {}\r\n",
}
lines_before = st.integers(0, 40)


@settings(max_examples=200, deadline=None)
@given(body=bodies, notation=st.sampled_from(sorted(NOTATIONS)), before=lines_before)
def test_an_old_key_beside_a_name_is_found_in_every_notation_with_its_line(
    body: str, notation: str, before: int
) -> None:
    text = "some text = 1\n" * before + NOTATIONS[notation].format(body)
    line = text[: text.index(body)].count("\n") + 1
    assert found(text) == [("unprefixed", body[-6:], line)]


@settings(max_examples=200, deadline=None)
@given(key=prefixed, notation=st.sampled_from(["see {} here", *NOTATIONS.values()]), before=lines_before)
def test_a_prefixed_key_is_found_anywhere_and_once(key: str, notation: str, before: int) -> None:
    text = "x\n" * before + notation.format(key)
    line = text[: text.index(key)].count("\n") + 1
    assert found(text) == [(key.split("_")[1], key[-6:], line)]


@settings(max_examples=60, deadline=None)
@given(key=prefixed)
def test_a_key_is_found_url_encoded_in_base64_and_in_utf_16(key: str) -> None:
    expected = [(key.split("_")[1], key[-6:], 1)]
    encoded = key.replace("_", "%5F").replace("-", "%2D")
    assert found(f"u={encoded}&x") == expected
    assert found(urllib.parse.quote(f"u={encoded}&x")) == expected
    assert found(f"data:  VENICE_API_KEY: {base64.b64encode(key.encode()).decode()}\n") == expected
    assert found(f"VENICE_API_KEY={key}\r\n".encode("utf-16")) == expected


WALLET_NOTATIONS = [
    "PRIVATE_KEY={}",
    '"privateKey": "{}"',
    "wallet_key: {}",
    'DEPLOYER_KEY = "{}"',
    'VENICE_WALLET_KEY="{}"',
    'const account = privateKeyToAccount("{}")',
    'new ethers.Wallet("{}", provider)',
    'const privateKey: Hex = "{}"',
    "private_key%3D{}",
]


@settings(max_examples=100, deadline=None)
@given(digits=wallets, notation=st.sampled_from(WALLET_NOTATIONS), start=st.sampled_from(["0x", ""]))
def test_a_wallet_key_is_found_beside_a_name_that_speaks_of_one(digits: str, notation: str, start: str) -> None:
    assert found("\n" + notation.format(start + digits)) == [("wallet", digits[-6:], 2)]


@settings(max_examples=100, deadline=None)
@given(digits=wallets, name=st.sampled_from(["sha256", "commit", "tx_hash", "wallet", "private_key_hash", "block"]))
def test_a_hash_is_no_wallet_key(digits: str, name: str) -> None:
    assert found(f'"{name}": "0x{digits}"\n{name}={digits}') == []


NO_FINDINGS = [
    "VENICE_API_KEY=",
    "VENICE_API_KEY=\nOTHER_SERVICE=" + OLD_KEY,
    '"VENICE_API_KEY": "",\n"OTHER": "' + OLD_KEY + '"',
    "VENICE_API_KEY=your-venice-api-key-goes-here-1",
    "VENICE_API_KEY=<your key>",
    "VENICE_API_KEY=${VENICE_API_KEY_FROM_VAULT_1}",
    "VENICE_API_KEY=$OTHER_VARIABLE_WITH_LONG_NAME_2",
    "VENICE_API_KEY={{ .Values.venice.apiKeyFromTheVault1 }}",
    "VENICE_API_KEY=changeme-changeme-changeme-1",
    "VENICE_API_KEY=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "VENICE_API_KEY=abcdefghijklmnopqrstuvwxyz0123456789",
    "apiKey: process.env.VENICE_API_KEY ?? process.env.FALLBACK_API_KEY_2",
    "key = settings.venice_api_key or settings.another_api_key_of_team2()",
    "VENICE_API_KEY_FILE=/run/secrets/venice-key-3f9a8b7c6d5e4f3a2b1c",
    "VENICE_API_KEY_ID=" + OLD_KEY,
    "venice_key: e28e82dc-9df2-4b47-b726-d0a222ef2ab5",
    "VENICE_INFERENCE_KEY_YOUR_KEY_HERE_PLEASE_REPLACE_IT",
    "VENICE_INFERENCE_KEY_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "VENICE_ADMIN_KEY_EXAMPLE_q7Rk2Zx9vTnB4yLmWc8HsPd3Ge5Uj",
    "VENICE_ADMIN_KEY_abc123...",
    "VENICE_ADMIN_KEY_",
    "VENICE_INFERENCE_KEY_abcdefghijklmnopqrstuvwxyz0123456789",
    "PRIVATE_KEY=0x" + "0" * 63 + "1",
    "PRIVATE_KEY=0x" + "1234567890abcdef" * 4,
    "PRIVATE_KEY=0x" + "f" * 64,
    "PRIVATE_KEY=0x" + "deadbeef" * 8,
    "PRIVATE_KEY=0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    WALLET_KEY,
    OLD_KEY,
]


@pytest.mark.parametrize("text", NO_FINDINGS)
def test_placeholders_references_and_strangers_are_no_findings(text: str) -> None:
    assert found(text) == []


@settings(max_examples=150, deadline=None)
@given(text=st.text(), words=st.lists(st.sampled_from(WORDS)))
@example("venice" * 500, [])
@example("VENICE_API_KEY\x00%%%5", ["venice"])
def test_random_text_is_no_finding_and_no_failure(text: str, words: list[str]) -> None:
    assert found("".join(words) + text + " ".join(words)) == []


@settings(max_examples=40, deadline=None)
@given(offset=st.integers(-5000, 5000), key=prefixed, windows=st.integers(1, 3))
def test_a_key_across_the_edge_of_a_chunk_is_found_once_with_its_line(offset: int, key: str, windows: int) -> None:
    before = ("y" * 99 + "\n") * ((CHUNK * windows + offset) // 100)
    assert found(before + f'VENICE_API_KEY="{key}"' + "\nz" * 3000) == [
        (key.split("_")[1], key[-6:], before.count("\n") + 1)
    ]


def test_one_line_of_ten_megabytes_is_searched_to_its_end() -> None:
    assert found("a" * 10_000_000 + " " + OTHER_KEY) == [("INFERENCE", OTHER_KEY[-6:], 1)]


@pytest.mark.parametrize(
    "piece", ["venice", "venice_key_", "VENICE_ADMIN_KEY_", "private_key ", 'wallet_key": ', "venice" + " " * 50, "%25"]
)
def test_no_repeated_text_makes_the_search_slow(piece: str) -> None:
    content = piece.encode() * (1_000_000 // len(piece))
    started = time.process_time()
    assert found(content) == []
    assert time.process_time() - started < 3


def test_a_trailing_dash_may_be_the_text_around_and_both_endings_are_told() -> None:
    content = f"_{OTHER_KEY}_".encode()
    (hit,) = hits(content, content.lower(), SALT)
    assert (hit.last6, hit.also) == ((OTHER_KEY + "_")[-6:], OTHER_KEY[-6:])


def test_what_is_kept_of_a_find_holds_no_key() -> None:
    content = f"VENICE_API_KEY={OLD_KEY}\nPRIVATE_KEY={WALLET_KEY}\n{OTHER_KEY}".encode()
    kept = repr(list(hits(content, content.lower(), SALT)))
    assert kept.count("Hit(") == 3
    for secret in (OLD_KEY, WALLET_KEY, OTHER_KEY):
        assert secret[-7:] not in kept
        assert secret[10:20] not in kept


def test_equal_secrets_have_equal_digests_under_one_salt_only() -> None:
    content = f"VENICE_API_KEY={OLD_KEY} venice_token: {OLD_KEY}".encode()
    one = {hit.digest for hit in hits(content, content.lower(), SALT)}
    other = {hit.digest for hit in hits(content, content.lower(), b"another salt")}
    assert len(one) == len(other) == 1
    assert one != other


def test_a_path_that_holds_a_found_key_is_shown_without_it() -> None:
    content = f"VENICE_API_KEY={OLD_KEY}".encode()
    digests = {hit.digest for hit in hits(content, content.lower(), SALT)}
    assert masked(f"/srv/{OLD_KEY}/a.txt", digests, SALT) == "/srv/(key)/a.txt"
    assert masked(f"/srv/{OTHER_KEY}.txt", set(), SALT) == "/srv/(key).txt"
    assert masked("/srv/0123456789abcdef0123456789abcdef/a.txt", digests, SALT).endswith("ef/a.txt")

"""What people paste comes without secrets, with its ids and models, and says which of what is gone was a key."""

import time
import uuid
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venice_mcp.secrets import MAX_PASTED, Redactor, Secret, mask_pasted, mask_unreadable

NOISE = "GTd7FguoV8FWnFbB0JxXujr4qqaaABvvLOzAxzXMcU1"
HALVES = NOISE[:20], NOISE[20:]
SHORT = "abc9X8y7Z6w5V4u3T2s1"
KEY = f"VENICE_INFERENCE_KEY_{NOISE}"
WALLET = "a1b2c3d4" * 8
ID = "550e8400-e29b-41d4-a716-446655440000"
ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"


def masked(text: str) -> str:
    return mask_pasted(text, Redactor())


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (f"a {KEY} b", f"a [redacted ...{KEY[-6:]}] b"),
        (f"a {KEY[:41]}\n{KEY[41:]} b", "a [redacted] b"),
        (f"a {KEY[:41]}\r\n  {KEY[41:50]}\r\n  {KEY[50:]} b", "a [redacted] b"),
        (f'{{"{KEY[:41]}\\n{KEY[41:]}":1}}', '{"[redacted]":1}'),
        (f"a {KEY[:41]} {KEY[41:]} b", "a [redacted] b"),
        (f"a {KEY[:41]} b", "a [redacted] b"),
        (f"a {KEY[:41]}\x1b[31m{KEY[41:]}\x1b[0m b", f"a [redacted ...{KEY[-6:]}] b"),
        ("Authorization: Bearer {}\n{}".format(*HALVES), "Authorization: Bearer [redacted]"),
        ('{{"api_key":"{}\\n{}"}}'.format(*HALVES), '{"api_key":"[redacted]"}'),
        ("bad key {}\n{} b".format(*HALVES), "bad key [redacted] b"),
        (f"x-api-key:\n{NOISE}", "x-api-key:\n[redacted]"),
        (f"Authorization: Token {SHORT}", "Authorization: Token [redacted]"),
        (f"Authorization: Odd {SHORT}", "Authorization: [redacted]"),
        (f"-H authorization:{NOISE} https://a", "-H authorization:[redacted] https://a"),
        (f"(b'Authorization', b'Bearer {SHORT}'), (b'x', 1)", "(b'Authorization', b'Bearer [redacted]'), (b'x', 1)"),
        (f"map[Authorization:[Bearer {SHORT}] A:[7]]", "map[Authorization:[Bearer [redacted]] A:[7]]"),
        (f"client_secret={SHORT} no", "client_secret=[redacted] no"),
        (f"secret={SHORT} no", "secret=[redacted] no"),
        (f"token: {SHORT} no", "token: [redacted] no"),
        (f"password={SHORT} no", "password=[redacted] no"),
        (f"api key is {SHORT}", "api key is [redacted]"),
        (f"OPENAI_API_KEY={NOISE}", "OPENAI_API_KEY=[redacted]"),
        (f"veniceApiKey: '{NOISE.lower()}'", "veniceApiKey: '[redacted]'"),
        (f"api_key={NOISE.upper()}", "api_key=[redacted]"),
        ("api_key=" + b64encode(bytes(range(200, 248))).decode(), "api_key=[redacted]"),
        ("proxy basic dXNlcjpwYXNzd29yZA== no", "proxy basic [redacted] no"),
    ],
)  # fmt: skip
def test_what_may_well_be_a_key_is_redacted(text: str, instead: str) -> None:
    assert masked(text) == instead


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ('-H "Authorization: Bearer $VENICE_API_KEY"', '-H "Authorization: Bearer [masked]"'),
        ("Authorization: Bearer YOUR_API_KEY_HERE", "Authorization: Bearer [masked]"),
        ('{"Authorization": f"Bearer {api_key}"}', '{"Authorization": f"Bearer [masked]"}'),
        ('OpenAI(api_key=os.environ["VENICE_API_KEY"])', 'OpenAI(api_key=[masked]"VENICE_API_KEY"])'),
        ("apiKey: process.env.VENICE_API_KEY,", "apiKey: [masked],"),
        ("VENICE_ADMIN_KEY_YOUR_KEY_GOES_HERE", "[masked]"),
        ("set-cookie: __cf_bm=Zx9abc123.def-1763915000-1.0.1.1-abcd; path=/", "set-cookie: [masked]"),
        (f'Cookie: a="b c"; session={NOISE}; b=c\nx: y', "Cookie: [masked]\nx: y"),
        (f"{{'set-cookie': 'a=b; s={NOISE}', 'x': '0'}}", "{'set-cookie': '[masked]', 'x': '0'}"),
        (f'{{"error":"Cookie: a=b; s={NOISE}"}}', '{"error":"Cookie: [masked]"}'),
        ("X-PAYMENT: eyJzaWduYXR1cmUiOiIweGFi", "X-PAYMENT: [masked]"),
        ("PAYMENT-SIGNATURE: eyJzaWduYXR1cmUiOiIweGFi", "PAYMENT-SIGNATURE: [masked]"),
        ("password=hunter2", "password=[masked]"),
        ("http://me:hunter2@proxy:80 refused", "http://[masked]@proxy:80 refused"),
        ('{"request_id":"req_011CQx7Yb3mN8pLkJ2hG5fD4sA6tV9wZ"}', '{"request_id":"[masked]"}'),
        (f"tx 0x{WALLET}", "tx 0x[masked]"),
        (f"0x{WALLET[:32]}\n{WALLET[32:]} b", "0x[masked] b"),
        (f'"{WALLET[:20]}\\n{WALLET[20:40]}\\n{WALLET[40:]}"', '"[masked]"'),
    ],
)
def test_what_is_no_key_is_masked_and_not_called_one(text: str, instead: str) -> None:
    assert masked(text) == instead


@pytest.mark.parametrize(
    "text",
    [
        f"key {ID} api_key_id={ID} of {ADDRESS}",
        "model=claude-opus-4-5-20251101 qwen3-235b-a22b-instruct-2507 zai-org-glm-5-1:enable_web_search=auto",
        "dolphin-mistral-24b-venice-edition-2024-07-18",
        "cf-ray: 9a1b2c3d4e5f6789-FRA",
        "Invalid API key provided. The API key is not valid. Bearer token required, basic authentication failed.",
        "This API key is set to 'Private models only'; API_KEY_DIEM_SPEND_LIMIT_EXCEEDED",
        '"token": {"_errors": ["x"]}, "api_key": {"_errors": ["Required"]}, "max_tokens": 4096',
        "Invalid token: expired. total_tokens: 12345",
        "https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/429",
        "VENICE_ADMIN_KEY_FILE\nexport A=b\nopenai.WhatSomeExceptionsAreCalledElsewhereError",
        "deadbeef\ncafe\n2026",
    ],
)
def test_what_tells_something_stays(text: str) -> None:
    assert masked(text) == text
    assert mask_unreadable(text) == text


@pytest.mark.parametrize(
    "run",
    [NOISE[:24], NOISE.lower()[:24], NOISE.upper(), "kdf8zcpwq30jdc5vnii0gk1xjd0sj3", WALLET[:32]],
)
def test_of_what_is_kept_every_long_run_goes_that_is_not_made_of_words(run: str) -> None:
    assert mask_unreadable(f"bad {run} or {ID}/{run}") == f"bad [masked] or {ID}[masked]"


def test_a_known_secret_is_told_by_its_last_six_in_whatever_form() -> None:
    redactor = Redactor()
    redactor.add(Secret(KEY))
    for form in (KEY, f"{KEY[:30]}\n{KEY[30:44]}\n{KEY[44:]}", KEY.replace("_", "%5F"), f"{KEY[:50]}\x1b[1m{KEY[50:]}"):
        assert mask_pasted(f"a {form} b", redactor) == f"a [redacted ...{KEY[-6:]}] b"


# --- how much ------------------------------------------------------------------------------------------


def test_of_a_long_text_the_end_is_kept_and_no_secret_is_cut_in_two() -> None:
    for at in range(-60, 8, 7):
        for secret in (f"Authorization: Bearer {NOISE}", KEY, f"cookie: s={NOISE}", f"{KEY[:40]}\n{KEY[40:]}"):
            end = "x " * (MAX_PASTED // 2 - (at + 60) // 2)
            text = masked("y " * 40_000 + secret + "\n" + end)
            assert len(text) <= MAX_PASTED
            assert text.endswith("x x")
            assert not any(NOISE[i : i + 9] in text for i in range(len(NOISE) - 9))
    assert not any(NOISE[i : i + 9] in masked("z" * 9 + NOISE * 1000) for i in range(len(NOISE) - 9))


@pytest.mark.parametrize(
    "piece",
    [
        "key=", "key ", "token:", "bearer ", "authorization: ", "cookie", "cookie=x;", 'cookie: ="', "password:\n",
        "api key is ", "VENICE_ADMIN_KEY_\n", "VENICE_ADMIN_KEY_a ", "ab\n", "0xab\\n", "://a:", "a@", "-", "aB1",
        f"{ID} ", f"{ID}", "\\", "\\n", "'", "=",
    ],
)  # fmt: skip
def test_masking_takes_well_under_a_second(piece: str) -> None:
    begun = time.process_time()
    masked(piece * 1_000_000)
    mask_unreadable(piece * (MAX_PASTED // len(piece)))
    assert time.process_time() - begun < 1


def test_a_megabyte_of_ids_takes_well_under_a_second() -> None:
    text = " ".join(str(uuid.UUID(int=n << 64)) for n in range(27_000))
    begun = time.process_time()
    masked(text)
    assert time.process_time() - begun < 1


PARTS = st.sampled_from(
    [
        "Authorization: ", "Bearer ", "cookie: ", "api_key=", "token", "key is ", '"', "'", "\\n", "\n", "[", "(", "=",
        ": ", NOISE, SHORT, KEY, "VENICE_ADMIN_KEY_", ID, WALLET, WALLET[:32], "{", "}", " ", "$X", "http://a:b@c",
        "\x1b[1m", "[redacted]", "[masked]",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PARTS, st.text(max_size=12)), max_size=12).map("".join))
def test_no_text_is_an_exception_and_a_known_secret_never_stays(text: str) -> None:
    redactor = Redactor()
    redactor.add(Secret(KEY))
    once = mask_pasted(text, redactor)
    assert NOISE not in mask_pasted(once, redactor)
    assert KEY[21:] not in once

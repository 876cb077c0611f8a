"""However a secret is cut into writes, the stream behind never sees it; other text is not delayed."""

import gc
import io
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venice_mcp.secrets import RedactingStream, Redactor, Secret

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"
UNKNOWN_KEY = "VENICE_INFERENCE_KEY_neverRegistered0001YYYY"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_"
MARKER = "[redacted ...2V2jNW]"


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(Secret(value))
    return redactor


def stream_of(redactor: Redactor) -> tuple[RedactingStream, io.StringIO]:
    inner = io.StringIO()
    return RedactingStream(inner, redactor), inner


@st.composite
def chunked(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def strip(text: str) -> str:
    return "".join(text.replace("\\", "").split()).replace("\u200b", "")


FORMS = [
    KEY,
    "\n".join(KEY[i : i + 5] for i in range(0, len(KEY), 5)),
    "\u200b".join(KEY),
    "\\\n".join([KEY[:20], KEY[20:]]),
    "".join(f"%{ord(c):02x}" for c in KEY),
    "".join(f"%25{ord(c):02X}" for c in KEY),
    "".join(f"\\u{ord(c):04x}" for c in KEY),
    "".join(f"\\x{ord(c):02x}" for c in KEY),
    KEY.encode().hex(),
    KEY.encode().hex(":"),
    UNKNOWN_KEY,
    JWT,
]


@settings(max_examples=300)
@given(st.sampled_from(FORMS), st.data())
def test_no_chunking_leaks_any_form_of_a_secret(form: str, data: st.DataObject) -> None:
    before, after = data.draw(st.sampled_from([("say ", " now\n"), ("", ""), ("a\n", "\nb\n"), ("V", ",")]))
    stream, inner = stream_of(knowing(KEY))
    for chunk in data.draw(chunked(before + form + after)):
        stream.write(chunk)
        if data.draw(st.booleans()):
            stream.flush()
        assert all(strip(hidden)[-20:] not in strip(inner.getvalue()) for hidden in (form, KEY, UNKNOWN_KEY))
    stream.close()
    assert "[redacted" in inner.getvalue()
    assert strip(form)[-20:] not in strip(inner.getvalue())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMS))
def test_written_character_by_character_no_form_leaks(form: str) -> None:
    stream, inner = stream_of(knowing(KEY))
    for char in f"key: {form}\n":
        stream.write(char)
    stream.finish()
    assert strip(inner.getvalue()).startswith("key:")
    assert "[redacted" in inner.getvalue()
    assert strip(form)[-20:] not in strip(inner.getvalue())


@settings(max_examples=200)
@given(st.text(string.ascii_letters + string.digits + "-_+/", min_size=12, max_size=40), st.data())
def test_no_chunking_leaks_a_random_secret_that_repeats(secret: str, data: st.DataObject) -> None:
    stream, inner = stream_of(knowing(secret, secret[6:] + secret[:9]))
    text = f"{secret}{secret} {secret[6:]}{secret[:9]}\n{secret[:7]}\n{secret[7:]}\n"
    for chunk in data.draw(chunked(text)):
        stream.write(chunk)
        assert secret not in strip(inner.getvalue())
    stream.finish()
    assert secret not in strip(inner.getvalue())


@settings(max_examples=150)
@given(st.text(alphabet='VENICE_\n %\\41uabc:.{}"eyJ', max_size=80).filter(lambda t: "_KEY_" not in t), st.data())
def test_text_without_secrets_comes_out_as_it_went_in(text: str, data: st.DataObject) -> None:
    redactor = knowing(KEY)
    stream, inner = stream_of(redactor)
    for chunk in data.draw(chunked(text)):
        assert stream.write(chunk) == len(chunk)
    stream.finish()
    assert inner.getvalue() == redactor.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "an ordinary line\n",
        "the name",
        "no line break yet ",
        "ends with V\n",
        "set VENICE_ADMIN_KEY\n",
        "100%\n",
        f"{KEY}\n",
        f"is {KEY}",
    ],
)
def test_complete_lines_and_complete_secrets_are_not_delayed(text: str) -> None:
    stream, inner = stream_of(knowing(KEY))
    stream.write(text)
    assert inner.getvalue() == text.replace(KEY, MARKER)


def test_only_the_beginning_of_a_secret_is_held_back_and_flush_keeps_it() -> None:
    stream, inner = stream_of(knowing(KEY))
    stream.write(f"the key {KEY[:25]}")
    stream.flush()
    assert inner.getvalue() == "the key "
    stream.write("\n")
    assert inner.getvalue() == "the key "
    stream.write("something else\n")
    assert inner.getvalue() == f"the key {KEY[:25]}\nsomething else\n"


def test_what_is_held_back_comes_out_at_the_end_unless_it_is_most_of_a_secret() -> None:
    for end, expected in (("VENICE_AD", "VENICE_AD"), (KEY[:28], "[redacted]"), (UNKNOWN_KEY, "[redacted ...01YYYY]")):
        stream, inner = stream_of(knowing(KEY))
        stream.write(f"x {end}")
        assert inner.getvalue() == "x "
        stream.close()
        assert inner.getvalue() == f"x {expected}"
        assert not inner.closed


def test_an_end_that_could_begin_another_secret_does_not_hold_back_the_first() -> None:
    first, second = "first-secret-ABC", "ABC-second-secret"
    stream, inner = stream_of(knowing(first, second))
    stream.write(f"x {first}")
    assert inner.getvalue() == "x [redacted]"
    stream.write(second[3:] + " y\n")
    assert inner.getvalue() == "x [redacted][redacted] y\n"
    stream.write(first)
    stream.write("DEF\n")
    assert inner.getvalue() == "x [redacted][redacted] y\n[redacted]DEF\n"


def test_bytes_written_to_the_buffer_are_redacted_too() -> None:
    inner = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = RedactingStream(inner, knowing(KEY))
    raw = f"naïve {KEY}\n".encode()
    for at in range(len(raw)):
        assert stream.buffer.write(raw[at : at + 1]) == 1
    stream.buffer.flush()
    inner.seek(0)
    assert inner.read() == f"naïve {MARKER}\n"


def test_the_stream_answers_for_its_inner_stream() -> None:
    inner = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="replace")
    stream = RedactingStream(inner, knowing(KEY))
    assert (stream.encoding, stream.errors, stream.isatty(), stream.writable()) == ("latin-1", "replace", False, True)
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
    with pytest.raises(io.UnsupportedOperation):
        stream.detach()
    with pytest.raises(TypeError):
        stream.write(KEY.encode())  # pyright: ignore[reportArgumentType]


def test_a_closed_stream_refuses_and_closing_twice_or_after_inner_is_harmless() -> None:
    stream, inner = stream_of(knowing(KEY))
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.write("x")
    late, inner = stream_of(knowing(KEY))
    late.write(KEY[:20])
    inner.close()
    late.close()
    del stream, late
    gc.collect()


def test_print_with_several_arguments_does_not_leak() -> None:
    stream, inner = stream_of(knowing(KEY))
    print(KEY[:30], KEY[30:], sep="", file=stream)
    print("VENICE_INFERENCE_KEY_", "neverRegistered0001YYYY", sep="", file=stream)
    assert inner.getvalue() == f"{MARKER}\n[redacted ...01YYYY]\n"

"""A variable in the text of a .env file is set so that programs read it there, and every other byte stays."""

import re
import time
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from venice_mcp.secrets import SinkError
from venice_mcp.secrets.envtext import changed, fits, found

NAME = "VENICE_API_KEY"
OLD = b"old-mustNotLeak"
NEW = b"VENICE_INFERENCE_KEY_new-0123456789"


class Piece(NamedTuple):
    """A line or several; where ours are, `before` and `after` stand around the value."""

    before: bytes
    value: bytes | None = None
    after: bytes = b""

    @property
    def text(self) -> bytes:
        return self.before + (self.value or b"") + self.after


LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
# A value over several lines, one of which looks like the variable.
LOOKALIKE = b"first\n" + NAME.encode() + b"=inner\r\nlast"


def other(text: bytes, end: bytes) -> Piece:
    return Piece(text + end)


def ours(before: bytes, equals: bytes, value: tuple[bytes, bytes, bytes], after: bytes, end: bytes) -> Piece:
    return Piece(before + NAME.encode() + equals + value[0], value[1], value[2] + after + end)


OTHERS = st.builds(
    other,
    st.sampled_from(
        [
            b"",
            b"   ",
            b"# a comment with a \" and a '",
            b"#" + NAME.encode() + b"=commented",
            b"  # \xff\xfe not UTF-8",
            b"OTHER=plain",
            b"OTHER=plain # " + NAME.encode() + b"=commented",
            b"OTHER=it's unquoted \xe9",
            b"OTHER='single' # why",
            b'OTHER="with \\" escaped"',
            b'OTHER="' + LOOKALIKE + b'" # why',
            b"export OTHER='" + LOOKALIKE + b"'",
            b"OTHER=`backtick`",
            b"OTHER=",
            b"OTHER = spaced",
            b"MY_" + NAME.encode() + b"=another",
            NAME.encode() + b"_2='another'",
            b"a line that sets nothing",
            b"lonely",
            b"\xc3\x9cMLAUT=1",
        ]
    ),
    LINE_ENDS,
)
OURS = st.builds(
    ours,
    st.sampled_from([b"", b"  ", b"export ", b"\texport\t"]),
    st.sampled_from([b"=", b" = ", b"= ", b"\t="]),
    st.sampled_from(
        [
            (b"", OLD, b""),
            (b"", b"two words", b""),
            (b"", b"ends#here", b""),
            (b"'", OLD, b"'"),
            (b'"', OLD, b'"'),
            (b'"', b"old\nin two lines", b'"'),
            (b'"', b"", b'"'),
        ]
    ),
    st.sampled_from([b"", b"  ", b" # why", b"\t# it's"]),
    LINE_ENDS,
)


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece.text for piece in pieces)


@given(st.lists(OTHERS | OURS, max_size=8), st.booleans(), st.booleans())
def test_only_the_last_value_changes_and_every_other_byte_stays(pieces: list[Piece], bom: bool, cut: bool) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + joined(pieces)
    set_at = [place for place, piece in enumerate(pieces) if piece.value is not None]
    if cut:
        data = re.sub(rb"\r?\n\Z", b"", data)
    after = changed(data, NAME, NEW)
    if set_at:
        pieces = [piece._replace(value=NEW) if place == set_at[-1] else piece for place, piece in enumerate(pieces)]
        wanted = (b"\xef\xbb\xbf" if bom else b"") + joined(pieces)
        assert after == (re.sub(rb"\r?\n\Z", b"", wanted) if cut else wanted)
    else:
        assert after.startswith(data)
        assert after[len(data) :].strip() == NAME.encode() + b"=" + NEW
    assert found(data, NAME).times == len(set_at)
    assert found(after, NAME).value == NEW
    assert changed(after, NAME, NEW) == after


TOKENS = st.sampled_from([b"V", b"V", b"W", b"=", b"=", b'"', b"'", b"`", b"#", b" ", b"\n", b"\n", b"\r", b"\r\n"])
MORE = st.sampled_from([b"\\", b"export ", b"x", b"\xff", b"\xef\xbb\xbf", b":", b'W="a\n', b"V=1\n", b'V="q"\n'])


@given(st.lists(TOKENS | MORE, max_size=16).map(b"".join))
def test_a_file_of_any_kind_is_refused_or_changed_in_one_stretch(data: bytes) -> None:
    try:
        before = found(data, "V")
        after = changed(data, "V", b"NEW")
    except SinkError:
        assume(False)
        return
    assert found(after, "V").value == b"NEW"
    assert found(after, "V").times == max(before.times, 1)
    if before.times == 0:
        assert re.fullmatch(re.escape(data) + rb"(?:\r\n|\r|\n)?V=NEW(?:\r\n|\r|\n)", after)
        return
    assert any(
        data[:at] + b"NEW" + gap + data[at + len(before.value or b"") :] == after
        for at in range(len(data) + 1)
        for gap in (b"", b" ")
    )


@pytest.mark.parametrize(
    ("data", "after"),
    [
        (b"", b"A=new\n"),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbfA=new\n"),
        (b"B=1", b"B=1\nA=new\n"),
        (b"C=2\r\nB=1", b"C=2\r\nB=1\r\nA=new\r\n"),
        (b"A=", b"A=new"),
        (b"A=   \n", b"A=new   \n"),
        (b"A= # why\n", b"A=new # why\n"),
        (b"A=# why\n", b"A=new # why\n"),
        (b"A=1\nA=2\nB=3\n", b"A=1\nA=new\nB=3\n"),
        (b"A='1'#why\n", b"A='new'#why\n"),
        (b"B=1\rA=2\r", b"B=1\rA=new\r"),
        (b'B="1" 2\nA=2\n', b'B="1" 2\nA=new\n'),
        (b"B='C:\\'\nA=1\n", None),
        (b'B="C:\\\\"\nA=1\n', None),
        (b"B='never closed\nA=1\n", None),
        (b"B=`over\nlines`\nA=1\n", None),
        (b"B='1'\"2\nA=1\n", None),
        (b"not a 'line\nA=1\n", None),
        (b"'B\nA=1\nC'=2\n", None),
        (b"'B=x\nA=1\n'C=2\n", None),
        (b"'B'=x\nA=1\n", b"'B'=x\nA=new\n"),
        (b"A=`1`\n", None),
        (b"A='1'2\n", None),
        (b"A: 1\n", None),
        (b"'A'=1\n", None),
        (b"A=1\nexport A\n", None),
        (b"set -x A=1\n", None),
        (b"A\0=1\n", None),
        ("A=1\n".encode("utf-16"), None),
    ],
)
def test_what_one_file_becomes(data: bytes, after: bytes | None) -> None:
    if after is not None:
        assert changed(data, "A", b"new") == after
        return
    for attempt in (lambda: changed(data, "A", b"new"), lambda: found(data, "A")):
        with pytest.raises(SinkError, match=r"^(line \d+ .*; mend the file first|it is not a text file)$"):
            attempt()


def test_a_refusal_names_the_line_and_not_what_stands_in_it() -> None:
    with pytest.raises(SinkError) as caught:
        changed(b'B=1\r\n\r\n\nC="' + OLD, "A", b"new")
    assert str(caught.value) == "line 4 begins a quote that is never closed; mend the file first"
    assert "mustNotLeak" not in repr(found(b"A=" + OLD, "A"))


@pytest.mark.parametrize(
    "value", [b"", b"a b", b"a#b", b"a$b", b"a'b", b'a"b', b"a\\b", b"a`b", b"a\nb", b"\xc3\xa9", b"a\0"]
)
def test_a_value_that_some_program_would_read_otherwise_does_not_fit(value: bytes) -> None:
    assert not fits(value)
    assert fits(NEW)


@pytest.mark.parametrize(
    "data",
    # Whatever could make a search begin again and again.
    [
        b" ",
        b"\n",
        b"x",
        b"\\",
        b"A=x ",
        b"A='x'\n",
        b"'\\",
        b'W="\\"',
        b"\t#",
        b"export ",
        b"NAME ",
        b"NAME=1\n",
        b"A:",
        b"A:\n",
        b"\xc2\xa0 ",
        b"\xe2\x80\xa8",
    ],
)
def test_a_long_file_takes_no_longer_than_it_must(data: bytes) -> None:
    began = time.process_time()
    with suppress(SinkError):
        # Long enough: beginning again at each of so many places would take minutes.
        changed(data * ((1 << 18) // len(data)), "NAME", NEW)
    assert time.process_time() - began < 8

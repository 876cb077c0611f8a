"""What a person pastes, without secrets: those we know, and whatever may be one that nobody told us of.

`[redacted]` stands for what was a key, a token or a password, or may well have been one; `[masked]` for what was taken
out to be on the safe side: placeholders, program text, cookies, ids, payments. Each step takes linear time.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from venice_mcp.secrets.redaction import Redactor, render
from venice_mcp.secrets.shapes import HEX_SECRET, LONG_RUN, PUBLIC, is_noise, is_unreadable
from venice_mcp.text import plain

MAX_PASTED: Final = 20_000
"""Characters that are read, the last of what was pasted."""
REDACTED: Final = "[redacted]"
MASKED: Final = "[masked]"
_MARKS: Final = ("[redacted", "[masked")

# Read besides, so that what begins before the last characters is seen whole; longer than any cookie.
_MARGIN: Final = 4_096
_WHOLE_KEY: Final = 42
"""Characters behind the prefix that Venice makes at least."""
_LEAST_KEY: Final = 40
_WHOLE_NOISE: Final = 24
_LEAST_NOISE: Final = 12
_CERTAIN_NOISE: Final = 16
_MOST_LINES: Final = 4

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_LINE_ENDS: Final = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# A line's end, also one in the text of a program, and what stands before the next line.
_BREAK: Final = r"(?:(?:\\{1,4}r)?(?:\n|\\{1,4}n)[>|]? ?)"
_RUN: Final = r"[A-Za-z0-9_+/=-]"
# The rest of a value on the next line, unless that is a header, a call or a name of something else.
_NEXT_RUN: Final = re.compile(rf"{_BREAK}(?!HTTP/)({_RUN}{{1,100}}+)(?!{_RUN}|[.(]| ?[:=])")
_NEXT_WORD: Final = re.compile(rf" ({_RUN}{{4,100}}+)")
_KEY_START: Final = re.compile(r"VENICE_(?:INFERENCE|ADMIN)_KEY_([A-Za-z0-9_-]{0,80}+)")
_HEX: Final = r"[0-9A-Fa-f]{2,}+(?![0-9A-Za-z])"
_HEX_PIECES: Final = re.compile(rf"(?<![0-9A-Za-z])(?:0[xX])?[0-9A-Fa-f]{{2,}}+(?:{_BREAK}{_HEX}){{1,8}}")
_HEX_PIECE: Final = re.compile(rf"(?:\A|{_BREAK})(?:0[xX])?([0-9A-Fa-f]++)")
_HEX_LENGTHS: Final = (64, 128, 130)
_USER: Final = re.compile(r"(?<=://)[^\s/:@\"']{0,100}:[^\s/@\"']{1,200}(?=@)")
_SOME_RUN: Final = re.compile(rf"{_RUN}{{24,}}")

_SCHEME: Final = r"(?:bearer|basic|token|digest|negotiate|ntlm|hawk|api-?key|key)"
_VALUE: Final = r"(?:[^\s\"'`,;&}\])\\]|\\(?![\"'nr]))"
# What stands behind the name of a credential in headers, program text and addresses, however it looks.
_NAMED: Final = re.compile(
    r"""(?ix)
    (?: (?P<line> (?:set-)?cookies? | mnemonic | seed[\ _-]?phrase )
      | (?P<pass> x-payment | payment-signature | sign-in-with-x )
      | (?P<auth> (?:proxy-)?authorization )
      | (?P<name> api[\ _-]?key | (?:access|auth|refresh|id|session|api)[_-]?token | client[_-]?secret
          | secret[\ _-]?key | (?:private|wallet)[\ _-]?key | (?<![a-z])(?:password|passwd|pwd|passphrase)
          | (?<=[?&])(?:key|token) )
      | (?<![a-z])(?P<weak> token | secret | key )
    )
    \\{0,3}["'`]{0,2}\]? \s{0,4} (?P<sep> =>|[:=]{1,3}|,(?=\s{0,2}b?["']) ) \s{0,4}
    (?:[\[(](?!redacted|masked)\s?)? (?:[bfru](?=["']))? (?:\\{0,3}(?P<quote>["'`]))?
    | \b(?P<scheme> bearer | basic ) \s{1,4}
    | (?<![a-z])(?P<said> api[\ _-]?key | key | token | secret | password | passphrase ) ["'`]? \s{1,3}
      (?:(?:is|was) \s{1,3})? ["'`(]?
    """
)
_SCHEMED: Final = re.compile(rf"(?i){_SCHEME}\s{{1,4}}(?={_VALUE})")
_SCHEME_ALONE: Final = re.compile(rf"(?i){_SCHEME}\n")
_TOKEN: Final = re.compile(rf"{_VALUE}+")
# Bounded, because what does not look like a secret is looked at again.
_SHORT_TOKEN: Final = re.compile(rf"{_VALUE}{{1,400}}+")
_TWO_TOKENS: Final = re.compile(rf"{_VALUE}++(?:[ \t]{{1,4}}(?![A-Za-z-]{{1,40}}:){_VALUE}++)?")
_SPOKEN: Final = re.compile(rf"{_RUN}{{8,}}+")
# To the end of the line, of the string it stands in, or of a quoted value in it.
_TO_END: Final = re.compile(r'(?:="[^"\n]{0,2000}"|\\(?!["\'nr])|[^"\n\\])+')
_TO_QUOTE: Final = {quote: re.compile(rf"(?:\\(?![{quote}nr])|[^{quote}\n\\])+") for quote in "'\"`"}
_SCHEME_WORDS: Final = re.compile(r"(?i)(?:tokens?|auth\w{0,12}|headers?|schemes?|keys?|api|is|was|or|and)\W{0,2}")
_PLAIN_WORD: Final = re.compile("[A-Za-z][a-z]{0,15}[.!?]?")
_PLACEHOLDER: Final = re.compile(r"(?i)[${<>*(]|%s|\.\.\.|your|example|placeholder|replace|changeme|x{6}|environ")


def mask_pasted(text: str, redactor: Redactor) -> str:
    """The end of what a person pasted, at most `MAX_PASTED` characters: lines of visible ones, without secrets.

    Key ids and wallet addresses stay. Done twice, it changes nothing more.
    """
    # Colours and the like go first, or they would hide a secret.
    text = _LINE_ENDS.sub("\n", _ESCAPES.sub("", _end_of(text)))
    text = "\n".join(plain(line, max(1, len(line))) for line in text.split("\n"))
    known = [span for span in redactor.spans(text) if span.known]
    text = _without_broken_keys(render(text, known, 0, len(text)))
    text = _HEX_PIECES.sub(_without_broken_hex, _without_named(redactor.redact(text)))
    text = _USER.sub(MASKED, HEX_SECRET.sub(MASKED, text))
    return _without_runs(text, LONG_RUN, is_noise)[-MAX_PASTED:]


def mask_unreadable(text: str) -> str:
    """`text`, a short one that is passed on, without any run of 24 or more characters that is not made of words."""
    return _without_runs(text, _SOME_RUN, is_unreadable)


def _end_of(text: str) -> str:
    """The end of `text`, with so much before it that nothing in the last `MAX_PASTED` characters was cut in two."""
    if len(text) <= MAX_PASTED + _MARGIN:
        return text
    margin = text[-MAX_PASTED - _MARGIN : -MAX_PASTED]
    cut = margin.find("\n", 0, _MARGIN // 2) + 1 or margin.find(" ") + 1 or _MARGIN
    return text[cut - MAX_PASTED - _MARGIN :]


def _without_runs(text: str, runs: re.Pattern[str], is_secret: Callable[[str], bool]) -> str:
    def masked(run: re.Match[str]) -> str:
        parts: list[str] = []
        at = 0
        for public in (*PUBLIC.finditer(run[0]), None):
            end = public.start() if public else len(run[0])
            rest = run[0][at:end]
            parts.append(MASKED if runs.fullmatch(rest) and is_secret(rest) else rest)
            if public:
                parts.append(public[0])
                at = public.end()
        return "".join(parts)

    return runs.sub(masked, text)


# --- over line ends -------------------------------------------------------------------------------


def _without_broken_keys(text: str) -> str:
    """`text` without keys that are broken over lines, and without what is only a part of one."""
    parts: list[str] = []
    done = 0
    for match in _KEY_START.finditer(text):
        body, end = match[1], match.end()
        if match.start() < done or len(body) >= _WHOLE_KEY:
            continue
        while len(body) < _LEAST_KEY and (more := _NEXT_RUN.match(text, end) or _NEXT_WORD.match(text, end)):
            if more.re is _NEXT_WORD and not (is_unreadable(more[1]) and len(body + more[1]) >= _LEAST_KEY):
                break
            body, end = body + more[1], more.end(1)
        if len(body) < _LEAST_KEY:
            body, end = match[1], match.end()
        if len(body) >= _LEAST_NOISE:
            parts += (text[done : match.start()], REDACTED if _may_be_key(body) else MASKED)
            done = end
    return "".join((*parts, text[done:]))


def _may_be_key(body: str) -> bool:
    return len(body) >= _LEAST_KEY or (is_unreadable(body) and not _PLACEHOLDER.search(body))


def _without_broken_hex(match: re.Match[str]) -> str:
    """Lines of hexadecimal digits without those that together are a wallet key or a signature."""
    pieces = list(_HEX_PIECE.finditer(match[0]))
    ends = [0, *accumulate(len(piece[1]) for piece in pieces)]
    for first, begun in enumerate(ends):
        for last in range(first + 1, len(ends)):
            if ends[last] - begun in _HEX_LENGTHS and last - first > 1:
                start, end = pieces[first].start(1), pieces[last - 1].end()
                return f"{match[0][:start]}{MASKED}{match[0][end:]}"
    return match[0]


# --- behind their names ---------------------------------------------------------------------------


def _without_named(text: str) -> str:
    """`text` without what is named as a credential."""
    parts: list[str] = []
    done = at = 0
    while match := _NAMED.search(text, at):
        at = match.end()
        start, end = _value(text, match)
        value = text[start:end]
        if not _hidden(match, value):
            continue
        broken_at = _end_of_run(text, value, end)
        named = not (match["line"] or match["pass"])
        certain = named and (broken_at > end or any(map(_is_credential, value.split())))
        parts += (text[done:start], REDACTED if certain or _MARKS[0] in value else MASKED)
        done = at = broken_at
    return "".join((*parts, text[done:]))


def _value(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Where the value behind a name stands."""
    at = match.end()
    quote = match["quote"]
    if match["line"]:
        pattern = _TO_QUOTE[quote] if quote else _TO_END
    elif quote and not match["weak"]:
        pattern = _TO_QUOTE[quote]
    elif match["weak"]:
        pattern = _SHORT_TOKEN
    else:
        pattern = _TWO_TOKENS if match["auth"] else _SPOKEN if match["said"] else _TOKEN
    found = pattern.match(text, at)
    if found is None or text.startswith(_MARKS, at):
        return at, at
    if match["auth"] or match["name"]:
        if scheme := _SCHEMED.match(text, at, found.end()):
            # The scheme stays to be read; without quotes one word follows it.
            at = scheme.end()
            found = found if quote else _TOKEN.match(text, at) or found
        elif _SCHEME_ALONE.match(text, at):
            return at, at
    return (at, at) if text.startswith(_MARKS, at) else (at, found.end())


def _hidden(match: re.Match[str], value: str) -> bool:
    """Whether what stands behind such a name is taken out."""
    if len(value) < 4:
        return False
    if match["said"]:
        return len(value) >= _LEAST_NOISE and is_unreadable(value) and not PUBLIC.fullmatch(value)
    if match["scheme"]:
        basic = match["scheme"].lower() == "basic"
        return not _SCHEME_WORDS.fullmatch(value) and (not basic or is_unreadable(value) or value.endswith("="))
    if match["weak"] and match["weak"].lower() == "key":
        return is_unreadable(value) and not PUBLIC.fullmatch(value)
    if "\n" in match[0][match.start("sep") - match.start() :]:
        return is_unreadable(value)
    return not (match["weak"] and match["sep"] == ":" and _PLAIN_WORD.fullmatch(value))


def _is_credential(word: str) -> bool:
    """Whether a value behind the name of a credential may well be one, rather than a placeholder or program text."""
    return len(word) >= _CERTAIN_NOISE and is_unreadable(word) and not _PLACEHOLDER.search(word)


def _end_of_run(text: str, value: str, end: int) -> int:
    """Where a value really ends that a line's end may have broken; `end` if none has."""
    whole, ends = value, end
    for _ in range(_MOST_LINES if is_unreadable(value) else 0):
        more = _NEXT_RUN.match(text, ends)
        if more is None or PUBLIC.search(more[1]) or not is_unreadable(more[1]):
            break
        whole, ends = whole + more[1], more.end(1)
    return ends if len(whole) >= _WHOLE_NOISE else end

"""What a pasted text tells about answers of Venice, piece by piece and in its order: bodies, headers, words, pages.

Each piece is found by itself, so that it does not matter which program printed it, what stands around it, or in which
language. Patterns are bounded or possessive: none takes more than linear time.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from venice_mcp.diagnosis.bodies import Shape, Trace, traces_in
from venice_mcp.diagnosis.claims import NAMED, mentions, moment, number

_LONGEST_SAID = 300

# What counts things is no status, whatever its number.
_COUNTED = (
    r"\s{0,2}(?:%|ms\b|s\b|sec|min|tok|req|call|time|key|active|model|line|char|byte|[kmg]i?b\b|usd|diem|dollar|user)"
)
_KNOWN_STATUS = r"(?:40[0-589]|41[0357]|42[2469]|451|499|50[0-4]|52[0-9]|530)"
_REASONS = (
    "Too Many Requests|Payment Required|Unauthorized|Forbidden|Not Found|Bad Request|Internal Server Error|Bad Gateway|"
    "Service Unavailable|Gateway Time-?out|Unprocessable|Request Timeout|Content Too Large|Proxy Authentication"
)
_TOO_MANY = re.compile(r"(?i)too\s+many\s+requests")
_REASON = re.compile(rf"(?i)\b(?:{_REASONS})\b")
# With each of these an account of an answer begins.
_STATUS_LINE = re.compile(
    r"(?i)HTTP/[0-9](?:\.[0-9])?\"?\s{1,3}([1-5][0-9]{2})(?![0-9])|(?<![\w-])error code:? ([1-5][0-9]{2})(?![0-9])"
    r"|(?:client|server) error '([1-5][0-9]{2})\b|refused to [^\n\"]{1,80}? with ([1-5][0-9]{2})\b"
    r"|Venice answered ([1-5][0-9]{2})\b"
)
_STATUS_WORD = re.compile(
    rf"""(?ix)
      (?<![\w-]) (?: status (?:[\ _-]?code)? | http | code | response\ \[ | error | [A-Za-z]{{3,40}}error | failed\ with
        | (?:responded|answered|answers|replied|replies|failed|fails)\ with | return(?:s|ed|ing)? | g[eo]t(?:s|ting)?
        | receiv(?:e[sd]?|ing) | throw(?:s|ing)? | threw | an? )
      ["']? \s{{0,3}} [:=\[(]? \s{{0,3}} ["']? (?:(?:an?|the|http|error|status|code) \s{{1,2}}){{0,3}}
      ({_KNOWN_STATUS}) (?![0-9.]|{_COUNTED})
    | (?<![\w.]) ({_KNOWN_STATUS}) [:,]? \s{{1,3}} \(? (?:{_REASONS.replace(" ", "[ ]")})
    """
)
_STATUS_ALONE = re.compile(
    r"(?i)(?<![A-Za-z0-9_.,$#/:+-])(?<!line )(?<!port )(?<!page )(?<!> )(?<!< )(?<!id: )(?<!id=)"
    rf"({_KNOWN_STATUS})(?![A-Za-z0-9_%$]|[.,:/-][0-9]|{_COUNTED})"
)
_HEADER = re.compile(
    r"""(?xi)
    (?<![\w-])
    (retry-after(?:-ms)? | x-ratelimit(?:-[a-z]{1,20}){1,3} | x-venice(?:-[a-z0-9]{1,20}){1,4}
      | cf-ray | date | content-type)
    \\?["']?\s{0,3} (?:=>|[:=,]) \s{0,3} (?:[\[(]\s?){0,2} b?
    (?: \\?["'] ([^"'\r\n\\]{0,120}) | ([^"'\r\n\]})]{0,120}) )
    """
)
_CODE = re.compile(rf"(?i)(?<![\w-])(?:{'|'.join(name for name in NAMED if '_' in name)})(?![\w-])")
_LOG_LINE = re.compile(
    r"(?m)^[ \t]*([^|\n]{1,40}) \| (RPM|TPM|RPD|FAILED_REQUESTS|UNSUPPORTED_FEATURE_REQUESTS)"
    r" \| ([^|\n]{1,90}) \| ([^|\n]{1,40}) \|"
)
_IT_SAID = re.compile(r"it said \"([^\"\n]{1,300})")
_ERROR_LINE = re.compile(
    r"(?im)^[^\w\n]{0,10}(?:[\w.]{0,60}(?:error|exception)|message|detail)[ ]?(?:code)?[ ]?[:=]"
    r"[ ]?(?:[1-5][0-9]{2}[ ]?[:-]?[ ])?[ ]?([^\n]{1,300})"
)
_SSE = re.compile(r"(?:\A|\n)[ \t]*data:[ \t]*\Z")
_PAGE = re.compile(r"(?i)<!doctype\s{1,5}html|<html\b|<title\b")
_PAGE_END = re.compile(r"(?i)</html\s{0,5}>")
_TITLE = re.compile(r"(?i)<(?:title|h1)\b[^<>]{0,200}>([^<]{1,300})")
_STATUS_IN_TITLE = re.compile(r"(?<![0-9A-Za-z])([45][0-9]{2})(?![0-9A-Za-z])")
_WHOSE = re.compile(r"(?i)\b(cloudflare|nginx|zscaler|squid|akamai|fortinet|envoy|apache|openresty|litespeed)\b")
_SDK = re.compile(
    r"Error code: [0-9]{3} - |Traceback \(|\b[A-Za-z]{3,40}Error\b|\baxios|\bundici|(?:Client|Server) error '"
)

MODEL = re.compile(
    r"""(?ix)
      (?<![\w]) --model [\ =]{1,2} ["']? ([^\s"'`,;)]{1,80})
    | (?<![\w]) model (?:_?id)? \\?["']? \s{0,3} [:=] \s{0,3} \\?["'] ([^"'\s\\]{1,80}) (?=\\?["'])
    | \bmodel\ not\ found:\ [`"']?([^\s"'`,;]{1,80})
    | \bbut\ [`"'] ([^`"'\s]{1,80}) [`"']\ is\ an?\ anonymous
    | \bmodel\ [`"'] ([^`"'\s]{1,80}) [`"']
    | \bmodel\ ([^\s"'`]{1,80})\ has\ been\ deprecated
    """
)
KEY_ID = re.compile(
    r"(?i)api_?key_?id\\?[\"']?\s{0,3}[:=|]\s{0,3}\\?[\"']?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
PATH = re.compile(
    r"(?i)https?://[^\s'\"<>]{1,100}?/api/v1(/[\w/.{}-]{1,80})"
    r"|\b(?:GET|POST|PATCH|DELETE|PUT) (?:/api/v1)?(/[\w/.{}-]{1,80})"
    r"|endpoint:/?api/v1(/[\w/.{}-]{1,80})"
)
# A time in UTC where a line of a log begins, or in a record of one.
SENT = re.compile(
    r"(?mi)(?:^[\[(\"' ]{0,3}|[\"'](?:@?timestamp|time|ts|date)[\"']\s?:\s?[\"'])"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?)"
    r"\s?(?:Z|UTC|[+-]00:?00)(?![0-9A-Za-z])"
)
WAIT = re.compile(
    r"(?i)\b(?:wait|again in|retry in|retry after|retry-after)[ :]{1,3}"
    r"((?:[0-9]{1,6}\s?(?:ms|milliseconds?|s|sec|seconds?|min|minutes?|h|hours?|d|days?)\b[ ,]{0,2}){1,3})"
)


def traces(text: str) -> list[Trace]:
    """Every trace in `text`, in order."""
    found: list[Trace] = list(_headers(text))
    rest = _without_pages(text, found)
    rest = _without_bodies(rest, found)
    found += _log_lines(rest)
    found += _words(rest)
    found += _statuses(rest, alone=all(trace.status is None for trace in found))
    # What begins an account goes before what else begins there.
    return sorted(found, key=lambda trace: (trace.at, not trace.begins))


def shape_of(text: str, told: Shape, *, with_headers: bool) -> Shape:
    """How an error was read, given what its body looked like."""
    bodies: tuple[Shape, ...] = ("string_error", "object_error", "plain_text")
    if told in bodies or (told == "headers" and not with_headers):
        return "sdk_text" if _SDK.search(text) else told
    return told


def _headers(text: str) -> Iterator[Trace]:
    for match in _HEADER.finditer(text):
        name = match[1].lower()
        value = (match[2] if match[2] is not None else match[3]).strip()
        if not (name == "date" or (name == "retry-after" and value[:1].isalpha())):
            value = re.split(r"[\s,;]", value, maxsplit=1)[0]
        if _plausible(name, value):
            yield Trace(match.start(), shape="headers", header=(name, value))


def _plausible(name: str, value: str) -> bool:
    if name == "date" or (name == "retry-after" and number(value) is None):
        return moment(value) is not None
    if name == "content-type":
        return value.lower() == "text/html"
    if name.startswith(("retry-after", "x-ratelimit")) and name != "x-ratelimit-type":
        return number(value) is not None
    if name == "x-ratelimit-type":
        return value in ("user", "api_key", "global")
    return re.fullmatch(r"[A-Za-z0-9._-]{1,40}", value) is not None


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def _without_pages(text: str, found: list[Trace]) -> str:
    """`text` without the page of a proxy; of several, only that all from the first to the last is pages."""
    page = _PAGE.search(text)
    if page is None:
        return text
    end = max((match.end() for match in _PAGE_END.finditer(text, page.start())), default=len(text))
    inside = text[page.start() : end]
    titles = list(dict.fromkeys(" ".join(match[1].split()) for match in _TITLE.finditer(inside)))
    whose = _WHOSE.search(inside)
    said = titles[0] if titles else ""
    if whose and whose[1].lower() not in said.lower():
        said = f"{said} ({whose[1].lower()})".strip()
    numbered = next(filter(None, map(_STATUS_IN_TITLE.search, titles)), None)
    found.append(
        Trace(page.start(), status=int(numbered[1]) if numbered else None, said=said, shape="html", whole=True)
    )
    return _blank(text, page.start(), end)


def _without_bodies(text: str, found: list[Trace]) -> str:
    """`text` without the values in it that were understood."""
    at = text.find("{")
    parts: list[str] = []
    done = 0
    while at >= 0:
        traced, end, cut = traces_in(text, at)
        if traced:
            sse = _SSE.search(text[max(0, at - 40) : at]) is not None
            found += [_in_stream(trace) if sse else trace for trace in traced]
            parts += (text[done:at], " " * (end - at))
            done = end
        if cut:
            break
        at = text.find("{", end)
    return "".join((*parts, text[done:]))


def _in_stream(trace: Trace) -> Trace:
    return replace(trace, shape="sse") if trace.is_error and trace.shape != "truncated_json" else trace


def _log_lines(text: str) -> Iterator[Trace]:
    lines = list(_LOG_LINE.finditer(text))
    # In the order of their times, whatever the order of the lines.
    for place, match in enumerate(sorted(lines, key=lambda line: line[1])):
        at = lines[place].start()
        yield Trace(
            at,
            code=match[2],
            shape="log_row",
            begins=True,
            model=match[3].strip(),
            key_id=match[4].strip(),
            sent=match[1].strip(),
        )


def _words(text: str) -> Iterator[Trace]:
    ours = [match.span(1) for match in _IT_SAID.finditer(text)]
    for start, end in ours:
        yield Trace(start, said=text[start:end], shape="own_text", whole=True)
    for start, end in mentions(text):
        if any(begin <= start < stop for begin, stop in ours):
            continue
        if _TOO_MANY.fullmatch(text, start, end):
            # HTTP's name of the status, not Venice's words.
            yield Trace(start, status=429, shape="plain_text")
        else:
            yield Trace(start, said=_sentence(text, start, end), shape="plain_text")
    for match in _CODE.finditer(text):
        yield Trace(match.start(), code=match[0], shape="plain_text")


def _sentence(text: str, start: int, end: int) -> str:
    """What is said from `start` to the end of the line, or of the quotes that it stands in."""
    line = text[start : start + _LONGEST_SAID]
    least = end - start
    quote = text[start - 1 : start]
    stop = line.find("\n", least)
    if quote in ('"', "'", "`") and (closing := line.find(quote, least)) >= 0:
        stop = closing if stop < 0 else min(stop, closing)
    return line if stop < 0 else line[:stop]


def _statuses(text: str, *, alone: bool) -> Iterator[Trace]:
    ways: tuple[tuple[re.Pattern[str], Shape, bool], ...] = (
        (_STATUS_LINE, "headers", True),
        (_STATUS_WORD, "plain_text", False),
    )
    found = [
        Trace(match.start(), status=int(next(filter(None, match.groups()))), shape=shape, begins=begins)
        for pattern, shape, begins in ways
        for match in pattern.finditer(text)
    ]
    if not found and alone:
        said = [*mentions(text), *(match.span() for match in _HEADER.finditer(text))]
        found = [
            Trace(match.start(), status=int(match[1]), shape="plain_text")
            for match in _STATUS_ALONE.finditer(text)
            if not any(start <= match.start() < end for start, end in said)
        ]
    yield from found


def last_words(text: str) -> str:
    """The message of the last line that calls itself an error, for words that nobody knows."""
    lines = [match[1] for match in _ERROR_LINE.finditer(text)]
    # What HTTP and a library say of the status are not Venice's words.
    lines = [line for line in lines if not (_STATUS_LINE.match(line) or _REASON.search(line) or "status code" in line)]
    return lines[-1] if lines else ""

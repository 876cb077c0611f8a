"""No handler, ours or anyone's, sees a secret in a log record."""

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from venice_mcp.secrets import RedactingFormatter, Redactor, Secret, install_logging

KEY = "VENICE_ADMIN_KEY_mustNotLeak-0123456789abcdefghi2V2jNW"
MARKER = "[redacted ...2V2jNW]"
TALKATIVE = ("httpx", "httpcore", "mcp.client", "sse_starlette", "hpack")


class Leaky:
    def __str__(self) -> str:
        return f"Leaky({KEY})"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(KEY)


class Collecting(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    factory, handlers, level = logging.getLogRecordFactory(), root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    yield
    logging.captureWarnings(False)
    logging.setLogRecordFactory(factory)
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def redactor() -> Redactor:
    known = Redactor()
    known.add(Secret(KEY))
    return known


def install(level: str = "INFO", *, json_lines: bool = False) -> io.StringIO:
    stream = io.StringIO()
    install_logging(redactor(), level=level, stream=stream, json_lines=json_lines)
    return stream


def log_secrets(logger: logging.Logger) -> None:
    logger.info("plain %s", KEY)
    logger.info("message " + KEY)
    logger.info("object %s and %r", Leaky(), [KEY])
    logger.info(Leaky())
    logger.info("mapping %(key)s", {"key": KEY})
    logger.info("split " + KEY[:20] + "%s", KEY[20:])
    logger.info("wrong %d", KEY)
    logger.info("broken %s", Broken())
    logger.info("short %s %s", 1)
    logger.info("stack", stack_info=True)
    try:
        try:
            raise ValueError(f"inner {KEY}")
        except ValueError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError:
        logger.exception("failed")


@pytest.mark.parametrize("json_lines", [False, True])
def test_messages_arguments_and_tracebacks_are_redacted(json_lines: bool) -> None:
    stream = install(json_lines=json_lines)
    log_secrets(logging.getLogger("app"))
    output = stream.getvalue()
    assert "mustNotLeak" not in output
    assert output.count(MARKER) >= 8
    assert "RuntimeError: outer" in output
    assert "Stack (most recent call last)" in output
    if json_lines:
        lines = [json.loads(line) for line in output.splitlines()]
        assert len(lines) == 11
        assert lines[0] == {**lines[0], "level": "INFO", "logger": "app", "message": f"plain {MARKER}"}
        assert MARKER in lines[-1]["exception"]


def test_handlers_attached_later_see_redacted_records_only() -> None:
    install()
    other = io.StringIO()
    records: list[logging.LogRecord] = []
    late = logging.StreamHandler(other)
    late.setFormatter(logging.Formatter("%(message)s %(args)s %(msg)s"))
    collect = Collecting(records)
    logger = logging.getLogger("app.private")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers = [late, collect]
    try:
        log_secrets(logger)
    finally:
        logger.handlers = []
    assert "mustNotLeak" not in other.getvalue()
    assert len(records) == 11
    assert all("mustNotLeak" not in str(vars(record)) for record in records)
    assert records[-1].exc_info is None
    assert records[-1].exc_text is not None
    assert MARKER in records[-1].exc_text


def test_records_without_secrets_keep_their_arguments_and_exception() -> None:
    install()
    factory = logging.getLogRecordFactory()
    try:
        raise ValueError("harmless")
    except ValueError:
        info = sys.exc_info()
    record = factory("a", logging.INFO, "f.py", 1, "%s %d", ("x", 2), info)
    assert (record.msg, record.args, record.exc_info) == ("%s %d", ("x", 2), info)


def test_urls_in_the_logs_of_http_libraries_need_debug() -> None:
    stream = install("info")
    logging.getLogger("httpx").info("HTTP Request: GET https://api.venice.ai/x")
    assert stream.getvalue() == ""
    stream = install("DEBUG")
    logging.getLogger("httpx").info("HTTP Request: GET https://api.venice.ai/x?key=%s", KEY)
    assert stream.getvalue().endswith(f"x?key={MARKER}\n")


def test_installing_again_replaces_the_former_stream() -> None:
    first = install()
    second = install("WARNING")
    logging.getLogger("app").warning("once")
    logging.getLogger("app").info("never")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert "never" not in second.getvalue()


def test_warnings_are_logged_redacted() -> None:
    stream = install()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(f"look at {KEY}", stacklevel=1)
        logging.captureWarnings(False)
    assert "py.warnings" in stream.getvalue()
    assert "mustNotLeak" not in stream.getvalue()


def test_an_unknown_level_is_refused_before_anything_changes() -> None:
    factory = logging.getLogRecordFactory()
    with pytest.raises(ValueError, match="DEBUG, INFO"):
        install("chatty")
    assert logging.getLogRecordFactory() is factory


def test_the_formatter_alone_redacts_the_whole_record_and_what_it_leaves_behind() -> None:
    try:
        raise ValueError(KEY)
    except ValueError:
        record = logging.LogRecord("n", logging.INFO, "f", 1, "m %s", (KEY,), sys.exc_info(), sinfo=f"stack {KEY}")
    for json_lines in (False, True):
        assert "mustNotLeak" not in RedactingFormatter(redactor(), json_lines=json_lines).format(record)
    assert "mustNotLeak" not in str(record.exc_text)


def test_a_failing_stream_does_not_print_arguments_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(io.StringIO):
        def write(self, s: str, /) -> int:
            raise OSError("disk full")

    install_logging(redactor(), level="INFO", stream=Failing())
    logging.getLogger("app").info("plain %s", "argument-text")
    root = logging.getLogger()
    root.handlers[-1].close()
    assert "argument-text" not in capsys.readouterr().err


def test_what_was_held_back_is_printed_when_the_process_ends() -> None:
    code = (
        "import sys, logging\n"
        "from venice_mcp.secrets import *\n"
        "r = Redactor(); r.add(Secret('hunter2hunter2hunter2hunter2'))\n"
        "install_logging(r, level='INFO', stream=sys.stderr)\n"
        "logging.getLogger('a').info('ends with hunt')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stderr.endswith("ends with hunt\n")

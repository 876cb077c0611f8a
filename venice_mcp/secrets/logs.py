"""Logging in which every record is redacted before any handler sees it, and once more on its way out.

What was logged can come from anywhere, so it can neither begin a line that looks like a record of its own nor act on
the terminal it is read in.
"""

import logging
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

from venice_mcp.secrets.redaction import Redactor
from venice_mcp.secrets.streams import RedactingStream

# At INFO httpx names full URLs; the others print headers and frames at DEBUG.
_TALKATIVE: Final = ("httpx", "httpcore", "mcp.client", "sse_starlette", "hpack")
# An attribute of records. Not "request": a library that passes that name as `extra` would be refused.
_REQUEST: Final = "venice_mcp_request"
_TAG: Final = "venice_mcp_tag"
_TEXT_FORMAT: Final = f"%(asctime)s %(levelname)s %({_TAG})s%(name)s: %(message)s"
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_CONTINUED: Final = "  | "
"""Before every line of a traceback, so that none can be taken for a record."""

_request: ContextVar[str | None] = ContextVar("venice_mcp_request", default=None)


@contextmanager
def request_logged() -> Generator[str]:
    """What is logged inside, in threads and tasks begun there too, carries a new id, which is yielded.

    It is random and ours: the id that a client chose is somebody else's text.
    """
    name = f"r-{secrets.token_hex(3)}"
    token = _request.set(name)
    try:
        yield name
    finally:
        _request.reset(token)


def escaped(text: str) -> str:
    """`text` on one line, with everything that is not a visible character or a blank written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class RedactingFormatter(logging.Formatter):
    """Redacts the whole formatted record, tracebacks and stacks included; times are UTC."""

    converter = time.gmtime

    def __init__(
        self,
        redactor: Redactor,
        fmt: str | None = _TEXT_FORMAT,
        datefmt: str | None = _TIME_FORMAT,
        *,
        json_lines: bool = False,
    ) -> None:
        super().__init__(fmt, datefmt, defaults={_TAG: ""})
        self._redactor = redactor
        self._json_lines = json_lines

    def format(self, record: logging.LogRecord) -> str:
        line = self._as_json(record) if self._json_lines else self._as_text(record)
        return self._redactor.redact(line)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record).rstrip("\r\n"))

    # Redacted apart, because Formatter leaves this text on the record for other handlers to find.
    def formatException(self, ei: Any) -> str:
        return self._redactor.redact(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return self._redactor.redact(super().formatStack(stack_info))

    def _as_text(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        blocks = (self._exception_of(record), self._stack_of(record))
        below = [line for block in blocks if block for line in block.rstrip("\n").split("\n")]
        return "\n".join([self.formatMessage(record), *(_CONTINUED + escaped(line) for line in below)])

    def _as_json(self, record: logging.LogRecord) -> str:
        import json

        # These and no others: what came as `extra` was never looked at.
        fields = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "logger": record.name,
            "request": getattr(record, _REQUEST, None),
            "message": record.getMessage(),
            "exception": self._exception_of(record),
            "stack": self._stack_of(record),
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(self._redactor.redact_tree(present))

    def _exception_of(self, record: logging.LogRecord) -> str | None:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text

    def _stack_of(self, record: logging.LogRecord) -> str | None:
        return self.formatStack(record.stack_info) if record.stack_info else None


class _RedactingFactory:
    """Makes log records without secrets, so that handlers attached later by anyone see none either."""

    def __init__(self, redactor: Redactor, make: Callable[..., logging.LogRecord]) -> None:
        self._redactor = redactor
        self.make = make
        self._formatter = logging.Formatter()

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        if (name := _request.get()) is not None:
            setattr(record, _REQUEST, name)
            setattr(record, _TAG, f"[{name}] ")
        self._redact_message(record)
        if record.stack_info:
            record.stack_info = self._redactor.redact(record.stack_info)
        if record.exc_info:
            text = self._formatter.formatException(record.exc_info)
            redacted = self._redactor.redact(text)
            if redacted != text:
                # Without the exception itself: whoever formats that again would find the secret in it.
                record.exc_text = redacted
                record.exc_info = None
        return record

    def _redact_message(self, record: logging.LogRecord) -> None:
        record.args = self._redacted_args(record.args)
        record.msg = self._redacted_object(record.msg)
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - logging must not raise, whatever the arguments' __str__ does
            record.msg = f"{record.msg} [this message could not be formatted: {type(error).__name__}]"
            record.args = None
            return
        redacted = self._redactor.redact(message)
        if redacted != message:
            record.msg, record.args = redacted, None

    def _redacted_args(self, args: Any) -> Any:
        if isinstance(args, tuple):
            return tuple(self._redacted_object(arg) for arg in cast("tuple[object, ...]", args))
        return self._redactor.redact_tree(args)

    def _redacted_object(self, value: object) -> object:
        """`value`, or its redacted text if it is an object whose text has something to redact."""
        if isinstance(value, (str, dict, list, tuple)):
            return self._redactor.redact_tree(value)
        if value is None or isinstance(value, (int, float)):
            return value
        try:
            text = str(value)
        except Exception as error:  # noqa: BLE001 - as above
            return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
        redacted = self._redactor.redact(text)
        return value if redacted == text else redacted


class _RedactingHandler(logging.StreamHandler[RedactingStream]):
    """Closing it (logging does so at exit) passes on what the stream holds back."""

    def handleError(self, record: logging.LogRecord) -> None:
        # The inherited one prints the arguments of the record to the bare sys.stderr.
        with suppress(OSError, ValueError):
            self.stream.write(f"a log record of {escaped(record.name)} could not be written\n")

    def close(self) -> None:
        self.stream.close()
        super().close()


def install_logging(redactor: Redactor, *, level: str, stream: TextIO, json_lines: bool = False) -> None:
    """Send all logging and warnings to `stream` through `redactor`; a second call replaces the first.

    Raises:
        ValueError: `level` is not the name of a logging level.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError("the log level must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    factory = logging.getLogRecordFactory()
    make = factory.make if isinstance(factory, _RedactingFactory) else factory
    logging.setLogRecordFactory(_RedactingFactory(redactor, make))
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _RedactingHandler)]:
        root.removeHandler(former)
        former.close()
    handler = _RedactingHandler(RedactingStream(stream, redactor))
    handler.setFormatter(RedactingFormatter(redactor, json_lines=json_lines))
    root.addHandler(handler)
    root.setLevel(threshold)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET if threshold <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)

"""`RedactingStream`: a text stream that no secret passes, however it is cut into writes."""

import codecs
import io
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, TextIO

from venice_mcp.secrets.redaction import Redactor, Span, render

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_HIDDEN = "[redacted]"


class RedactingStream(io.TextIOBase):
    """Wraps `inner`, which stays open, and passes on what is written with secrets redacted.

    Only an end that could be the beginning of a secret is kept until more is written or `finish` is called.
    """

    def __init__(self, inner: TextIO, redactor: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redactor = redactor
        self._lock = RLock()
        # The end of what was written, of which the first `_sent` characters are already passed on: a secret
        # may begin in text that was too little to hold back, or overlap one that was passed on redacted.
        self._tail = ""
        self._sent = 0

    def write(self, s: str, /) -> int:
        if self.closed:
            raise ValueError("write to a closed stream")
        if not isinstance(s, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"write() takes str, not {type(s).__name__}")
        with self._lock:
            text = self._tail + s
            spans = self._redactor.spans(text)
            beginning = self._redactor.beginning(text, spans)
            end = beginning.start if beginning.hold else len(text)
            # A secret goes out as a whole, even when its end could be the beginning of another one.
            end = max([end, self._sent, *(span.end for span in spans if span.start < end < span.end)])
            passed = render(text, spans, self._sent, end)
            self._tail = text[beginning.start :]
            self._sent = end - beginning.start
            if passed:
                self._inner.write(passed)
        return len(s)

    def finish(self) -> None:
        """Pass on what was held back; a long beginning of a secret is redacted as if it were all of it."""
        with self._lock:
            text, sent = self._tail, self._sent
            spans = self._redactor.spans(text)
            beginning = self._redactor.beginning(text, spans)
            if beginning.hide and not any(span.end > beginning.start for span in spans):
                spans = [*spans, Span(beginning.start, len(text), _HIDDEN, known=True)]
            self._tail, self._sent = "", 0
            if sent < len(text):
                self._inner.write(render(text, spans, sent, len(text)))
            self._inner.flush()

    def flush(self) -> None:
        """Flush `inner`; what is held back stays held back, because it could still become a secret."""
        # IOBase.close() flushes after the stream counts as closed, when `inner` may be gone too.
        if not self._inner.closed:
            self._inner.flush()

    def close(self) -> None:
        """Finish; `inner` belongs to whoever opened it and stays open."""
        if not self.closed:
            if not self._inner.closed:
                self.finish()
            super().close()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._inner.isatty()

    def fileno(self) -> int:
        return self._inner.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._inner.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._inner.errors

    @cached_property
    def buffer(self) -> "RedactingBuffer":
        """A binary stream into this one, so that writing bytes is no way around it."""
        return RedactingBuffer(self)


class RedactingBuffer(io.BufferedIOBase):
    """Decodes what is written and hands it to a `RedactingStream`."""

    def __init__(self, stream: RedactingStream) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(stream.encoding)(errors="backslashreplace")

    def write(self, buffer: "ReadableBuffer", /) -> int:
        raw = bytes(buffer)
        self._stream.write(self._decoder.decode(raw))
        return len(raw)

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

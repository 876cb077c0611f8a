"""The traces in a pasted text, put together into the answers that they are of."""

from dataclasses import dataclass, field
from typing import cast

from venice_mcp.diagnosis.bodies import Shape, Trace
from venice_mcp.diagnosis.claims import CUT, claims
from venice_mcp.diagnosis.traces import traces

_MOST_HEADERS = 30
_MOST_TRACES = 600
# The later ones tell more of how an answer was read.
_SHAPES = cast("tuple[Shape, ...]", Shape.__args__)


@dataclass
class Account:
    """What was found about one answer."""

    status: int | None = None
    said: str = ""
    whole: bool = False
    code: str = ""
    shape: Shape = "nothing"
    wait_s: float | None = None
    model: str = ""
    key_id: str = ""
    sent: str = ""
    fields: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def told(self) -> bool:
        return bool(self.said or self.code or self.fields or self.shape == "html")

    @property
    def is_error(self) -> bool:
        return self.told or (self.status or 0) >= 400

    def is_over(self, trace: Trace) -> bool:
        """Whether `trace` is about the next answer."""
        if trace.header is not None:
            name, value = trace.header
            return self.told and self.headers.get(name, value) != value
        if trace.shape == "log_row":
            return self.told
        if trace.status is not None and self.status is not None and trace.status != self.status:
            return True
        if trace.is_error and self.told:
            return not self._same(trace)
        # A dump may say the same status again before the body comes.
        return trace.begins and self.told and self.whole

    def _same(self, trace: Trace) -> bool:
        """Whether a second error is the first one, told again."""
        if (self.said, self.code) == (trace.said, trace.code):
            return True
        if self.whole and trace.whole:
            return _alike(self.said, trace.said)
        mine, its = claims(None, self.said, self.code), claims(None, trace.said, trace.code)
        return not mine or not its or bool(set(mine) & set(its))

    def take(self, trace: Trace) -> None:
        self.status = self.status if trace.status is None else trace.status
        if trace.header is not None and len(self.headers) < _MOST_HEADERS:
            self.headers[trace.header[0]] = trace.header[1]
        if trace.said and (not self.said or (trace.whole and not self.whole)):
            self.said, self.whole = trace.said, trace.whole
        self.code = self.code or trace.code
        self.fields = self.fields or trace.fields
        self.model = trace.model or self.model
        self.key_id = trace.key_id or self.key_id
        self.sent = trace.sent or self.sent
        self.wait_s = trace.wait_s if self.wait_s is None else self.wait_s
        if _SHAPES.index(trace.shape) > _SHAPES.index(self.shape):
            self.shape = trace.shape


def _alike(one: str, other: str) -> bool:
    one, other = (" ".join(each.rstrip(CUT).split()).lower() for each in (one, other))
    return not one or not other or one.startswith(other) or other.startswith(one)


def accounts(text: str) -> list[Account]:
    """The traces in `text`, put together into the answers that they are of, in order."""
    found: list[Account] = []
    for trace in traces(text)[-_MOST_TRACES:]:
        if not found or found[-1].is_over(trace):
            found.append(Account())
        found[-1].take(trace)
    return found

"""What can go wrong, said so that a model can act on it: what happened, whether anything changed, what next."""

from enum import StrEnum


class Changed(StrEnum):
    """Whether Venice holds anything new because of the failed call."""

    NOTHING = "Nothing was changed at Venice."
    SOMETHING = "Something WAS changed at Venice."
    UNKNOWN = "It is not known whether anything was changed at Venice."


class VeniceError(Exception):
    """A failure with a truthful account of it.

    Every part is our own sentence or has been through `text.plain`; no secret and no raw upstream text.

    Args:
        what: what happened, one or two sentences.
        next_step: the one thing to do now.
        changed: whether anything changed at Venice.
        code: a stable word for programs and tests.
        status: the HTTP status Venice answered with, if it did.
        said: Venice's own words, redacted and plain, if it said any.
        wait_s: how long Venice wants us to wait, if it said so.
    """

    def __init__(
        self,
        what: str,
        *,
        next_step: str,
        changed: Changed = Changed.NOTHING,
        code: str = "error",
        status: int | None = None,
        said: str = "",
        wait_s: float | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.said = said
        self.wait_s = wait_s
        self.next_step = next_step
        self.changed = changed
        self.code = code
        self.status = status

    def __str__(self) -> str:
        return f"{self.what} {self.changed.value} {self.next_step}"


class ArgumentError(VeniceError):
    """An argument that cannot be used. Names the argument, never shows its value; nothing was sent."""

    def __init__(self, argument: str, problem: str, next_step: str) -> None:
        super().__init__(f"{argument}: {problem}", next_step=next_step, code="bad_argument", changed=Changed.NOTHING)
        self.argument = argument


class ApprovalPending(VeniceError):
    """A write that waits for a person, relayed to them by a model; so it is short, and ends with a line to run."""

    def __str__(self) -> str:
        return f"{self.what}\n{self.next_step}"


class AnswerLost(VeniceError):
    """A write was sent and no usable answer came back: it may have taken effect.

    Raised by the client only; the workflows find out and turn it into an account of what is known.

    Attributes:
        write: what the write is called in the journal, once the guard has recorded that its answer was lost.
    """

    def __init__(self, what: str, *, status: int | None = None) -> None:
        self.write = ""
        super().__init__(
            what,
            next_step="Read the keys before trying again.",
            changed=Changed.UNKNOWN,
            code="answer_lost",
            status=status,
        )

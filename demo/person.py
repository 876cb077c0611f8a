"""The person at the client: scripted for the tour, or the reader at the terminal."""

import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from mcp.client import ClientRequestContext
from mcp_types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from demo.screen import Screen

Plan = Literal["approve", "decline"]
_WORD = re.compile(r"Type ([A-Z]+) to approve")


@dataclass(frozen=True)
class Form:
    """What a question asks for: a box to tick, or a word to type. `name` is the field's name on the wire."""

    message: str
    name: str
    word: str | None

    def fields(self) -> list[str]:
        return [f"Type {self.word}: [{'':12}]"] if self.word else ["[ ] Approve"]


@dataclass(frozen=True)
class Answer:
    """What came back from the person."""

    form: Form
    result: ElicitResult

    @property
    def approves(self) -> bool:
        """Judged here from the form alone, so that it can be held against what the server made of it."""
        value = (self.result.content or {}).get(self.form.name)
        word = self.form.word
        confirmed = isinstance(value, str) and value.strip().upper() == word if word else value is True
        return self.result.action == "accept" and confirmed


class Answering(Protocol):
    def answer(self, form: Form, plan: Plan) -> ElicitResult: ...


@dataclass
class Desk:
    """Where questions arrive. `plan` is what the tour wants to show; the reader may do otherwise."""

    screen: Screen
    person: Answering
    plan: Plan = "approve"
    answers: list[Answer] = field(default_factory=list[Answer])

    async def ask(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """The client's elicitation callback."""
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="cancel")
        form = form_of(params.message, params.requested_schema)
        self.screen.dialog(form.message, form.fields())
        # Called in the event loop on purpose: nothing else happens while a person thinks.
        answer = Answer(form, self.person.answer(form, self.plan))
        self.answers.append(answer)
        return answer.result


def form_of(message: str, schema: Mapping[str, Any]) -> Form:
    properties = cast("dict[str, Any]", schema.get("properties", {}))
    name = next(iter(properties), "")
    wanted = _WORD.search(message)
    return Form(message, name, wanted[1] if wanted else None)


@dataclass(frozen=True)
class Scripted:
    """Answers as the tour wants it."""

    screen: Screen

    def answer(self, form: Form, plan: Plan) -> ElicitResult:
        if plan == "decline":
            self.screen.say("person", "declines.")
            return ElicitResult(action="decline")
        self.screen.say("person", f"types {form.word} and submits." if form.word else "ticks the box and submits.")
        return ElicitResult(action="accept", content={form.name: form.word or True})


@dataclass
class Reader:
    """Asks whoever runs the demo. Enter alone closes the question, which approves nothing."""

    screen: Screen
    stopped: bool = False

    def answer(self, form: Form, plan: Plan) -> ElicitResult:
        self.screen.say("note", f"The tour would {plan} here. {_HOW_TO_TYPE if form.word else _HOW_TO_TICK}")
        typed = self._read("your answer: ")
        if not typed:
            self.screen.say("person", "closes the question without an answer.")
            return ElicitResult(action="cancel")
        if typed.lower() in ("n", "no"):
            self.screen.say("person", "declines.")
            return ElicitResult(action="decline")
        if form.word:
            self.screen.say("person", "submits what was typed.")
            return ElicitResult(action="accept", content={form.name: typed})
        ticked = typed.lower() in ("y", "yes")
        self.screen.say("person", "ticks the box and submits." if ticked else "submits without ticking the box.")
        return ElicitResult(action="accept", content={form.name: ticked})

    def _read(self, prompt: str) -> str:
        # asyncio's own handler would only cancel a task, and the read would go on waiting.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.screen.prompt(prompt)
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            line = ""
        finally:
            signal.signal(signal.SIGINT, before)
        self.stopped = not line
        if self.stopped:
            self.screen.line()
        return line.strip()


_HOW_TO_TICK = "y ticks the box and submits, n declines, Enter closes the question."
_HOW_TO_TYPE = "Type the word to approve, n to decline; Enter closes the question."

"""A refusal: the status, text and detail that an operation ends with instead of an answer."""

from collections.abc import Mapping

INVALID = "Invalid request parameters"


class Refusal(Exception):
    def __init__(
        self,
        status: int,
        error: str,
        *,
        details: dict[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        beside: Mapping[str, object] | None = None,
        counts: bool = True,
    ) -> None:
        """`beside` are members of the body beside the error; `counts` is False for what has a budget of its own."""
        super().__init__(error)
        self.status = status
        self.error = error
        self.details = details
        self.headers = headers or {}
        self.beside = beside or {}
        # Neither being limited nor what went wrong on the other side counts as a failed request.
        self.counts = counts and status < 500 and status != 429


class Problems:
    """Everything wrong with one request, as the tree of `_errors` that the API answers with."""

    def __init__(self) -> None:
        self._tree: dict[str, object] = {"_errors": []}
        self._nodes: dict[tuple[str, ...], dict[str, object]] = {(): self._tree}
        self._texts: dict[tuple[str, ...], list[str]] = {}

    def add(self, path: tuple[str, ...], text: str) -> None:
        node = self._node(path)
        self._texts.setdefault(path, []).append(text)
        node["_errors"] = self._texts[path]

    def _node(self, path: tuple[str, ...]) -> dict[str, object]:
        if path not in self._nodes:
            node: dict[str, object] = {"_errors": []}
            self._node(path[:-1])[path[-1]] = node
            self._nodes[path] = node
        return self._nodes[path]

    def settle(self) -> None:
        """Raise if anything was added."""
        if self._texts:
            raise Refusal(400, INVALID, details=self._tree)


def invalid(fields: Mapping[str, list[str]]) -> Refusal:
    """The 400 for a request whose named members (or query parameters) are wrong."""
    details: dict[str, object] = {"_errors": []}
    details.update({name: {"_errors": texts} for name, texts in fields.items()})
    return Refusal(400, INVALID, details=details)

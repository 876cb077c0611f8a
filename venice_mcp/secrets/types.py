"""`Secret`: text that shows itself only when asked by name."""

from typing import Final, Never, final

SHORTEST_WITH_LAST6: Final = 24
"""Six characters of anything shorter would give away too much of it."""


@final
class Secret:
    """Opaque wrapper of a text; `reveal()` is the only way out."""

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a Secret is made of str, not {type(value).__name__}")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> str:
        """The text itself."""
        return self.__value

    @property
    def last6(self) -> str:
        """The six characters by which Venice lists a key, or '' where they would give away too much."""
        tail = self.__value[-6:]
        if len(self.__value) < SHORTEST_WITH_LAST6 or not (tail.isascii() and tail.isprintable()):
            return ""
        return tail

    def __repr__(self) -> str:
        return f"Secret(...{self.last6})"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Imported here because hmac loads OpenSSL, and most starts never compare two secrets.
        from hmac import compare_digest

        mine = self.__value.encode("utf-8", "surrogatepass")
        return compare_digest(mine, other.__value.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError("a Secret cannot be changed")

    # Every road that copy, pickle, dataclasses.asdict and their like take to an object's state.
    def __reduce_ex__(self, protocol: object, /) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")

    def __reduce__(self) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")

    def __getstate__(self) -> Never:
        raise TypeError("a Secret cannot be pickled or copied")

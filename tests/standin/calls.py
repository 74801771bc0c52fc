"""What the stand-in was asked, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SECRET_FIELDS = ("string_value", "bytes_value")


@dataclass(frozen=True)
class Call:
    """One call; never with its token.

    Attributes:
        method: GET, HEAD, POST, PUT, PATCH or DELETE.
        path: Decoded, without the query.
        query: The query's parameters.
        body: The JSON sent along, without secrets' values; empty if there was none.
        size: How many bytes were sent along.
        authorized: Whether it carried a token.
        status: What it was answered with; None if the connection was dropped instead.
        fault: The kind of the fault that hit it, or None.
        took_effect: False if a fault hit it before it was looked at.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    authorized: bool = False
    status: int | None = None
    fault: str | None = None
    took_effect: bool = True

    def __str__(self) -> str:
        """Return method, path and status, as assertions want to compare them."""
        return f"{self.method} {self.path} {self.status}"


def without_secrets(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with secrets' values struck out."""
    return {name: "***" if name in _SECRET_FIELDS else value for name, value in body.items()}


class Calls(Sequence[Call]):
    """The calls so far, as a list that can be searched."""

    def __init__(self, calls: Sequence[Call] = ()) -> None:
        """Take the first calls."""
        self._calls = list(calls)

    def add(self, call: Call) -> None:
        """Note one."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all."""
        self._calls.clear()

    def filter(self, method: str | None = None, path: str = "", **body: Any) -> Calls:
        """Return the calls of a method, with a path in which the expression is found, and with these body fields."""
        return Calls(
            [
                call
                for call in tuple(self._calls)
                if method in (None, call.method)
                and re.search(path, call.path)
                and all(call.body.get(name) == value for name, value in body.items())
            ]
        )

    def writes(self) -> Calls:
        """Return the calls that may change something."""
        return Calls([call for call in tuple(self._calls) if call.method not in ("GET", "HEAD")])

    def lines(self) -> list[str]:
        """Return each call as `METHOD path status`."""
        return [str(call) for call in tuple(self._calls)]

    def __getitem__(self, index: Any) -> Any:
        """Return one, or a slice."""
        return self._calls[index]

    def __len__(self) -> int:
        """Return how many."""
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        """Go through those that there are now."""
        return iter(tuple(self._calls))

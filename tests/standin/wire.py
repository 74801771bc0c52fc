"""What an API of the stand-in gets and gives: requests, answers, errors and routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call.

    Attributes:
        method: GET, HEAD, POST, PUT, PATCH or DELETE.
        path: Decoded, without the query.
        query: The query's parameters; of a repeated one the last.
        body: The JSON sent along; empty if there is none.
        content: The bytes sent along.
        target: The path with its query, as it came.
        lineage: The header by which MLflow says what a model version was made of; empty if there is none.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = b""
    target: str = ""
    lineage: str = ""

    def argument(self, name: str) -> Any:
        """Return an argument, from the body or else the query.

        Raises:
            ApiError: If it is missing.
        """
        value = self.body.get(name, self.query.get(name))
        if value is None:
            raise invalid(f"Missing required field: {name}")
        return value


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    Attributes:
        body: JSON, bytes or nothing.
        status: The HTTP status.
        headers: Headers beside type and length.
    """

    body: Mapping[str, Any] | bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """An answer that is an error, in the services' form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Take the HTTP status, the error code and the message."""
        super().__init__(message)
        self.answer = Answer({"error_code": code, "message": message}, status)


def missing(what: str) -> ApiError:
    """Return the error for what does not exist."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"{what} does not exist.")


def invalid(message: str) -> ApiError:
    """Return the error for an argument that is not as it should be."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


Handler = Callable[..., Answer | Mapping[str, Any] | None]
"""Takes the request, and by name the parts of the path; None says that it does not know the call either."""


@dataclass(frozen=True)
class Route:
    """Which calls a handler answers.

    Attributes:
        method: The method.
        pattern: The path; `{name}` stands for one part, `{name:path}` for the rest.
        handler: Answers.
    """

    method: str
    pattern: str
    handler: Handler

    def match(self, request: Request) -> dict[str, str] | None:
        """Return the parts of the path, or None if the call is another."""
        found = self.expression.fullmatch(request.path) if request.method == self.method else None
        return None if found is None else found.groupdict()

    @property
    def expression(self) -> re.Pattern[str]:
        """The pattern as a regular expression; `re` remembers it."""
        parts = re.split(r"\{(\w+)(:path)?\}", self.pattern)
        text = re.escape(parts[0])
        for name, rest, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            text += f"(?P<{name}>{'.*' if rest else '[^/]+'})" + re.escape(literal)
        return re.compile(text)


def dispatch(routes: Iterable[Route], request: Request) -> Answer | None:
    """Answer with the first route that matches; None if none does."""
    for route in routes:
        parts = route.match(request)
        if parts is not None:
            try:
                answer = route.handler(request, **parts)
            except ApiError as error:
                return error.answer
            if answer is None:
                continue
            return answer if isinstance(answer, Answer) else Answer(answer)
    return None

"""What the stand-in is told to do wrong."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Literal, get_args

from tests.standin.wire import Answer, Request

FaultKind = Literal["latency", "403", "409", "429", "500", "503", "drop_before", "drop_after"]
"""`drop_before` closes the connection instead of looking at the call, `drop_after` instead of answering it."""

_ERRORS: dict[str, tuple[str, str]] = {
    "403": ("PERMISSION_DENIED", "User does not have permission for this."),
    "409": ("RESOURCE_CONFLICT", "Another call about the same is under way."),
    "429": ("REQUEST_LIMIT_EXCEEDED", "Too many requests: the rate limit is exceeded."),
    "500": ("INTERNAL_ERROR", "Something went wrong inside."),
    "503": ("TEMPORARILY_UNAVAILABLE", "The service is at times not there."),
}


@dataclass
class Fault:
    """One thing to do wrong.

    Attributes:
        kind: What.
        method: To calls of this method; None: of any.
        path: To calls in whose path this expression is found.
        body: To calls in whose JSON, written out, this expression is found.
        times: To so many calls; None: to all.
        skip: But let so many through first.
        seconds: How long a `latency` is.
        retry_after: Seconds that a 429 or 503 tells the client to wait.
        hits: How many calls it has hit.
    """

    kind: FaultKind
    method: str | None = None
    path: str = ""
    body: str = ""
    times: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    retry_after: int | None = None
    hits: int = 0

    def takes(self, request: Request) -> bool:
        """Say whether this call is hit, and count."""
        if self.method not in (None, request.method) or not re.search(self.path, request.path):
            return False
        if not re.search(self.body, json.dumps(dict(request.body))) or self.hits == self.times:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    @property
    def answer(self) -> Answer | None:
        """The error to answer with; None where the kind is not an error."""
        if self.kind not in _ERRORS:
            return None
        code, message = _ERRORS[self.kind]
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return Answer({"error_code": code, "message": message}, int(self.kind), headers)


class Faults:
    """The faults that are set; the first that fits a call hits it."""

    def __init__(self) -> None:
        """Start without any."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        kind: FaultKind,
        *,
        method: str | None = None,
        path: str = "",
        body: str = "",
        times: int | None = 1,
        skip: int = 0,
        seconds: float = 0.0,
        retry_after: int | None = None,
    ) -> Fault:
        """Set a fault; the arguments are the attributes of `Fault`.

        Returns:
            The fault, whose `hits` can be asserted.

        Raises:
            ValueError: If there is no such kind.
        """
        if kind not in get_args(FaultKind):
            msg = f"Unknown kind of fault {kind!r}; there are {', '.join(get_args(FaultKind))}."
            raise ValueError(msg)
        fault = Fault(kind, method, path, body, times, skip, seconds, retry_after)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._faults.clear()

    def hitting(self, request: Request) -> Fault | None:
        """Return the fault that hits this call, or None."""
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(request)), None)

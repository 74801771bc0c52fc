"""Being stopped by Ctrl-C, SIGTERM or a terminal that is closed, so that nobody on the way can swallow it.

Python raises `KeyboardInterrupt` at whatever place the process is just at. That may be inside of somebody's bare
`except:`, inside of a callback or a `__del__` (where Python prints "Exception ignored" and goes on), or inside of an
engine that makes an error of its own of it. So the request is remembered, too: what decides or records something asks
`check()` first, and the command line asks `requested()` at its end, whatever the command made of it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.05
_received: list[int] = []


def requested() -> bool:
    """Tell whether this process was asked to stop, and listens (see `listening`)."""
    return bool(_received)


def check() -> None:
    """Raise `KeyboardInterrupt` if this process was asked to stop, and somebody swallowed it."""
    if _received:
        raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Remember SIGINT, SIGTERM and SIGHUP, and raise `KeyboardInterrupt` for them; afterwards all is as before.

    SIGTERM, and the SIGHUP of a terminal that is closed, are taken as Ctrl-C is: the workspace is closed on the way
    out, and takes its children with it. What a process was started with as ignored, as SIGINT behind a shell's `&` and
    SIGHUP behind `nohup`, it goes on ignoring. Outside of the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    _received.clear()
    for number, handler in before.items():
        # An alarm that somebody else set up is theirs.
        if (number == signal.SIGALRM and handler is signal.SIG_DFL) or (
            number != signal.SIGALRM and handler is not signal.SIG_IGN
        ):
            signal.signal(number, _stop)
    sys.unraisablehook = _raise_again(hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if signal.getsignal(signal.SIGALRM) is _stop:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    _received.append(number)
    raise KeyboardInterrupt


def _raise_again(hook: Any) -> Any:
    """Return a hook for exceptions that nobody can catch: of a `__del__`, of a callback from C."""

    def told(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        # Raised from here it would be lost again: a moment later the process is somewhere else.
        if signal.getsignal(signal.SIGALRM) is _stop:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    return told

"""What a call with odd input may do: give something, or be refused by an error of ours; else the test fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlplatform.errors import PlatformError


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> PlatformError | None:
    """Return the error of ours by which a call is refused, which leads out and is short; None where it is not refused.

    Args:
        call: What is called.
        *arguments: With these.
        **options: And these.
    """
    try:
        call(*arguments, **options)
    except PlatformError as error:
        refused = error
    else:
        return None
    assert refused.hint, refused
    assert len(refused.message) < 20_000, "a message is read"
    return refused

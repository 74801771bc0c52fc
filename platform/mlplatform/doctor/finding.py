"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "problem", "cannot say"]


@dataclass(frozen=True)
class Finding:
    """What a check found about a thing.

    Attributes:
        check: What was checked.
        about: The table, model or file; empty: the use case as a whole.
        state: `ok`, `problem`, or `cannot say`, with the reason.
        found: What was found, as a sentence.
        way_out: What leads out of a problem.
    """

    check: str
    about: str
    state: State
    found: str
    way_out: str = ""

"""What the gate, a rollback and other changes of the champion say of themselves in their records."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mlplatform.ops.result import Details
from mlplatform.statistics.spending import Spending


class GateDetails(Details):
    """What the gate and a rollback say of themselves.

    Attributes:
        decision_id: The decision's; None if nothing was to be decided.
        kind: `gate`, `override`, `rollback` or `adoption`.
        outcome: What it came to.
        reason: Why, in words.
        challenger: The version decided about.
        champion: The champion it was compared with; None: there was none.
        rows_from: Where the rows come from that both were compared on.
        rows: How many those were.
        known_rows: How many labelled rows there were; more than `rows`, where those are a sample.
        checks: Every check, as `CheckResult.to_record` gives it, without bars of plots.
        spending: The error of the comparison with the champion; None: nothing was compared.
        steps: What was done, or would be, a line for each action.
        dry_run: Whether nothing was changed.
        hint: The way out, where the gate could not look.
    """

    decision_id: str | None = None
    kind: str = "gate"
    outcome: str = ""
    reason: str = ""
    challenger: int | None = None
    champion: int | None = None
    rows_from: str | None = None
    rows: int | None = None
    known_rows: int | None = None
    checks: list[dict[str, Any]] = Field(default_factory=list)
    spending: Spending | None = None
    steps: list[str] = Field(default_factory=list)
    dry_run: bool = False
    hint: str = ""

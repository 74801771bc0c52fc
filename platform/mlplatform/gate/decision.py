"""What the gate decided about a version, and the id by which it is decided and applied once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast

from mlplatform.config.gate import GateSettings
from mlplatform.gate.checks.base import CheckResult
from mlplatform.ops.records import GateEvent
from mlplatform.statistics.spending import PER_YEAR, Spending

Outcome = Literal["promoted", "rejected", "insufficient", "rolled back"]
Kind = Literal["gate", "override", "rollback", "adoption"]
_LATER = ("max_coverage_gap", "max_calibration_ratio")
MOVES: tuple[Outcome, ...] = ("promoted", "rolled back")
"""The outcomes that change who is champion."""


@dataclass(frozen=True)
class Decision:
    """What was decided about a version; a promotion or rollback is applied once, by its id.

    Attributes:
        decision_id: Made of what was decided about: deciding again gives the same.
        outcome: What is to happen.
        reason: Why, in words.
        challenger_version: The version decided about; of a rollback, the one gone back to.
        champion_version: The champion it was compared with, or that is rolled back; None: there was none.
        as_of: The time, in data time.
        evaluation: The frame: rows, tables with Delta versions, digest, where the rows come from.
        checks: Every check.
        kind: `gate`, `override` (promoted by hand whatever the checks said), `rollback` or `adoption`.
        decided_by: Who ran it.
        artifact_digest: Digest of the version's files as they were judged; empty: not known.
        spending: The error of the comparison with the champion; None: there was no comparison, and nothing was spent.
    """

    decision_id: str
    outcome: Outcome
    reason: str
    challenger_version: int
    champion_version: int | None
    as_of: datetime
    evaluation: dict[str, Any]
    checks: list[CheckResult]
    kind: Kind = "gate"
    decided_by: str = ""
    artifact_digest: str = ""
    spending: Spending | None = None

    @classmethod
    def of(cls, event: GateEvent) -> Decision:
        """Return the decision that an event on record is about."""
        return cls(
            decision_id=event.decision_id,
            outcome=cast("Outcome", event.outcome),
            reason=event.reason,
            challenger_version=event.challenger_version,
            champion_version=event.champion_version,
            as_of=event.as_of,
            evaluation=event.evaluation,
            checks=[CheckResult.of(check) for check in event.checks],
            kind=cast("Kind", event.kind),
            decided_by=event.decided_by or "",
            artifact_digest=event.artifact_digest or "",
            spending=Spending(**event.spending) if event.spending else None,
        )

    def to_json(self) -> str:
        """Return the decision as JSON."""
        return json.dumps(asdict(self), default=str)


def decision_id(
    model: str, challenger: int, champion: int | None, as_of: datetime | None, frame: str, *what: str
) -> str:
    """Return the id of a decision about two versions on these rows: again gives the same id.

    Args:
        model: The registered model.
        challenger: The version decided about.
        champion: The champion.
        as_of: The time; None where it makes no difference.
        frame: Digest of the rows.
        *what: What else it depends on: the limits; of a manual decision the reason, and the events before it.
    """
    text = json.dumps([model, challenger, champion, as_of.isoformat() if as_of else None, frame, *what])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def limits_text(limits: GateSettings) -> str:
    """Return the limits as they go into a decision's id.

    Without `max_rows`, which came later: which rows it lets through shows in their digest, and decisions made before
    keep their ids. So do they where limits that came later are not set, and those that have an error of their own, as
    all had before there was another rule.
    """
    later = {"max_rows"} if limits.error_per == PER_YEAR else {"max_rows", "error_per"}
    unset = {name for name in _LATER if getattr(limits, name) is None}
    return limits.model_dump_json(exclude=later | unset)

"""The champion/challenger gate: both models on the same rows, enough evidence, and it fails closed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from mlplatform.config import GateSettings, UseCaseSettings
from mlplatform.models import metrics
from mlplatform.models.bootstrap import paired_difference
from mlplatform.models.metrics import Vector

Status = Literal["pass", "fail", "skipped"]
Outcome = Literal["promoted", "rejected", "insufficient"]


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on: labels known by `as_of` that neither model was trained on, and predictions.

    Attributes:
        labels: Shape (rows,).
        challenger: Shape (rows,), the challenger's predictions.
        champion: Shape (rows,), the champion's on the same rows; None when there is no champion.
        source: Where the rows come from, and the Delta versions of what they were read from.
    """

    labels: Vector
    challenger: Vector
    champion: Vector | None
    source: dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One check of the gate: its numbers, its limit, and how it ended."""

    name: str
    status: Status
    detail: str
    value: float | None = None
    limit: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What the gate decided; a promotion is applied once, by its id."""

    decision_id: str
    outcome: Outcome
    reason: str
    challenger_version: int
    champion_version: int | None
    as_of: datetime
    evaluation: dict[str, Any]
    checks: list[Check]

    def to_json(self) -> str:
        """Return the decision as JSON."""
        return json.dumps(asdict(self), default=str)


def decision_id(
    model: str, challenger: int, champion: int | None, as_of: datetime, frame: str, limits: str = ""
) -> str:
    """Return the id of the decision about two versions on these rows by these limits: again gives the same id."""
    text = json.dumps([model, challenger, champion, as_of.isoformat(), frame, limits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ChampionGate:
    """Decides whether a challenger becomes champion. A use case may subclass it and add checks.

    The rule, in order:

    1. Enough evidence: `gate.min_rows` rows, and `gate.min_positives` of each class; else `insufficient`.
    2. Every prediction is finite; else rejected.
    3. The primary metric reaches `gate.floor`.
    4. It beats a predictor that knows nothing: the lower end of its bootstrap interval against one.
    5. Against a champion: the lower end of the paired interval of the gain lies above `-gate.margin`.
    6. `gate.max_calibration_error`, where it is set.

    The first champion has 1-4 and 6.
    """

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the use case's limits."""
        self.task = settings.task
        self.metric = metrics.get(settings.training.metric)
        self.limits: GateSettings = settings.gate

    def decide(
        self,
        evidence: Evidence,
        *,
        identity: str,
        challenger: int,
        champion: int | None,
        as_of: datetime,
    ) -> Decision:
        """Decide about a challenger.

        Args:
            evidence: The rows and predictions.
            identity: The decision's id.
            challenger: Version of the challenger.
            champion: Version of the champion; None when the registry says that there is none.
            as_of: The time of the decision.
        """
        if champion is not None and evidence.champion is None:
            # Never to be taken for "there is no champion": the rule for the first one is a milder one.
            evidence = replace(evidence, champion=np.full(evidence.labels.size, np.nan))
        checks: list[Check] = []
        enough = self._enough(evidence)
        checks.append(enough)
        outcome: Outcome
        if enough.status != "pass":
            outcome, reason = "insufficient", enough.detail
        else:
            for check in self.checks():
                checks.append(self._guarded(check, evidence))
                if checks[-1].name == "finite_predictions" and checks[-1].status == "fail":
                    break
            failed = [check for check in checks if check.status == "fail"]
            outcome = "rejected" if failed else "promoted"
            reason = "; ".join(check.detail for check in failed) or self._why_promoted(checks)
        return Decision(
            decision_id=identity,
            outcome=outcome,
            reason=reason,
            challenger_version=challenger,
            champion_version=champion,
            as_of=as_of,
            evaluation={"rows": int(evidence.labels.size), **evidence.source},
            checks=checks,
        )

    def checks(self) -> list[Callable[[Evidence], Check]]:
        """Return the checks in order; a subclass adds its own at the end."""
        return [self.finite_predictions, self.floor, self.beats_trivial, self.beats_champion, self.calibration]

    def _guarded(self, check: Callable[[Evidence], Check], evidence: Evidence) -> Check:
        # A check that errs counts as failed: the gate never promotes because it could not look.
        try:
            return check(evidence)
        except Exception as error:  # noqa: BLE001
            name = getattr(check, "__name__", type(check).__name__)
            return Check(name, "fail", f"check {name} failed with {type(error).__name__}: {error}")

    def _enough(self, evidence: Evidence) -> Check:
        rows = int(evidence.labels.size)
        numbers = {"rows": float(rows)}
        if rows < self.limits.min_rows:
            return Check(
                "evidence",
                "fail",
                f"{rows} labelled rows, {self.limits.min_rows} are needed",
                rows,
                self.limits.min_rows,
            )
        if self.task == "classification":
            rarest = int(min((evidence.labels == 1).sum(), (evidence.labels == 0).sum()))
            numbers["rarest_class"] = float(rarest)
            if rarest < self.limits.min_positives:
                return Check(
                    "evidence",
                    "fail",
                    f"{rarest} rows of the rarer class, {self.limits.min_positives} are needed",
                    rarest,
                    self.limits.min_positives,
                    numbers,
                )
        return Check("evidence", "pass", f"{rows} labelled rows", rows, self.limits.min_rows, numbers)

    def finite_predictions(self, evidence: Evidence) -> Check:
        """Refuse NaN and infinity: no metric may be computed around them."""
        vectors = {"label": evidence.labels, "challenger": evidence.challenger}
        if evidence.champion is not None:
            vectors["champion"] = evidence.champion
        bad = {name: int((~np.isfinite(vector)).sum()) for name, vector in vectors.items()}
        wrong = {name: count for name, count in bad.items() if count}
        if wrong:
            listed = ", ".join(f"{count} of {name}" for name, count in wrong.items())
            return Check("finite_predictions", "fail", f"values that are not finite: {listed}")
        return Check("finite_predictions", "pass", "all values are finite")

    def floor(self, evidence: Evidence) -> Check:
        """Compare the primary metric with its absolute floor."""
        value = self._value(evidence.labels, evidence.challenger)
        reached = self.metric.gain(value, self.limits.floor) >= 0
        word = "at least" if self.metric.greater_is_better else "at most"
        return Check(
            "floor",
            "pass" if reached else "fail",
            f"{self.metric.name} {value:.4f}, {word} {self.limits.floor:.4f} is needed",
            value,
            self.limits.floor,
        )

    def beats_trivial(self, evidence: Evidence) -> Check:
        """Compare with a predictor that knows nothing but the average."""
        labels = evidence.labels
        # The constant that this metric likes best: the median for absolute errors, the mean for the others.
        center = np.median(labels) if self.metric.name == "mae" else labels.mean()
        difference = paired_difference(
            self.metric,
            labels,
            evidence.challenger,
            np.full(labels.size, center),
            stratify=self.task == "classification",
            confidence=self.limits.confidence,
            draws=self.limits.draws,
            seed=self.limits.seed,
        )
        return Check(
            "beats_trivial",
            "pass" if difference.low > 0 else "fail",
            f"gain over a constant {difference.gain:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]",
            difference.low,
            0.0,
            _numbers(asdict(difference)),
        )

    def beats_champion(self, evidence: Evidence) -> Check:
        """Compare with the champion on the same rows."""
        if evidence.champion is None:
            return Check("beats_champion", "skipped", "there is no champion yet")
        difference = paired_difference(
            self.metric,
            evidence.labels,
            evidence.challenger,
            evidence.champion,
            stratify=self.task == "classification",
            confidence=self.limits.confidence,
            draws=self.limits.draws,
            seed=self.limits.seed,
        )
        won = difference.low > -self.limits.margin
        value, other = (self._value(evidence.labels, it) for it in (evidence.challenger, evidence.champion))
        return Check(
            "beats_champion",
            "pass" if won else "fail",
            f"{self.metric.name} {value:.4f} against the champion's {other:.4f}: gain {difference.gain:+.4f} "
            f"[{difference.low:+.4f}, {difference.high:+.4f}], better in {difference.probability_better:.0%} of draws",
            difference.low,
            -self.limits.margin,
            {**_numbers(asdict(difference)), "challenger": value, "champion": other},
        )

    def calibration(self, evidence: Evidence) -> Check:
        """Limit the expected calibration error, where the settings do."""
        limit = self.limits.max_calibration_error
        if limit is None or self.task != "classification":
            return Check("calibration", "skipped", "no limit is set")
        value = metrics.expected_calibration_error(evidence.labels, evidence.challenger)
        return Check(
            "calibration",
            "pass" if value <= limit else "fail",
            f"expected calibration error {value:.4f}, at most {limit:.4f} is needed",
            value,
            limit,
        )

    def _value(self, labels: Vector, predictions: Vector) -> float:
        value = self.metric.compute(labels, predictions)
        if not math.isfinite(value):
            raise ArithmeticError(f"{self.metric.name} is {value}")
        return value

    def _why_promoted(self, checks: list[Check]) -> str:
        told = [
            check.detail for check in checks if check.name in ("beats_champion", "floor") and check.status == "pass"
        ]
        return told[-1]


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}

"""Whether there is anything to decide on: enough rows, enough of each class, and numbers that are numbers."""

from __future__ import annotations

import numpy as np

from mlplatform.config.gate import GateSettings
from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task

_ROUNDED = 1e-3
"""How far what adds up to 1 may be off: boosters compute in 32 bits."""


def rarest_class(labels: Vector) -> int:
    """Return the rows of the rarer of the two classes."""
    return int(min((labels == 1).sum(), (labels == 0).sum()))


def enough(rows: int, rarest: int, limits: GateSettings, task: Task) -> bool:
    """Tell whether so many labels, so many of them of the rarest class, are enough for a decision."""
    return rows >= limits.min_rows and (task.predicts_amounts or rarest >= limits.min_positives)


class EnoughEvidence(GateCheck):
    """`gate.min_rows` rows, and `gate.min_positives` of each class; below it nothing is decided."""

    name = "evidence"

    def run(self, evidence: Evidence) -> CheckResult:
        """Count."""
        rows, limits = int(evidence.labels.size), self.limits
        labelled = f"{rows} labelled rows{evidence.of_how_many}"
        if not rows >= limits.min_rows:
            detail = f"{labelled}, {limits.min_rows} are needed"
            return self.verdict(False, detail, rows, limits.min_rows, rows=rows)
        task = self.settings.kind_of_task
        if task.predicts_amounts:
            return self.verdict(True, labelled, rows, limits.min_rows, rows=rows)
        which, rarest = "rarer class", evidence.rarest_class if task.is_binary else 0
        if task.is_multiclass:
            name, rarest = evidence.rarest_of(task.classes)
            which = f"rarest class ({name})"
        if np.isfinite(evidence.labels).all() and not rarest >= limits.min_positives:
            way_out = f"; the rows are a sample{evidence.of_how_many}: gate.max_rows" if evidence.of_how_many else ""
            detail = f"{rarest} rows of the {which}, {limits.min_positives} are needed{way_out}"
            return self.verdict(False, detail, rarest, limits.min_positives, rows=rows, rarest_class=rarest)
        detail = f"{labelled}, {rarest} of the {which}"
        return self.verdict(True, detail, rows, limits.min_rows, rows=rows, rarest_class=rarest)


class FinitePredictions(GateCheck):
    """No NaN, no infinity, one prediction per row: no metric may be computed around them."""

    name = "finite_predictions"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at labels and predictions."""
        vectors = {"label": evidence.labels, "challenger": evidence.challenger}
        if evidence.champion is not None:
            vectors["champion"] = evidence.champion
        lengths = {name: len(vector) for name, vector in vectors.items()}
        if len(set(lengths.values())) > 1:
            return self.verdict(False, f"different numbers of rows: {lengths}")
        bad = {
            name: int((~np.isfinite(vector)).reshape(len(vector), -1).any(axis=1).sum())
            for name, vector in vectors.items()
            if vector.size
        }
        wrong = ", ".join(f"{count} of {name}" for name, count in bad.items() if count)
        if wrong:
            return self.verdict(False, f"values that are not finite: {wrong}")
        return self.verdict(True, "all values are finite")


class PredictionRange(GateCheck):
    """No prediction of either model lies below what the task allows: an expected count is not below 0."""

    name = "prediction_range"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at the predictions."""
        smallest = self.settings.kind_of_task.smallest_prediction
        if smallest is None:
            return self.skipped("any finite number is a prediction")
        vectors = {"challenger": evidence.challenger}
        if evidence.champion is not None:
            vectors["champion"] = evidence.champion
        bad = {name: int((~(vector >= smallest)).sum()) for name, vector in vectors.items()}
        wrong = ", ".join(f"{count} of {name}" for name, count in bad.items() if count)
        lowest = float(min(vector.min() for vector in vectors.values()))
        if wrong:
            return self.verdict(False, f"predictions below {smallest:g}: {wrong}", lowest, smallest)
        return self.verdict(True, f"no prediction is below {smallest:g}", lowest, smallest)


class Probabilities(GateCheck):
    """Of a classification every prediction lies between 0 and 1: what is none cannot be taken at its word.

    Of several classes each row has a probability of each, and they add up to 1.
    """

    name = "probabilities"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at the challenger's predictions; those of the champion are in use already."""
        task = self.settings.kind_of_task
        if not task.predicts_probabilities:
            return self.skipped(f"it is for probabilities, and this is {task.noun}")
        predictions = evidence.challenger
        if task.is_multiclass:
            return self._of_classes(evidence, len(task.classes))
        outside = int((~((predictions >= 0) & (predictions <= 1))).sum())
        low, high = float(predictions.min()), float(predictions.max())
        detail = f"predictions from {low:.4g} to {high:.4g}"
        if outside:
            detail = f"{outside} of {predictions.size} predictions lie outside of 0 to 1: {detail}"
        return self.verdict(not outside, detail, outside, 0.0)

    def _of_classes(self, evidence: Evidence, many: int) -> CheckResult:
        """Look at both models: the metrics of several classes need a column for each of them."""
        vectors, worst, bad = {"challenger": evidence.challenger}, 0.0, {}
        if evidence.champion is not None:
            vectors["champion"] = evidence.champion
        for name, matrix in vectors.items():
            if matrix.shape != (evidence.labels.size, many):
                return self.verdict(False, f"{name}: shape {matrix.shape}, not {(evidence.labels.size, many)}")
            off = np.maximum(np.abs(matrix.sum(axis=1) - 1), np.maximum(-matrix.min(axis=1), matrix.max(axis=1) - 1))
            worst = max(worst, float(off.max(initial=0.0)))
            bad[name] = int((~(off <= _ROUNDED)).sum())
        wrong = ", ".join(f"{count} of {name}" for name, count in bad.items() if count)
        if wrong:
            return self.verdict(False, f"rows without probabilities of {many} classes: {wrong}", worst, _ROUNDED)
        return self.verdict(True, f"all rows have probabilities of {many} classes", worst, _ROUNDED)

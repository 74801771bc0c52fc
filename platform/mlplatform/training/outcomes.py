"""What has come of predictions, as a recalibration and its gate take it: rows, and of each an outcome or a rate.

A basis says where outcomes come from. Realised ones are labels. Where labels take long, what is known before may tell
the rate at which they will come: such a basis gives a rate for each row, how much it is worth, and how far it may be
off.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from mlplatform.ops.context import StageContext
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics import recalibration
from mlplatform.statistics.metrics import Vector
from mlplatform.training.label_frame import KnownLabels, LabelFrame
from mlplatform.training.recalibrated import Mask

REALISED = "realised"


@dataclass(frozen=True)
class RowOutcomes:
    """What has come of rows.

    Attributes:
        frame: The rows: keys, prediction time, spine columns; label and `label_known_at` where they are known.
        targets: The outcome of each, shape (rows,): 0 or 1, or the rate that is expected.
        weights: How much of one known outcome each is worth, shape (rows,), in (0, 1].
        ranked: Whether targets tell rows of one time apart; rates of whole groups do not.
        expected: Whether targets are rates that are expected, not outcomes.
        low: The lowest rate that each may have, shape (rows,), all rows at once; None: targets are not in doubt.
        high: The highest.
        fingerprint: Of rows and outcomes as the basis gave them; empty: as they are now.
    """

    frame: LabelFrame
    targets: Vector
    weights: Vector
    ranked: bool = True
    expected: bool = False
    low: Vector | None = None
    high: Vector | None = None
    fingerprint: str = ""

    @property
    def events(self) -> float:
        """Events among them, as far as they count."""
        return float(self.weights @ self.targets)

    @property
    def others(self) -> float:
        """Outcomes that were none, as far as they count."""
        return float(self.weights @ (1 - self.targets))

    @property
    def digest(self) -> str:
        """Fingerprint of rows and outcomes, as the basis gave them."""
        if self.fingerprint:
            return self.fingerprint
        total = hashlib.sha256(self.frame.digest.encode())
        for vector in (self.targets, self.weights):
            total.update(np.ascontiguousarray(vector, dtype=np.float64).tobytes())
        return total.hexdigest()[:16]

    def spread(self, scores: Vector) -> RowOutcomes:
        """Return the rate of each group shared among its rows as a model ranks them; single outcomes as they are.

        A rate says how many of a group's rows will be events, and not which. Were each row given the group's rate, a
        model would look the worse the more it tells rows apart. So the odds of its scores are moved, group by group, to
        where their mean is the rate: what follows from the rates if the model ranks rows as well as ever.

        Args:
            scores: What the model says of the rows, shape (rows,).
        """
        if self.ranked or not self.targets.size:
            return self
        ends = [self.targets if end is None else end for end in (self.low, self.high)]
        _, group = np.unique(np.column_stack([self.targets, *ends]), axis=0, return_inverse=True)
        shared = [np.empty(scores.size) for _ in range(3)]
        for number in np.unique(group):
            mine = group.reshape(-1) == number
            for rates, of_rows in zip((self.targets, *ends), shared, strict=True):
                rate = float(rates[mine][0])
                of_rows[mine] = recalibration.to_rate(scores[mine], rate, self.weights[mine])(scores[mine])
        low, high = (
            None if end is None else of_rows for end, of_rows in zip((self.low, self.high), shared[1:], strict=True)
        )
        return replace(self, targets=shared[0], low=low, high=high, fingerprint=self.digest)

    def part(self, mask: Mask) -> RowOutcomes:
        """Return some of the rows.

        Args:
            mask: Which ones, shape (rows,).
        """
        rows = self.frame.rows.filter(pa.array(mask)).combine_chunks()
        return replace(
            self,
            frame=replace(self.frame, rows=rows),
            targets=self.targets[mask],
            weights=self.weights[mask],
            low=None if self.low is None else self.low[mask],
            high=None if self.high is None else self.high[mask],
        )


class Basis(Protocol):
    """Where outcomes come from."""

    @property
    def name(self) -> str:
        """What it is called in settings, tags and records."""
        ...

    def outcomes(
        self, context: StageContext, spine: LabelSpine, *, after: datetime, known_after: datetime | None
    ) -> RowOutcomes:
        """Return what is known by `as_of` of rows that no estimator was fitted on; nothing that became known later.

        Args:
            context: The run.
            spine: The label spine.
            after: Only predictions later than this.
            known_after: Only what became known after this; None: all.

        Raises:
            LabelError: If nothing is known.
        """
        ...


@dataclass(frozen=True)
class RealisedBasis:
    """Labels, each from when it was known."""

    name: str = REALISED

    def outcomes(
        self, context: StageContext, spine: LabelSpine, *, after: datetime, known_after: datetime | None
    ) -> RowOutcomes:
        """Return the labels known by `as_of`; of more than `gate.max_rows` a sample, drawn by the engine.

        Raises:
            LabelError: If none is.
        """
        limits = context.settings.gate
        known = KnownLabels.at(context.ws, context.namespace, spine, context.as_of, after=after)
        if known_after is not None:
            known = known.newer_than(known_after)
        return self.of(known.frame(at_most=limits.max_rows, seed=limits.seed), spine)

    @staticmethod
    def of(frame: LabelFrame, spine: LabelSpine) -> RowOutcomes:
        """Return labelled rows as outcomes."""
        labels = frame.rows.column(spine.label).to_numpy().astype(np.float64)
        return RowOutcomes(frame, labels, np.ones(labels.size))

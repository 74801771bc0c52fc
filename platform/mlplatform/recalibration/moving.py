"""Holding a champion's probabilities against outcomes: which rows it learns from, and how they are to be moved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mlplatform.as_of import Duration
from mlplatform.errors import LabelError, StageError
from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.gate import evaluation
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics import recalibration
from mlplatform.statistics.metrics import Vector
from mlplatform.statistics.recalibration import Fitted, Method, OddsMove
from mlplatform.training.outcomes import Basis, RowOutcomes
from mlplatform.training.recalibrated import (
    Learned,
    Mask,
    Recalibration,
    learned_early,
    learns_from,
    merged,
    recalibration_of,
    splitting_columns,
)
from mlplatform.training.version_tags import TRAINED_THROUGH_TAG, time_of


class CannotMoveError(StageError):
    """A champion whose probabilities no move can mend."""


@dataclass(frozen=True)
class Moving:
    """A champion held against outcomes.

    Attributes:
        origin: The champion.
        outcomes: What has come of rows.
        scores: What it says of them, shape (rows,).
        learns: Which of them are learned from, shape (rows,).
        fitted: What follows.
        recalibration: How a version of it comes about.
        key: Fingerprint of all that it is made of: made again, it is the same version.
    """

    origin: ModelVersion
    outcomes: RowOutcomes
    scores: Vector
    learns: Mask
    fitted: Fitted
    recalibration: Recalibration
    key: str

    @property
    def moved(self) -> Vector:
        """What the new version says of the rows, shape (rows,)."""
        return self.scores if self.fitted.move is None else self.fitted.move(self.scores)

    def held_out(self) -> dict[str, float]:
        """Return Brier score and log loss on the rows that are not learned from, before and after."""
        kept = ~self.learns
        if not kept.any():
            return {}
        targets, weights = self.outcomes.targets[kept], self.outcomes.weights[kept]
        found = {}
        for when, scores in (("before", self.scores[kept]), ("after", self.moved[kept])):
            clipped = np.clip(scores, 1e-15, 1 - 1e-15)
            squared = targets * (1 - scores) ** 2 + (1 - targets) * scores**2
            surprise = -(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped))
            found[f"brier_{when}"] = float(weights @ squared / weights.sum())
            found[f"log_loss_{when}"] = float(weights @ surprise / weights.sum())
        return found


def hold_against(
    context: StageContext,
    spine: LabelSpine,
    origin: ModelVersion,
    basis: Basis,
    method: Method,
    trusted_types: Collection[str] = (),
) -> Moving:
    """Score the rows of which an outcome is known with the champion, and find out how it is to be moved.

    Args:
        context: The run.
        spine: The label spine.
        origin: The champion.
        basis: Where outcomes come from.
        method: How it may be moved.
        trusted_types: Types that its stored model may hold beyond the platform's own.

    Raises:
        LabelError: If too few outcomes are known.
        CannotMoveError: If its ranking is turned round.
        StageError: If it predicts what are no probabilities.
    """
    options = context.settings.recalibration
    after = time_of(origin, TRAINED_THROUGH_TAG)
    window = options.window or context.settings.monitoring.performance_window
    known_after = Duration.parse(window).before(context.as_of)
    outcomes = basis.outcomes(context, spine, after=after, known_after=known_after)
    early = learned_early([origin], outcomes.frame.rows, spine)
    outcomes = outcomes.part(~early) if early.any() else outcomes
    context.progress(f"recalibration: {outcomes.frame} by {basis.name} outcomes")
    scores = evaluation.score(context.ws, spine, origin, outcomes.frame, trusted_types)[0]
    _check(origin, scores)
    outcomes = outcomes.spread(scores)
    rows = outcomes.frame.rows
    columns = splitting_columns(spine, context.settings.gate.cluster_by, rows.column_names)
    share = 1 - options.holdout
    learns = learns_from(rows, columns, share)
    learned = outcomes.part(learns)
    if min(learned.events, learned.others) < options.min_events:
        raise LabelError(
            f"{learned.events:.0f} events and {learned.others:.0f} others became known since {known_after:%Y-%m-%d}, "
            f"of rows to learn from; a recalibration needs {options.min_events} of either.",
            hint="Choose a later --as-of, lengthen recalibration.window, or lower recalibration.min_events.",
        )
    try:
        fitted = recalibration.fit(
            scores[learns], learned.targets, learned.weights, method=method, ranked=outcomes.ranked
        )
    except ValueError as error:
        raise CannotMoveError(
            f"Version {origin.version} of {origin.name} cannot be recalibrated: {error}.",
            hint=f"Train a new one: mlplatform run {context.name} --stage train, then mlplatform gate {context.name}; "
            "or choose another --method.",
        ) from error
    before = recalibration_of(origin)
    stretch = Learned(after.isoformat(), context.as_of.isoformat(), columns, share)
    description = Recalibration(
        origin=origin.version,
        digest=origin.tags.get(DIGEST_TAG, ""),
        basis=basis.name,
        method="odds" if isinstance(fitted.move, OddsMove) else "isotonic",
        known_after=known_after,
        learned=merged(before.learned if before else (), stretch),
    )
    key = _key(origin, description, outcomes, fitted)
    return Moving(origin, outcomes, scores, learns, fitted, description, key)


def _check(origin: ModelVersion, scores: Vector) -> None:
    wrong = int((~((scores >= 0) & (scores <= 1))).sum())
    if wrong:
        raise StageError(
            f"Version {origin.version} of {origin.name} predicts no probability for {wrong} of {scores.size} rows.",
            hint="Only probabilities can be recalibrated; train a model whose predictions are in [0, 1].",
        )


def _key(origin: ModelVersion, made: Recalibration, outcomes: RowOutcomes, fitted: Fitted) -> str:
    """Return the fingerprint of a recalibration: origin, rows, outcomes, and the move that follows from them."""
    known_after: datetime | None = made.known_after
    parts = [
        "recalibration",
        recalibration.FORMAT,
        origin.version,
        origin.tags.get(DIGEST_TAG, ""),
        made.basis,
        outcomes.digest,
        [[item.columns, item.share] for item in made.learned],
        None if fitted.move is None else fitted.move.to_dict(),
        None if known_after is None else known_after.isoformat(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

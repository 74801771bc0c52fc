"""What the stage `score` says of itself in its record."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, NamedTuple

from pydantic import BaseModel

from mlplatform.ops.result import Details, Moment


class ScoringKey(NamedTuple):
    """What the predictions of one scoring are known by in the table."""

    as_of: datetime
    alias: str
    version: int
    run_id: str


class Shadow(BaseModel):
    """The challenger's part of a scoring.

    Attributes:
        model_version: The challenger.
        rows: How many predictions it made.
        failed: Why it could not score; None where it could.
        mean_prediction: Of all its predictions at this time.
        unscored: How many rows it could not predict; None where there were none.
    """

    model_version: int
    rows: int
    failed: str | None = None
    mean_prediction: float | None = None
    unscored: int | None = None


class CanaryPart(BaseModel):
    """What a challenger decided for its share of the entities.

    Attributes:
        model_version: The challenger.
        share: The share, from 0 to 1.
        rows: How many predictions it made, which are acted on in place of the champion's.
        failed: Why it could not score, so that the champion decided for all; None where it could.
        unscored: How many rows it could not predict, for which the champion decided; None where there were none.
    """

    model_version: int
    share: float
    rows: int
    failed: str | None = None
    unscored: int | None = None


class LostScoring(BaseModel):
    """A scoring whose predictions are gone and could not be made again.

    Attributes:
        as_of: Its time.
        alias: As which the version had scored.
        model_version: The version.
        rows: How many predictions it had made.
        why: Why they could not be made again.
    """

    as_of: Moment
    alias: str
    model_version: int
    rows: int
    why: str


class Restored(BaseModel):
    """Predictions that were gone, and what became of them.

    Attributes:
        rows: Predictions that were made again.
        recorded: Predictions that are on record in runs.
        scorings: Those whose predictions were made again, as `ScoringKey` names them.
        failed: Those whose predictions could not be.
    """

    rows: int
    recorded: int
    scorings: list[tuple[Moment, str, int, str]] = []
    failed: list[LostScoring] = []


class UnscoredBefore(BaseModel):
    """Rows that became due before the first scoring.

    Attributes:
        until: Where scoring began.
        rows: Rows without a prediction.
        without_label: Of these, those whose label is not known yet.
    """

    until: Moment
    rows: int
    without_label: int


class ScoreDetails(Details):
    """What a scoring did.

    Attributes:
        alias: With whose version; None where predictions were only made again.
        restored: Predictions that were gone; None where none were.
        not_in_population: Due rows that the use case does not score.
        model_version: Which version scored.
        mean_prediction: Of all its predictions at this time.
        unscored: How many rows it could not predict: they are in `gold_unscored`; None where there were none.
        unscored_reasons: Why, for some of them.
        since: From where it was asked to score; None: from the scoring before.
        learned_through: With `since`: up to which prediction time the version had learned.
        learned_rows: With `since`: how many of the rows it had learned from.
        trained_later: Where a version trained as of later than `as_of` was let score: as of when. What it predicted
            nobody could have predicted then, and is not counted as performance.
        shadow: The challenger's part; None where there was none.
        canary: What a challenger decided for a share of the entities; None where none did.
        unscored_before: Rows that became due before the first scoring; None where nobody looked.
        complete_since: All rows with a prediction time after this, up to `as_of`, that were in the spine have been
            looked at by now: where scoring began. None where that is not so, or nobody recorded it.
        population_code: Digest of the code that said whom to score.
        refinings: The refinings that had ended last: `run@start` of each. Records of early versions name runs only.
    """

    internal: ClassVar[frozenset[str]] = frozenset(
        {"tables", "collected", "complete_since", "population_code", "refinings"}
    )

    alias: str | None = None
    restored: Restored | None = None
    not_in_population: int | None = None
    model_version: int | None = None
    mean_prediction: float | None = None
    unscored: int | None = None
    unscored_reasons: tuple[str, ...] = ()
    since: Moment | None = None
    learned_through: str | None = None
    learned_rows: int | None = None
    trained_later: Moment | None = None
    shadow: Shadow | None = None
    canary: CanaryPart | None = None
    unscored_before: UnscoredBefore | None = None
    complete_since: Moment | None = None
    population_code: str | None = None
    refinings: tuple[str, ...] = ()

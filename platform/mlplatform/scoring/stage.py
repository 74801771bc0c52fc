"""Score: the entities whose prediction time has come since the last scoring, appended exactly once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform import stopping
from mlplatform.as_of import parse_as_of, shown
from mlplatform.errors import PlatformError, TableError, UsageError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.gate import champion as champions
from mlplatform.gate import first_steps
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.scoring import lost_predictions
from mlplatform.scoring.details import ScoreDetails, Shadow
from mlplatform.scoring.due import Stretch, count_unscored, due_rows, first_scoring, first_window_start
from mlplatform.scoring.lost_predictions import Scoring
from mlplatform.scoring.predictions import (
    LATEST_PREDICTIONS,
    PREDICTIONS,
    Predictor,
    create_tables,
    mean_prediction,
)
from mlplatform.scoring.scorer import BatchScorer
from mlplatform.training.version_tags import TRAINED_THROUGH_TAG

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score(Stage[ScoreDetails]):
    """Entities that are due become predictions; predictions that are gone with their table are made again first.

    Attributes:
        scorer: Whom to score.
        spine: The label spine.
        functions: The feature functions.
        trusted_types: Types beyond the platform's own allow-list that a model may hold.
        alias: Score with this alias' version only; None: the champion, and beside it, in the shadow, the challenger,
            where there is one and `scoring.shadow` is set; its predictions are measured and never acted on.
        since: Score all rows with a prediction time in (since, as_of] that no champion has predicted, those before the
            first scoring included, with one version.
        restore_only: Only make predictions again that are gone.
    """

    name: ClassVar[str] = lost_predictions.STAGE

    scorer: BatchScorer
    spine: LabelSpine
    functions: tuple[FeatureFunctionSpec, ...] = ()
    trusted_types: tuple[str, ...] = ()
    alias: str | None = None
    since: datetime | None = None
    restore_only: bool = False

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the spine and the labels; the feature tables are those that the model version names."""
        return names.gold(SPINE), names.gold(LABELS)

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the table of predictions, and the view of the latest."""
        return names.gold(PREDICTIONS), names.gold(LATEST_PREDICTIONS)

    def create_tables(self, context: StageContext) -> None:
        """Create the table of predictions and its view if they do not exist."""
        create_tables(context.ws, context.namespace, self.spine)

    def due(self, context: StageContext) -> Self | None:
        """Scoring is due once for each `as_of` while there is a champion, and again where predictions are gone."""
        if CHAMPION not in context.ws.registry.aliases(context.model):
            return None
        runs = context.log.runs_of(self.name, ScoreDetails)
        # What was asked for since a time is beside the scoring that is due.
        if all(run.details.since for run in runs if run.ended_well and run.as_of == context.as_of):
            return self
        return replace(self, restore_only=True) if lost_predictions.find(context) else None

    def run(self, context: StageContext) -> StageResult[ScoreDetails]:
        """Score the rows due at `as_of`.

        Raises:
            StageError: If no version has the alias.
            UsageError: If `since` does not lie before `as_of`.
        """
        if self.since is not None and self.since >= context.as_of:
            raise UsageError(
                f"Rows since {shown(self.since)} cannot be scored as of {shown(context.as_of)}.",
                hint="--since lies before --as-of: rows with a prediction time between them are scored.",
            )
        register_functions(context.ws, context.namespace, self.functions)
        aliases = context.ws.registry.aliases(context.model)
        wanted = self.alias or CHAMPION
        if wanted == CHAMPION:
            champions.require_known(context.ws, context.namespace, aliases)
        if wanted not in aliases:
            raise first_steps.without(context.ws, context.namespace, wanted, so="nothing can score")
        lost = lost_predictions.find(context)
        self.create_tables(context)
        details = ScoreDetails(alias=wanted)
        result = StageResult(details=details)
        lacking: list[Stretch] = []
        if lost:
            lacking = lost_predictions.restore(context, lost, lambda item: self._score_again(context, item), details)
        predictions = context.namespace.gold(PREDICTIONS)
        markers.keep(context, result, predictions)
        if self.restore_only:
            details.alias = None
            return result
        scored = self._score(context, result, aliases, wanted, lacking)
        markers.keep(context, result, predictions)
        if not scored and not lost:
            result.skipped = f"no prediction became due by {shown(context.as_of)}"
        return result

    def _score(
        self,
        context: StageContext,
        result: StageResult[ScoreDetails],
        aliases: dict[str, int],
        wanted: str,
        lacking: list[Stretch],
    ) -> int:
        """Score what is due; return how many rows that are."""
        details, spine = result.details, context.namespace.gold(SPINE)
        start = self.since if self.since is not None else first_window_start(context)
        rows, spine_version = due_rows(context, self.spine, start, lacking=() if self.since is not None else lacking)
        population = self.scorer.population(rows)
        result.inputs[str(spine)] = spine_version
        details.tables = {**details.tables, spine.name: context.ws.tables.describe(spine).id}
        result.rows_in = rows.num_rows
        details.not_in_population = rows.num_rows - population.num_rows
        version = champions.read(context.ws, context.namespace, wanted, aliases[wanted])
        mark = "" if self.since is None else "since"
        result.rows_out = self._predictor(context, version, wanted, mark).predict(population)
        details.model_version = version.version
        details.mean_prediction = mean_prediction(context, version)
        if self.since is not None:
            details.since = self.since
            details.learned_through = version.tags.get(TRAINED_THROUGH_TAG)
            details.learned_rows = self._learned(population, details.learned_through)
        elif self.alias is None and context.settings.scoring.shadow and CHALLENGER in aliases:
            details.shadow = self._score_shadow(context, population, aliases[CHALLENGER])
        # Later scorings change nothing about what became due before the first one.
        if self.since is not None or not first_scoring(context):
            count_unscored(context, self.spine, self.scorer, start, details)
        return int(population.num_rows)

    def _predictor(self, context: StageContext, version: ModelVersion, alias: str, mark: str = "") -> Predictor:
        return Predictor(context, self.spine, self.scorer, version, alias, self.trusted_types, mark)

    def _score_again(self, context: StageContext, item: Scoring) -> int:
        """Make the predictions of a recorded scoring again; return how many.

        Raises:
            PlatformError: If its version is gone, or cannot score any more.
        """
        as_of, alias, number, run_id = item.key
        then = replace(context, as_of=as_of, run_id=run_id, shared_log=context.log)
        version = champions.read(then.ws, then.namespace, alias, number)
        start = item.since or first_window_start(then)
        spine_version = item.spine_version(then)
        try:
            rows, _ = due_rows(then, self.spine, start, spine_version=spine_version)
        except TableError:
            if spine_version is None:
                raise
            rows, _ = due_rows(then, self.spine, start)  # that version can no longer be read
        # A table that was put back remembers having taken the chunks that it lacks.
        mark = f"again:{then.ws.tables.version(then.namespace.gold(PREDICTIONS))}"
        return self._predictor(then, version, alias, mark).predict(self.scorer.population(rows))

    def _learned(self, population: pa.Table, through: str | None) -> int:
        """Return how many rows that are predicted long after their time the version learned from."""
        if not through:
            return 0
        times = population.column(self.spine.prediction_time)
        earlier = pc.less_equal(times, pa.scalar(parse_as_of(through), times.type))
        return pc.sum(earlier.cast(pa.int64())).as_py() or 0

    def _score_shadow(self, context: StageContext, population: pa.Table, number: int) -> Shadow:
        version = context.ws.registry.get(context.model, number)
        try:
            written = self._predictor(context, version, CHALLENGER).predict(population)
        except PlatformError as error:
            stopping.check()
            # The champion's predictions are written; a challenger that cannot score must not take them away.
            LOG.warning("The challenger, version %d, could not score in the shadow: %s", number, error.message)
            return Shadow(model_version=number, rows=0, failed=error.message)
        return Shadow(model_version=number, rows=written, mean_prediction=mean_prediction(context, version))

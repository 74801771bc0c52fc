"""Score: the entities whose prediction time has come since the last scoring, appended exactly once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, Self

import narwhals as nw

from mlplatform import stopping
from mlplatform.as_of import Duration, parse_as_of, shown
from mlplatform.errors import PlatformError, StageError, TableError, UsageError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.gate import canary, decision_log, judged
from mlplatform.gate import champion as champions
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.registry import ModelVersion
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.scoring import lost_predictions, unscored, watermark
from mlplatform.scoring.details import CanaryPart, ScoreDetails, Shadow
from mlplatform.scoring.due import Stretch, count_unscored, due_rows
from mlplatform.scoring.lost_predictions import Scoring
from mlplatform.scoring.predictions import (
    CANARY,
    LATEST_PREDICTIONS,
    PREDICTIONS,
    SINCE,
    Predicted,
    Predictor,
    create_tables,
    decided_by_canary,
    mean_prediction,
)
from mlplatform.scoring.range import Range
from mlplatform.scoring.scorer import BatchScorer, population, population_code, scores_all
from mlplatform.scoring.unscored import UNSCORED
from mlplatform.scoring.version import Chosen, choose, too_late
from mlplatform.training.recalibrated import learned_through
from mlplatform.training.version_tags import LEARNED_EVENTS_TAG

LOG = logging.getLogger(__name__)
# Of the clocks of the registry and of whoever recorded a scoring.
_SKEW = timedelta(minutes=1)


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
        allow_later: Score with whom the alias names now, though it was trained as of later than `as_of`; on record.
        restore_only: Only make predictions again that are gone.
    """

    name: ClassVar[str] = watermark.STAGE

    scorer: BatchScorer
    spine: LabelSpine
    functions: tuple[FeatureFunctionSpec, ...] = ()
    trusted_types: tuple[str, ...] = ()
    alias: str | None = None
    since: datetime | None = None
    allow_later: bool = False
    restore_only: bool = False

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the spine and the labels; the feature tables are those that the model version names."""
        return names.gold(SPINE), names.gold(LABELS)

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the table of predictions, the view of the latest, and the table of rows that have none."""
        return names.gold(PREDICTIONS), names.gold(LATEST_PREDICTIONS), names.gold(UNSCORED)

    def create_tables(self, context: StageContext) -> None:
        """Create the table of predictions, its view, and the table of rows without one, if they do not exist."""
        create_tables(context.ws, context.namespace, self.spine)
        unscored.create_table(context.ws, context.namespace, self.spine)

    def due(self, context: StageContext) -> Self | None:
        """Scoring is due once for each time as of which there was a champion, and again where predictions are gone."""
        if champions.standing(context).number is None:
            return None
        # What was asked for since a time, or of a version from later, is beside the scoring that is due.
        recorded = [record.details for record in context.log.ended_well_at(self.name, context.as_of)]
        if all(details.get("since") or details.get("trained_later") for details in recorded):
            return self
        return replace(self, restore_only=True) if lost_predictions.find(context) else None

    def run(self, context: StageContext) -> StageResult[ScoreDetails]:
        """Score the rows due at `as_of`.

        Raises:
            StageError: If no version had the alias by then, or it was trained as of later.
            UsageError: If `since` does not lie before `as_of`.
        """
        if self.since is not None and self.since >= context.as_of:
            raise UsageError(
                f"Rows since {shown(self.since)} cannot be scored as of {shown(context.as_of)}.",
                hint="--since lies before --as-of: rows with a prediction time between them are scored.",
            )
        register_functions(context.ws, context.namespace, self.functions)
        chosen = None if self.restore_only else choose(context, self.alias, allow_later=self.allow_later)
        lost = lost_predictions.find(context)
        # The table of rows without a prediction is created when there is one: a scorer need not have the right to.
        create_tables(context.ws, context.namespace, self.spine)
        details = ScoreDetails(alias=chosen.alias if chosen else None)
        result = StageResult(details=details)
        lacking: list[Stretch] = []
        if lost:
            lacking = lost_predictions.restore(context, lost, partial(self._score_again, context), details)
        predictions = context.namespace.gold(PREDICTIONS)
        markers.keep(context, result, predictions)
        if chosen is None:
            return result
        scored = self._score(context, result, chosen, lacking, lost=bool(lost))
        markers.keep(context, result, predictions)
        if not scored and not lost:
            result.skipped = f"no prediction became due by {shown(context.as_of)}"
        return result

    def _score(
        self,
        context: StageContext,
        result: StageResult[ScoreDetails],
        by: Chosen,
        lacking: list[Stretch],
        *,
        lost: bool,
    ) -> int:
        """Score what is due; return how many rows that are."""
        details, frames = result.details, context.ws.frames
        spine, code = context.namespace.gold(SPINE), population_code(self.scorer)
        # The record first, then the spine's version: what is refined meanwhile is looked at by the next scoring.
        details.refinings = watermark.refinings(context)
        began = watermark.beginning(context)
        start = began or Duration.parse(context.settings.scoring.every).before(context.as_of)
        if self.since is not None:
            within = Range(self.since, context.as_of)
        else:
            within = watermark.new_range(context, start, code, lost=lost)
        info = context.ws.tables.describe(spine)
        result.inputs[str(spine)] = info.version
        details.tables = {**details.tables, spine.name: info.id}
        due = due_rows(
            context, self.spine, within, spine_version=info.version, lacking=() if self.since is not None else lacking
        )
        with frames.staged(due) as rows, population(self.scorer, frames, rows) as chosen:
            result.rows_in = frames.count(rows)
            scored = result.rows_in if scores_all(self.scorer) else frames.count(chosen)
            details.not_in_population = result.rows_in - scored
            mark = "" if self.since is None else SINCE
            if by.canary is not None and self.since is None:
                details.canary = self._score_canary(context, chosen, within, by.canary)
            decides = self._champion_decides(context) if by.alias == CHAMPION else False
            predicted = self._predictor(context, by.version, by.alias, mark, decides=decides).predict(chosen, within)
            result.rows_out = predicted.rows
            details.model_version = by.version.version
            if predicted.unscored.rows:
                result.rows_quarantined = details.unscored = predicted.unscored.rows
                details.unscored_reasons = predicted.unscored.reasons
                details.note(predicted.unscored.sentence(by.version.version, predicted.total))
            if by.alias == CHAMPION and (doubt := judged.doubt(context.ws, by.version)):
                details.note(doubt)
            details.mean_prediction = mean_prediction(context, by.version)
            if by.trained_later is not None:
                details.trained_later = by.trained_later
            self._note_learned(context, details, by.version, chosen)
            if self.since is None and by.shadow is not None:
                details.shadow = self._score_shadow(context, chosen, within, by.shadow)
        ordinary = self.since is None and by.trained_later is None
        if ordinary and by.alias == CHAMPION and (began is not None or result.rows_out):
            details.complete_since, details.population_code = start, code
        # Later scorings change nothing about what became due before the first one.
        if self.since is not None or began is None:
            count_unscored(context, self.spine, self.scorer, within.start, details)
        return scored

    def _note_learned(self, context: StageContext, details: ScoreDetails, version: ModelVersion, chosen: Frame) -> None:
        """Say through when the version knew outcomes: what it predicts of rows before that is no performance."""
        if self.since is not None:
            details.since = self.since
            details.learned_through = learned_through(version)
            details.learned_rows = self._learned(context, chosen, details.learned_through)
        elif version.tags.get(LEARNED_EVENTS_TAG):
            # It may have learned the event of a row that it scores now.
            details.learned_through = version.tags[LEARNED_EVENTS_TAG]

    def _predictor(
        self,
        context: StageContext,
        version: ModelVersion,
        alias: str,
        mark: str = "",
        *,
        decides: bool | None,
        decided_by_canary: Frame | None = None,
    ) -> Predictor:
        return Predictor(
            context, self.spine, self.scorer, version, alias, self.trusted_types, mark, decides, decided_by_canary
        )

    def _champion_decides(self, context: StageContext) -> bool | None:
        """Return whether the champion decides for all; None: but for those whom a canary has decided for.

        Whatever is the canary by now: of a scoring that was killed, what the challenger decided stands.
        """
        recorded = decision_log.events(context.ws, context.namespace)
        return None if any(event.event == canary.BEGAN for event in recorded) else True

    def _score_canary(self, context: StageContext, rows: Frame, within: Range, number: int) -> CanaryPart:
        """Let the challenger decide for its share of the entities, before the champion does for all others."""
        share = context.settings.scoring.canary
        challenger = context.ws.registry.get(context.model, number)
        if late := too_late(context, challenger):
            return CanaryPart(model_version=number, share=share, rows=0, failed=late)
        try:
            predicted = self._decide_for(context, self._in_share(context, rows, number, share), within, challenger)
        except PlatformError as error:
            stopping.check()
            LOG.warning("The challenger, version %d, could not decide for its canary: %s", number, error.message)
            return CanaryPart(model_version=number, share=share, rows=0, failed=error.message)
        part = CanaryPart(model_version=number, share=share, rows=predicted.rows)
        if predicted.unscored.rows:
            part.unscored = predicted.unscored.rows
        return part

    def _decide_for(
        self, context: StageContext, rows: Frame, within: Range, challenger: ModelVersion, mark: str = CANARY
    ) -> Predicted:
        with context.ws.frames.staged(rows) as mine:
            return self._predictor(context, challenger, CHALLENGER, mark, decides=True).predict(mine, within)

    def _in_share(self, context: StageContext, rows: Frame, version: int, share: float) -> Frame:
        """Return the rows of the entities for which a canary decides."""
        salt = canary.salt(context, version)
        return context.ws.frames.share(rows, keys=self.spine.entity_keys, share=share, salt=salt)

    def _score_again(self, context: StageContext, item: Scoring, lacking: Sequence[Stretch]) -> int:
        """Make the predictions of a recorded scoring again; return how many.

        Raises:
            PlatformError: If its version is gone, or cannot score any more.
        """
        as_of, alias, number, run_id = item.key
        then = replace(context, as_of=as_of, run_id=run_id, shared_log=context.log)
        version = champions.read(then.ws, then.namespace, alias, number)
        if version.created_at > item.run.started_at + _SKEW:
            raise StageError(
                f"Version {number} of {version.name} was registered after it had scored: another model has its number.",
                hint="Nobody else's predictions are put in their place.",
            )
        every = Duration.parse(then.settings.scoring.every)
        within = Range(item.since or watermark.first_window_start(then) or every.before(as_of), as_of)
        # A table that was put back remembers having taken the predictions that it lacks.
        mark = f"again:{then.ws.tables.version(then.namespace.gold(PREDICTIONS))}"
        due = self._due_then(then, item, within, lacking)
        with due as rows, population(self.scorer, then.ws.frames, rows) as chosen:
            if alias == CHALLENGER:
                return self._challenger_again(then, item, chosen, within, version, mark)
            lost = self._lost_to_canary(then, item, chosen)
            predictor = self._predictor(then, version, alias, mark, decides=None, decided_by_canary=lost)
            return predictor.predict(chosen, within).rows

    def _challenger_again(
        self, then: StageContext, item: Scoring, rows: Frame, within: Range, version: ModelVersion, mark: str
    ) -> int:
        """Make a challenger's predictions again: those that it decided by, and those in the shadow."""
        details, count = item.run.details, 0
        if details.canary is not None and details.canary.rows:
            mine = self._in_share(then, rows, version.version, details.canary.share)
            count += self._decide_for(then, mine, within, version, f"{CANARY}:{mark}").rows
        if details.alias == CHALLENGER or (details.shadow is not None and details.shadow.rows):
            count += self._predictor(then, version, CHALLENGER, mark, decides=False).predict(rows, within).rows
        return count

    def _lost_to_canary(self, then: StageContext, item: Scoring, rows: Frame) -> Frame | None:
        """Return the rows that a challenger had decided for, where its predictions could not be made again.

        The champion's are no substitute for them: nobody acted on those.
        """
        part, keys = item.run.details.canary, list(self.spine.primary_keys)
        if part is None or not part.rows or then.ws.frames.count(decided_by_canary(then, keys)):
            return None
        return self._in_share(then, rows, part.model_version, part.share).select(*keys)

    @contextmanager
    def _due_then(
        self, then: StageContext, item: Scoring, within: Range, lacking: Sequence[Stretch]
    ) -> Iterator[Frame]:
        """Give the rows that were due for a recorded scoring; those of the spine now where it no longer has them."""
        versions = [item.spine_version(then), then.ws.tables.version(then.namespace.gold(SPINE))]
        with ExitStack() as stack:
            for version in dict.fromkeys(version for version in versions if version is not None):
                try:
                    due = due_rows(then, self.spine, within, spine_version=version, lacking=lacking)
                    rows = stack.enter_context(then.ws.frames.staged(due))
                    break
                except TableError as error:
                    if version == versions[-1]:
                        raise
                    LOG.info("Version %d of the spine can no longer be read: %s", version, error.message)
            yield rows

    def _learned(self, context: StageContext, rows: Frame, through: str | None) -> int:
        """Return how many rows that are predicted long after their time the version learned from."""
        if not through:
            return 0
        return context.ws.frames.count(rows.filter(nw.col(self.spine.prediction_time) <= parse_as_of(through)))

    def _score_shadow(self, context: StageContext, rows: Frame, within: Range, number: int) -> Shadow:
        challenger = context.ws.registry.get(context.model, number)
        if late := too_late(context, challenger):
            return Shadow(model_version=number, rows=0, failed=late)
        try:
            predicted = self._predictor(context, challenger, CHALLENGER, decides=False).predict(rows, within)
        except PlatformError as error:
            stopping.check()
            # The champion's predictions are written; a challenger that cannot score must not take them away.
            LOG.warning("The challenger, version %d, could not score in the shadow: %s", number, error.message)
            return Shadow(model_version=number, rows=0, failed=error.message)
        mean = mean_prediction(context, challenger)
        shadow = Shadow(model_version=number, rows=predicted.rows, mean_prediction=mean)
        if predicted.unscored.rows:
            shadow.unscored = predicted.unscored.rows
        return shadow

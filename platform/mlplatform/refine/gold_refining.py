"""Bringing the label spine and its labels up to a run's time."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa

from mlplatform.code_digest import code_digest
from mlplatform.errors import StageError, TableError
from mlplatform.naming import ObjectName, quote
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare, sentences, to_compute, with_unwritten
from mlplatform.ops.result import StageResult
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import TableInfo, Widening
from mlplatform.refine import freshness
from mlplatform.refine.as_of_view import Stretch, WorkspaceAsOf, computed_stretches, late_note, view_at
from mlplatform.refine.class_labels import check_type
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.event_spine import EVENT_AT, EVENT_KNOWN_AT, EVENTS, EventSpine, event_rows
from mlplatform.refine.finite import counted, said, with_nulls
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAME = "refine"
_MOST_SHOWN = 5
_STRETCH, _START, _NTH, _TOLD, _LAST = "__stretch", "__start", "__nth", "__told", "__last"


@dataclass(frozen=True)
class GoldTable:
    """A gold table of a label spine: the spine itself, its labels, or the events that these are about.

    Attributes:
        spine: The label spine.
        name: `spine`, `labels` or `events`.
    """

    spine: LabelSpine
    name: str

    @property
    def known_at(self) -> str:
        """The column that says when a row was known."""
        known_at = {SPINE: self.spine.prediction_time, LABELS: LABEL_KNOWN_AT, EVENTS: EVENT_KNOWN_AT}
        return known_at[self.name]

    @property
    def value(self) -> str:
        """The column that a correction may change: the label, or when the event happened."""
        return EVENT_AT if self.name == EVENTS else self.spine.label

    @property
    def schema(self) -> pa.Schema:
        """The table's schema."""
        if self.name == EVENTS:
            return self._event_spine.event_schema()
        return self.spine.spine_schema() if self.name == SPINE else self.spine.label_schema()

    @property
    def description(self) -> str:
        """The table's comment."""
        if self.name == EVENTS:
            return f"Events that the label {self.spine.label} is about, and when they became known"
        return self.spine.description if self.name == SPINE else f"Label {self.spine.label} and when it became known"

    @property
    def _event_spine(self) -> EventSpine:
        assert isinstance(self.spine, EventSpine), "no other spine has a table of events"
        return self.spine

    def create(self, context: StageContext) -> Widening:
        """Create the table, or make it as wide as declared; return what changed about it.

        Raises:
            TableError: If it exists and cannot be made like the declaration.
        """
        table = context.namespace.gold(self.name)
        try:
            return declare(
                context.ws,
                table,
                self.schema,
                primary_keys=self.spine.primary_keys,
                timeseries_column=self.known_at,
                description=self.description,
            )
        except TableError as error:
            if not self._is_about_others(context.ws.tables.describe(table)):
                raise
            # The way out of other tables is none here: their names, and what may be null, are not the author's.
            raise TableError(
                error.message,
                hint="Keys, time and label of a spine do not change once it has tables: take the edit back, or declare "
                "it in a use case of another name.",
            ) from error

    def _is_about_others(self, existing: TableInfo) -> bool:
        """Tell whether a table is about other entities, times or another label."""
        if (existing.primary_keys, existing.timeseries_column) != (tuple(self.spine.primary_keys), self.known_at):
            return True
        fields = {field.name: field.type for field in existing.schema}
        return self.name == LABELS and fields.get(self.spine.label) != self.schema.field(self.spine.label).type

    def rows(self, view: WorkspaceAsOf, since: datetime | None, *, finite: bool = True) -> DataFrame:
        """Return the rows known in [since, the view's time], not computed yet; since None: all known by then.

        Where what they are made from was corrected in that time, each row sees the corrections known at its own; a
        label that was corrected after it was known is known anew, from when the correction was; so is an event.

        Numbers that are not finite are null; with `finite=False` they stay, for `finite.counted` to count.

        What the author's code gives beside all declared columns is left out. Beside some of them it may be another
        one's name by mistake, and is left for the write to refuse.
        """
        rows = self._rows(view, since)
        return with_nulls(rows) if finite else rows

    def _rows(self, view: WorkspaceAsOf, since: datetime | None) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        stretches = view.stretches(self.spine.inputs, since)
        if self.name != SPINE and len(stretches) > 1:
            rows = self._corrected(stretches)
            return rows if since is None else rows.where(F.col(self.known_at) >= F.lit(since))
        parts = []
        for stretch in computed_stretches(stretches):
            rows = self._known(stretch)
            parts.append(rows if stretch.start is None else rows.where(F.col(self.known_at) >= F.lit(stretch.start)))
        return functools.reduce(lambda one, other: one.unionByName(other), parts)

    def _known(self, stretch: Stretch) -> DataFrame:
        """Return the rows known by the end of a stretch, as the author's code gives them, in the declared columns."""
        from pyspark.sql import functions as F  # noqa: N812

        frame, declared = self._computed(stretch.view), self.schema.names
        if set(declared) <= set(frame.columns):
            # By drop, which leaves two columns of one name for the write to refuse, in capitals or not.
            ours = {name.lower() for name in declared}
            frame = frame.drop(*[name for name in frame.columns if name.lower() not in ours])
        return frame.where(F.col(self.known_at) <= F.lit(stretch.end))

    def _computed(self, view: WorkspaceAsOf) -> DataFrame:
        if self.name == EVENTS:
            return event_rows(self._event_spine, self._event_spine.events(view))
        return self.spine.spine(view) if self.name == SPINE else self.spine.labels(view)

    def _known_from(self, stretch: Stretch) -> DataFrame:
        """Return the rows known by the end of a stretch; an event that is not there is known not to be from its start.

        In the first stretch there is nothing that a correction could have taken back.
        """
        from pyspark.sql import functions as F  # noqa: N812

        if self.name != EVENTS or stretch.start is None:
            return self._known(stretch)
        rows, known_at = self._computed(stretch.view), F.col(self.known_at)
        from_then_on = F.when(F.col(EVENT_AT).isNull(), F.lit(stretch.start)).otherwise(known_at)
        return rows.withColumn(self.known_at, from_then_on).where(known_at <= F.lit(stretch.end))

    def _corrected(self, stretches: Sequence[Stretch]) -> DataFrame:
        """Return what was known by the end of the last stretch; what was corrected is known from then on.

        There is one label (and one event) for each row of the spine: the earlier one is gone from the table, and a
        training as of a time before the correction has none, rather than one that nobody knew.
        """
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        label, known_at = F.col(quote(self.value)), F.col(self.known_at)
        parts = [
            self._known_from(stretch).withColumns({_STRETCH: F.lit(place), _START: F.lit(stretch.start or stretch.end)})
            for place, stretch in enumerate(stretches)
        ]
        keys = [F.col(quote(key)) for key in self.spine.primary_keys]
        in_order = Window.partitionBy(*keys).orderBy(_STRETCH)
        all_stretches = functools.reduce(lambda one, other: one.unionByName(other), parts)
        before, is_first = F.lag(label).over(in_order), F.col(_NTH) == 1
        if self.name == EVENTS:
            is_first &= label.isNotNull()  # that there is no event says something only where there was one
        told = F.when(is_first | (F.col(_NTH) > 1) & ~label.eqNullSafe(before), F.col(_STRETCH))
        # Of the stretches that tell a label anew, the last; a key that the code gives twice stays, for the write to
        # refuse.
        last = F.max(_TOLD).over(Window.partitionBy(*keys))
        numbered = all_stretches.withColumn(_NTH, F.row_number().over(in_order))
        rows = numbered.withColumn(_TOLD, told).withColumn(_LAST, last).where(F.col(_STRETCH) == F.col(_LAST))
        corrected = F.when(F.col(_STRETCH) > 0, F.greatest(known_at, F.col(_START))).otherwise(known_at)
        return rows.withColumn(self.known_at, corrected).drop(_STRETCH, _START, _NTH, _TOLD, _LAST)


def gold_tables(spine: LabelSpine) -> tuple[GoldTable, ...]:
    """Return the gold tables of a label spine."""
    names = (SPINE, LABELS, EVENTS) if isinstance(spine, EventSpine) else (SPINE, LABELS)
    return tuple(GoldTable(spine, name) for name in names)


def spine_digest(spine: LabelSpine) -> str:
    """Return the digest of the code and the settings that compute the spine, its labels and its events."""
    # Which quantile is predicted, which values a label may have, and how late an event may be known, is nothing of how
    # they are computed.
    left_out = {"quantile", "event_delay", "classes"}
    return code_digest(type(spine), settings=spine.settings.label.model_dump_json(exclude=left_out))


def refine_gold(context: StageContext, gold: GoldTable, result: StageResult[RefineDetails]) -> bool:
    """Compute what became known since a gold table was last computed; return whether it changed.

    Args:
        context: The run.
        gold: The table.
        result: What the stage did so far; added to.
    """
    spine, table = gold.spine, context.namespace.gold(gold.name)
    check_type(spine)
    change = gold.create(context)
    fresh = freshness.check(context, NAME, table, spine.inputs, spine_digest(spine), anew=to_compute(change))
    result.details.keep_computed(table, fresh.marker)
    changed = False
    if not fresh.unchanged:
        view = view_at(context, allowed=spine.inputs)
        # Computed once: what is counted and checked is what is written.
        with counted(context.ws.frames, gold.rows(view, fresh.since, finite=False)) as (rows, count, not_finite):
            _check(context, gold, rows, not_finite)
            if text := said(table.name, not_finite):
                result.details.note(text)
            result.inputs.update(view.inputs)
            for text in late_note(table, view):
                result.details.note(text)
            if count or fresh.since is None:
                context.progress(f"{table.name}: {count} row(s)")
                if fresh.since is None:
                    # Everything anew (other code or settings): what it no longer gives must go.
                    whole = with_unwritten(context.ws, table, rows, spine.primary_keys, change)
                    changed = bool(context.ws.tables.overwrite(table, whole).rows)
                else:
                    changed = bool(context.ws.tables.merge(table, rows).rows)
        if fresh.since is None:
            for text in sentences(table, change):
                result.details.note(text)
        if fresh.lost:
            again = f"computed whole, {count} row(s)"
            result.details.note(f"{table.name} was gone, or another table lay in its place: {again}.")
    markers.keep(context, result, table)
    return changed


def _check(context: StageContext, gold: GoldTable, rows: Frame, not_finite: Mapping[str, int]) -> None:
    """Check what cannot be written.

    Raises:
        StageError: If a label is no finite number or, of several classes, none of those that are declared; or an event
            lies before its prediction: what is predicted would have happened already.
    """
    spine, table = gold.spine, context.namespace.gold(gold.name)
    if gold.name == LABELS:
        _refuse_labels(context, table, spine, rows, not_finite)
    if gold.name != EVENTS:
        return
    before = context.ws.frames.count(rows.filter(nw.col(EVENT_AT) < nw.col(spine.prediction_time)))
    if before:
        raise StageError(
            f"{table}: {before} event(s) lie before their prediction.",
            hint=f"Let {type(spine).__name__}.events() give the first event at or after {spine.prediction_time}.",
        )


def _refuse_labels(
    context: StageContext, table: ObjectName, spine: LabelSpine, rows: Frame, not_finite: Mapping[str, int]
) -> None:
    if spine.label in not_finite:
        raise StageError(
            f"{table}: {not_finite[spine.label]} label(s) are no finite numbers.",
            hint=f"Let {type(spine).__name__}.labels() leave those rows out, or give them a value.",
        )
    task = spine.settings.kind_of_task
    if not task.is_multiclass:
        return
    label = nw.col(spine.label).cast(nw.String())
    others = rows.filter(~label.is_in(list(task.classes))).select(label.alias("label")).unique().head(_MOST_SHOWN + 1)
    values = context.ws.frames.collect(others, at_most=_MOST_SHOWN + 1, what="labels of no declared class")
    found = sorted(map(str, values.column("label").to_pylist()))
    if found:
        more = " and more" if len(found) > _MOST_SHOWN else ""
        raise StageError(
            f"{table}: labels are none of label.classes ({', '.join(task.classes)}): "
            f"{', '.join(map(repr, found[:_MOST_SHOWN]))}{more}.",
            hint=f"Add them at the end of label.classes; or let {type(spine).__name__}.labels() leave those rows out, "
            "or an expectation of the table quarantine them.",
        )

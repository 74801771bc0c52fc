"""Features: each feature table gets the rows that became known since it was last computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from mlplatform.as_of import shown
from mlplatform.code_digest import code_digest
from mlplatform.features.adopted import first_computed, was_adopted
from mlplatform.features.computing import compute
from mlplatform.features.stored_table import create, whole_rows
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import sentences, to_compute
from mlplatform.ops.kept import KeptParts, nothing
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.refine import freshness
from mlplatform.refine.as_of_view import late_note, view_at
from mlplatform.refine.finite import counted, said
from mlplatform.refine.freshness import ComputedDetails

NAME = "features"
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


class FeaturesDetails(ComputedDetails):
    """What a computation of feature tables says of itself.

    Attributes:
        declared: Digest of all that was declared, of which the code is on record.
    """

    internal: ClassVar[frozenset[str]] = ComputedDetails.internal | {"declared"}

    declared: str = ""


Archive = Callable[[StageContext], str]
"""Puts the code that computed the tables on record, and returns the digest of what it declares."""


def no_archive(context: StageContext) -> str:
    """Put nothing on record."""
    del context
    return ""


@dataclass(frozen=True)
class Features(Stage[FeaturesDetails]):
    """Silver becomes feature tables.

    Attributes:
        tables: The feature tables.
        kept: Gives what is computed on by earlier code, for models in use.
        archive: Puts the code on record when all is computed.
        rebuild: Feature tables that are computed again whole, by their bare names.
    """

    name: ClassVar[str] = NAME

    tables: tuple[type[FeatureTable], ...]
    kept: KeptParts = nothing
    archive: Archive = no_archive
    rebuild: tuple[str, ...] = ()

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that the feature tables are computed from."""
        return tuple(dict.fromkeys(names.table(item) for table in self.tables for item in table.inputs))

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the feature tables."""
        return tuple(names.features(table.name) for table in self.tables)

    def create_tables(self, context: StageContext) -> None:
        """Create all feature tables that do not exist, and make the others as wide as declared."""
        for table in self.tables:
            create(context, table())

    def run(self, context: StageContext) -> StageResult[FeaturesDetails]:
        """Bring all feature tables up to `as_of`."""
        # Also where there is no feature table: a record of this stage always says it.
        result = StageResult(details=FeaturesDetails(computed={}), rows_out=0)
        for table in self.tables:
            rebuild = context.namespace.features(table.name).name in self.rebuild
            _compute_new(context, table(), result, rebuild=rebuild)
        for kept in self.kept(context):
            with kept.installed():
                for table in kept.features:
                    _compute_new(kept.context, table(), result)
        declared = self.archive(context)
        if declared:
            result.details.declared = declared
        if not result.rows_out:
            result.skipped = (
                "nothing new since the last computation" if self.tables else "the use case has no feature table"
            )
        return result


def _compute_new(
    context: StageContext, table: FeatureTable, result: StageResult[FeaturesDetails], *, rebuild: bool = False
) -> None:
    name, change = context.namespace.features(table.name), create(context, table)
    anew = rebuild or to_compute(change)
    fresh = freshness.check(context, NAME, name, table.inputs, code_digest(type(table)), anew=anew)
    result.details.keep_computed(name, fresh.marker)
    if not fresh.unchanged:
        view = view_at(context, allowed=table.inputs)
        # What was adopted stays as it is: there may be nothing here to compute it from.
        first = first_computed(context, name)
        since = _latest(fresh.since, first)
        context.progress(f"{name.name}: since {shown(since)}" if since else f"{name.name}: all")
        # Computed once: what is counted and checked is what is written.
        computed = compute(table, view, since, finite=False)
        with counted(context.ws.frames, computed) as (rows, count, not_finite):
            if text := said(name.name, not_finite):
                result.details.note(text)
            result.inputs.update(view.inputs)
            for text in late_note(name, view):
                result.details.note(text)
            start, time = since or _ALWAYS, table.timeseries_column
            whole = whole_rows(context, table, rows, change, since)
            if fresh.since is None and start <= context.as_of:
                # Everything anew (other code, say): what it no longer gives must go.
                context.ws.tables.replace_range(name, whole, column=time, start=start, end=context.as_of)
            elif count:
                context.ws.fe.write_table(name=str(name), df=whole, mode="merge")
        result.rows_out = (result.rows_out or 0) + count
        if fresh.since is None:
            for text in sentences(name, change):
                result.details.note(text)
        if fresh.lost:
            text = f"{name.name} was gone, or another table lay in its place: computed whole, {count} row(s)."
            if first is None and was_adopted(context, name):
                text += (
                    " What had been adopted into it is gone with it: adopt it again where the inputs do not reach back "
                    f"so far (mlplatform adopt {context.name})."
                )
            result.details.note(text)
    markers.keep(context, result, name)


def _latest(*moments: datetime | None) -> datetime | None:
    times: Iterable[datetime] = (moment for moment in moments if moment is not None)
    return max(times, default=None)

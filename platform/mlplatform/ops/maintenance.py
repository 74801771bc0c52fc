"""The stage `maintenance`: small files are put together, and what no model in use names any more is removed.

It stands beside the record of runs, not among the rooms of the cycle: it changes no row, knows nothing of what a table
holds, and looks after the platform's own tables as well as after those of a use case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, Self

from pydantic import BaseModel, Field

from mlplatform.errors import FeatureStoreError, MissingVersionError, UnavailableError
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import changes
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.ops.stage_runs import ADOPT, MAINTENANCE, utc_now
from mlplatform.protocols.maintenance import Removal

_MOST_USE_CASES = 100_000

ALIASES = ("champion", "previous_champion", "challenger")
"""Models with one of these may have to be looked into, or to be champion again: what they were trained on is kept."""


class Compaction(BaseModel):
    """A table whose small files were put together.

    Attributes:
        small_files: How many there were.
        replaced: How many files were replaced; None in a dry run.
        files: How many there are now; None in a dry run.
    """

    small_files: int
    replaced: int | None = None
    files: int | None = None


class RemovedFiles(BaseModel):
    """Files of a table that no kept version needs.

    Attributes:
        files: How many; None where the workspace does not say.
        size: Their bytes; None where the workspace does not say.
    """

    files: int | None = None
    size: int | None = None


class MaintenanceDetails(Details):
    """What a maintenance did; tables are named as in `<schema>.<table>`.

    Attributes:
        compacted: Table -> what became of its small files.
        removed: Table -> what was removed of it.
        kept_versions: Table -> versions that are kept because a model was trained on them.
        dropped: Tables of which a newer version is written, and that no model in use has read for long enough.
        left_to: Who looks after files by itself -> the tables that were left to it.
        postponed: Tables that others wrote to all the time; their turn comes next time.
    """

    compacted: dict[str, Compaction] = Field(default_factory=dict)
    removed: dict[str, RemovedFiles] = Field(default_factory=dict)
    kept_versions: dict[str, list[int]] = Field(default_factory=dict)
    dropped: list[str] = Field(default_factory=list)
    left_to: dict[str, list[str]] = Field(default_factory=dict)
    postponed: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class MaintainTables(PlannedStage[MaintenanceDetails]):
    """Looks after the files of a use case's tables, and of the platform's own.

    Attributes:
        clean: Remove files that no kept version needs, too; else only small files are put together.
    """

    name: ClassVar[str] = MAINTENANCE
    clean: bool = True

    def due(self, context: StageContext) -> Self | None:
        """Return itself when a table has too many small files; reads the newest state of each table's log only."""
        limit, target = context.settings.maintenance.small_files, context.settings.maintenance.target_size
        maintenance = context.ws.maintenance
        return (
            self if any(maintenance.files(it, target_size=target).small > limit for it in tables_of(context)) else None
        )

    def plan(self, context: StageContext) -> Plan[MaintenanceDetails]:
        """Return what is to be done.

        Raises:
            RegistryError: If it cannot be known which versions models were trained on; nothing is removed then.
        """
        details = MaintenanceDetails()
        result = StageResult(details)
        kept = _kept_versions(context, details) if self.clean else {}
        # Where it is not known what a model in use was trained on, nothing is known to be unused.
        unused = list(_unused(context, kept)) if self.clean and not details.notes else []
        actions = tuple(
            action
            for table in tables_of(context)
            if table not in unused
            for action in self._actions(context, table, kept, result)
        )
        if unused:
            details.dropped = [_short(table) for table in unused]
        actions += tuple(Action(f"drop {_short(table)}", partial(_drop, context, table)) for table in unused)
        if not actions:
            result.skipped = "no table has too many small files, or files that no kept version needs"
        return Plan(result, actions)

    def _actions(
        self,
        context: StageContext,
        table: ObjectName,
        kept: Mapping[str, Collection[int]],
        result: StageResult[MaintenanceDetails],
    ) -> Iterator[Action]:
        maintenance, settings, details = context.ws.maintenance, context.settings.maintenance, result.details
        name, versions = _short(table), sorted(kept.get(str(table), ()))
        if versions:
            details.kept_versions = {**details.kept_versions, name: versions}
        keeper = maintenance.left_to(table)
        if keeper:
            details.left_to = {**details.left_to, keeper: [*details.left_to.get(keeper, []), name]}
            if self.clean:
                keep = partial(_keep, context, table, name, versions, result)
                yield Action(f"tell {keeper} how long {name} keeps old versions", keep)
            return
        files = maintenance.files(table, target_size=settings.target_size)
        if files.small > settings.small_files:
            details.compacted = {**details.compacted, name: Compaction(small_files=files.small)}
            yield Action(
                f"put {files.small} small files of {name} together", partial(_compact, context, table, name, result)
            )
        if self.clean:
            would = maintenance.clean(table, versions=versions, days=settings.keep_days, dry_run=True)
            if would.files != 0:
                details.removed = {**details.removed, name: _removed(would)}
                told = "old files" if would.files is None else f"{would.files} file(s)"
                yield Action(f"remove {told} of {name}", partial(_clean, context, table, name, versions, result))


def tables_of(context: StageContext) -> list[ObjectName]:
    """Return the existing tables of a use case, then the platform's own, which use cases share."""
    own, shared = context.namespace.table("x"), context.namespace.ops("x")
    return [
        ObjectName(schema.catalog, schema.schema, name)
        for schema in (own, shared)
        for name in context.ws.tables.list(schema.catalog, schema.schema)
    ]


def _compact(context: StageContext, table: ObjectName, name: str, result: StageResult[MaintenanceDetails]) -> None:
    settings, maintenance, details = context.settings.maintenance, context.ws.maintenance, result.details
    context.progress(f"maintenance: putting small files of {name} together")
    done = details.compacted[name]
    try:
        done.replaced = maintenance.compact(table, target_size=settings.target_size)
    except UnavailableError:
        details.compacted = {key: value for key, value in details.compacted.items() if key != name}
        _postpone(name, details)
        return
    done.files = maintenance.files(table, target_size=settings.target_size).files
    result.outputs[str(table)] = context.ws.tables.version(table)


def _clean(
    context: StageContext,
    table: ObjectName,
    name: str,
    versions: Collection[int],
    result: StageResult[MaintenanceDetails],
) -> None:
    context.progress(f"maintenance: removing old files of {name}")
    details, days = result.details, context.settings.maintenance.keep_days
    try:
        done = context.ws.maintenance.clean(table, versions=versions, days=days)
    except UnavailableError:
        details.removed = {key: value for key, value in details.removed.items() if key != name}
        _postpone(name, details)
        return
    details.removed = {**details.removed, name: _removed(done)}
    result.outputs[str(table)] = context.ws.tables.version(table)


def _keep(
    context: StageContext,
    table: ObjectName,
    name: str,
    versions: Collection[int],
    result: StageResult[MaintenanceDetails],
) -> None:
    try:
        context.ws.maintenance.keep(table, versions=versions, days=context.settings.maintenance.keep_days)
    except UnavailableError:
        _postpone(name, result.details)


def _postpone(name: str, details: MaintenanceDetails) -> None:
    """Put a busy table off to the next time: it is no reason not to look after the others."""
    if name not in details.postponed:
        details.postponed = [*details.postponed, name]


def _kept_versions(context: StageContext, details: MaintenanceDetails) -> dict[str, set[int]]:
    """Return table -> the versions that models in use, of this and of other use cases, were trained on."""
    ws, kept = context.ws, dict[str, set[int]]()
    for use_case in sorted({context.name, *_use_cases_on_record(context)}):
        model = Namespace(context.namespace.catalog, use_case, context.namespace.prefix).model
        aliases = ws.registry.aliases(model)
        for number in sorted({aliases[alias] for alias in ALIASES if alias in aliases}):
            try:
                lineage = ws.fe.lineage(ws.registry.get(model, number).uri)
            except (FeatureStoreError, MissingVersionError) as error:
                details.note(f"Nothing is kept for version {number} of {model}: {error.message}")
                continue
            for table in lineage.tables:
                if ws.tables.exists(table.name) and ws.tables.describe(table.name).id == table.table_id:
                    kept.setdefault(table.name, set()).add(table.version)
    return kept


def _unused(context: StageContext, read: Collection[str]) -> Iterator[ObjectName]:
    """Yield the tables that a version took the place of, and that nothing has written to, or read, for long enough.

    Args:
        context: The run.
        read: Full names of the tables that models in use were trained on.
    """
    names = [context.namespace.exactly(name) for name in sorted(changes.replaced(context.ws, context.namespace))]
    adopted = {name for record in context.log.all_records(ADOPT) for name in record.outputs}
    existing = [name for name in names if str(name) not in adopted and context.ws.tables.exists(name)]
    in_use = {name for name in existing if str(name) in read}
    before = utc_now() - timedelta(days=context.settings.maintenance.keep_unused_days)
    for name in existing:
        # What a model in use reads may be computed from any silver table of its time.
        silver = name.name.startswith("silver_")
        if name in in_use or (silver and in_use) or not _last_written_before(context, name, before):
            continue
        yield name
        version = name.name.removeprefix("silver_").partition("__")[2]
        quarantine = context.namespace.exactly(name.name.replace("silver_", "quarantine_", 1))
        if silver and version and context.ws.tables.exists(quarantine):
            yield quarantine


def _last_written_before(context: StageContext, name: ObjectName, moment: datetime) -> bool:
    """Tell whether it is on record that no stage has written to a table since a moment."""
    for stage in ("refine", "features"):
        records = context.log.records(stage)
        if any(str(name) in record.outputs and record.started_at >= moment for record in records):
            return False
        if not context.log.is_whole(stage) and min(record.started_at for record in records) >= moment:
            return False  # what came before is not looked at
    change = changes.newest(context.ws, context.namespace)
    return change is not None and change.recorded_at < moment


def _drop(context: StageContext, table: ObjectName) -> None:
    context.progress(f"maintenance: dropping {_short(table)}, which no model in use reads")
    context.ws.tables.drop(table)


def _use_cases_on_record(context: StageContext) -> list[str]:
    """Return the names of the use cases that share the platform's own tables; none before anything ran."""
    ws, runs = context.ws, STAGE_RUNS.full_name(context.namespace)
    if not ws.tables.exists(runs):
        return []
    names = ws.frames.read(runs, columns=["use_case"]).unique()
    found = ws.frames.collect(names, at_most=_MOST_USE_CASES, what="the use cases on record").column("use_case")
    return [str(name) for name in found.to_pylist()]


def _removed(removal: Removal) -> RemovedFiles:
    return RemovedFiles(files=removal.files, size=removal.size)


def _short(table: ObjectName) -> str:
    return f"{table.schema}.{table.name}"

"""Deciding about an edit: what `run` does by itself, what somebody has to decide, and what of it is on record."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping

from mlplatform.change import existing
from mlplatform.change.declared import Declarations, DeclaredTable, function_digest
from mlplatform.change.differences import Kind, of_shape
from mlplatform.change.keeping import last_computed
from mlplatform.change.plan import ChangePlan, PlannedChange
from mlplatform.code_digest import has_changed
from mlplatform.errors import BreakingChangeError, StageError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace
from mlplatform.ops import changes
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import Kept
from mlplatform.ops.records import CHANGES, CODE, ChangeRecord
from mlplatform.ops.stage_runs import utc_now
from mlplatform.refine.silver import SilverTable

_DIGITS = 8


def is_waiting(context: StageContext, declared: Declarations) -> bool:
    """Tell whether something is declared otherwise than what tables were computed by, and nobody decided about it.

    It costs what reading the newest records costs: no table is computed.

    Args:
        context: The run.
        declared: What the use case declares.

    Raises:
        RegistryError: If it cannot be known whether a model is in use.
    """
    computed = last_computed(context)
    if computed is None:
        return False  # nothing was computed yet
    digest = declared.digest(context.namespace)
    if computed == digest:
        return False
    decided = changes.newest(context.ws, context.namespace)
    if decided is not None and decided.declared == digest:
        return False
    if context.settings.changes == "auto" and not _model_in_use(context):
        return False  # whatever it does, it may be done
    # Versions before this kept no digest of all that is declared.
    return bool(computed) or any(_differs(context, table) for table in declared.tables(context.namespace))


def _model_in_use(context: StageContext) -> bool:
    aliases = context.ws.registry.aliases(context.model)
    return any(alias in aliases for alias in existing.LIVE)


def _differs(context: StageContext, table: DeclaredTable) -> bool:
    info = existing.find(context, table.name)
    if info is None:
        return False
    if any(item.kind is not Kind.TEXT for item in of_shape(table.beside(info), info, ())):
        return True
    return has_changed(existing.recorded(context, table, info).code, table.code)


def check_harmless(context: StageContext, plan: ChangePlan) -> None:
    """Refuse what a run does not do by itself.

    Args:
        context: The run.
        plan: What the edit does.

    Raises:
        BreakingChangeError: If something breaking waits, or other values of tables are to be asked for by the setting
            `changes`; the message holds the plan.
    """
    asked = context.settings.changes == "ask" and plan.kind is Kind.RECOMPUTE
    if not plan.is_breaking and not asked:
        return
    names = ", ".join(change.name for change in plan.changes if change.kind is plan.kind)
    why = "something breaking waits" if plan.is_breaking else "values of tables would change, and `changes: ask` is set"
    reason = ' --reason "..."' if plan.is_breaking else ""
    raise BreakingChangeError(
        "\n".join([f"{context.name}: {why}, in {names}; nothing was changed.", *plan.lines()]),
        hint=f"Take the edit back, or do it, on record: mlplatform apply {context.name}{reason}",
    )


def check_decided(context: StageContext, plan: ChangePlan, reason: str) -> None:
    """Refuse to do what cannot be done, and what is breaking without a reason.

    Args:
        context: The run.
        plan: What the edit does.
        reason: Why it is done.

    Raises:
        StageError: If something cannot be computed, or is a table that can neither follow nor get a version.
        BreakingChangeError: If something is breaking, and no reason is given.
    """
    for change in plan.changes:
        for item in change.differences:
            if item.mark == "!" and (item.subject != "declaration" or not _may_have_versions(change)):
                raise StageError(
                    f"{change.name}: {item.text}",
                    hint="This cannot be applied: take it back. mlplatform plan shows all of it.",
                )
    if plan.is_breaking and not reason.strip():
        names = ", ".join(change.name for change in plan.changes if change.kind is Kind.BREAKING)
        raise BreakingChangeError(
            f"{context.name}: something breaking waits in {names}; nothing was changed.",
            hint=f'Say why it is done, for the record: mlplatform apply {context.name} --reason "..."',
        )


def versions(
    context: StageContext, declared: Declarations, plan: ChangePlan, kept: list[Kept], *, in_place: bool
) -> dict[str, str]:
    """Return declared name -> version, of all tables and functions of which a version is to be written from now on.

    A feature table that a model in use reads, and whose values or columns change, gets a version: the model reads on
    what it was trained on. So does a silver table that such a table goes on being computed from, and a feature function
    that such a model computes with. A silver or feature table that cannot be made like its declaration gets one, too.

    Args:
        context: The run.
        declared: What the use case declares.
        plan: What the edit does.
        kept: What is computed on by earlier code already.
        in_place: Models in use are given what the new declarations give; only what has to gets a version.
    """
    names, found = context.namespace, dict(context.namespace.versions)
    tables = {table.bare: table for table in declared.tables(names)}
    moving = {change.bare: change for change in plan.changes if change.table is not None}
    wanted = {bare for bare, change in moving.items() if _is_refused(change) and _may_have_versions(change)}
    if not in_place:
        wanted |= {bare for bare, change in moving.items() if _breaks_features(change)}
        read_on = {
            names.table(item).name
            for bare in wanted
            if isinstance(tables[bare].part, FeatureTable)
            for item in tables[bare].inputs
        }
        read_on |= {
            item.context.namespace.table(name).name for item in kept for part in item.features for name in part.inputs
        }
        wanted |= {
            bare
            for bare, change in moving.items()
            if isinstance(tables[bare].part, SilverTable)
            and tables[bare].name.name in read_on
            and change.changes_values
        }
        for function in _broken_functions(context, declared, plan):
            found[function.name] = _version(context, function.name, function_digest(function), found)
    # Silver before features: the name of a feature table's version tells what it is computed from.
    for bare in (name for name in tables if name in wanted):
        inputs = [found.get(item, item) for item in tables[bare].inputs]
        found[bare] = _version(context, bare, "\n".join([tables[bare].content, *inputs]), found)
    return found


def record(
    context: StageContext, declared: Declarations, plan: ChangePlan, names: Namespace, reason: str = ""
) -> ChangeRecord:
    """Put a decision about an edit on record: from here on it is what is written.

    Args:
        context: The run.
        declared: What the use case declares, in the versions that are decided.
        plan: What the edit does.
        names: The use case's, with these versions.
        reason: Why it is done.
    """
    change = ChangeRecord(
        change_id=uuid.uuid4().hex[:12],
        use_case=context.name,
        as_of=context.as_of,
        kind=str(plan.kind or Kind.TEXT),
        declared=declared.digest(names),
        versions=dict(names.versions),
        plan=plan.to_json(),
        reason=reason.strip() or None,
        decided_by=context.ws.user,
        recorded_at=utc_now(),
    )
    CHANGES.append(context.ws, context.namespace, [change])
    return change


def check_kept(context: StageContext, needed: Mapping[str, list[existing.LiveVersion]], kept: list[Kept]) -> None:
    """Refuse an edit after which nothing computes what a model in use reads.

    Args:
        context: The run, with the names that are decided.
        needed: Table or function -> the versions that read it, and that is not declared any more.
        kept: What is computed on by the code on record.

    Raises:
        StageError: With the tables.
    """
    covered = {
        name
        for item in kept
        for name in (
            *(item.context.namespace.features(part.name).name for part in item.features),
            *(item.context.namespace.table(part.name).name for part in item.functions),
        )
    }
    missing = {name: versions for name, versions in needed.items() if name not in covered}
    if missing:
        name, versions = next(iter(missing.items()))
        raise StageError(
            f"{', '.join(missing)} cannot be kept: {', '.join(map(str, versions))} reads {name}, and the code that "
            "computed it is not on record. It is put there by the stage features, of a use case in a package.",
            hint="Take the edit back and run once, then edit again; or accept that such models are given what the code "
            f'of now computes: mlplatform apply {context.name} --in-place --reason "..."',
        )


def _may_have_versions(change: PlannedChange) -> bool:
    return change.table is not None and isinstance(change.table.part, SilverTable | FeatureTable)


def _is_refused(change: PlannedChange) -> bool:
    return any(item.mark == "!" for item in change.differences)


def _breaks_features(change: PlannedChange) -> bool:
    return change.table is not None and isinstance(change.table.part, FeatureTable) and change.kind is Kind.BREAKING


def _broken_functions(context: StageContext, declared: Declarations, plan: ChangePlan) -> Iterator[FeatureFunctionSpec]:
    """Yield the functions that a model in use computes with, and whose code is another than that on record."""
    change = plan.change("functions")
    if change is None or change.kind is not Kind.BREAKING:
        return
    broken = {name.lower() for reading in change.broken for name in reading.columns}
    codes: dict[str, str] = {}
    for item in CODE.read(context.ws, context.namespace):
        codes |= item.codes
    for function in declared.functions:
        name = context.namespace.table(function.name).name
        if name.lower() in broken and codes.get(name) != function_digest(function):
            yield function


def _version(context: StageContext, bare: str, content: str, taken: Mapping[str, str]) -> str:
    """Return the name of a version: by content, and such that nothing has it yet."""
    tables, names = context.ws.tables, context.namespace
    name = first = f"{bare}__{hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]}"
    number = 1
    while name in {names.table(bare).name, *taken.values()} or tables.exists(names.exactly(name)):
        number += 1
        name = f"{first}_{number}"
    return name

"""Deciding about an edit: what `run` does by itself, what somebody has to decide, and what of it is on record."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence

from mlplatform.change import existing
from mlplatform.change.declared import Declarations, DeclaredTable, function_digest
from mlplatform.change.differences import Difference, Kind, of_shape, refused
from mlplatform.change.keeping import last_computed
from mlplatform.change.plan import ChangePlan, PlannedChange
from mlplatform.code_digest import has_changed
from mlplatform.errors import BreakingChangeError, StageError, UnavailableError
from mlplatform.features.adopted import first_computed
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace
from mlplatform.ops import changes
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import Kept
from mlplatform.ops.records import CHANGES, ChangeRecord
from mlplatform.ops.stage_runs import utc_now
from mlplatform.refine.silver import SilverTable

_DIGITS = 8
_NO_VERSION = (
    "This cannot be applied: mend what cannot be computed, or take the edit back. Keys, time and label of a spine do "
    "not change once it has tables: declare others in a use case of another name."
)


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
    moves = plan.kind is not None and plan.kind.gravity >= Kind.RECOMPUTE.gravity
    if plan.unknown and moves:
        raise BreakingChangeError(
            "\n".join([f"{context.name}: values change, and what a model in use reads is not known.", *plan.lines()]),
            hint=f"Put the model's files back, or take its alias away; or do it, on record: {_apply(context)}",
        )
    asked = context.settings.changes == "ask" and plan.kind is Kind.RECOMPUTE
    if not plan.is_breaking and not asked:
        return
    names = ", ".join(change.name for change in plan.changes if change.kind is plan.kind)
    why = "something breaking waits" if plan.is_breaking else "values of tables would change, and `changes: ask` is set"
    raise BreakingChangeError(
        "\n".join([f"{context.name}: {why}, in {names}; nothing was changed.", *plan.lines()]),
        hint=_NO_VERSION if list(_impossible(plan)) else f"Take the edit back, or do it, on record: {_apply(context)}",
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
    for change, item in _impossible(plan):
        raise StageError(f"{change.name}: {item.text}", hint=_NO_VERSION)
    if (plan.is_breaking or plan.unknown) and not reason.strip():
        names = ", ".join(change.name for change in plan.changes if change.kind is Kind.BREAKING)
        raise BreakingChangeError(
            f"{context.name}: something breaking waits in {names or 'what is not known'}; nothing was changed.",
            hint=f"Say why it is done, for the record: {_apply(context)}",
        )


def versions(
    context: StageContext,
    declared: Declarations,
    plan: ChangePlan,
    kept: Sequence[Kept],
    codes: Mapping[str, str],
    *,
    in_place: bool,
) -> dict[str, str]:
    """Return declared name -> version, of all tables and functions of which a version is to be written from now on.

    A feature table that a model in use reads, and whose values or columns change, gets a version: the model reads on
    what it was trained on. So does a silver table that such a table goes on being computed from, and a feature function
    that such a model computes with. A silver or feature table that cannot be made like its declaration gets one, too.

    Args:
        context: The run.
        declared: What the use case declares.
        plan: What the edit does.
        kept: What is computed on by earlier code, of these versions.
        codes: Digest of the code on record, by bare name.
        in_place: Models in use are given what the new declarations give; only what has to gets a version.

    Raises:
        StageError: If a table that would get a version holds adopted rows.
    """
    names, found = context.namespace, dict(context.namespace.versions)
    tables = {table.bare: table for table in declared.tables(names)}
    moving = {change.bare: change for change in plan.changes if change.table is not None}
    wanted = {bare for bare, change in moving.items() if _is_refused(change) and _may_have_versions(change)}
    if not in_place:
        wanted |= {bare for bare, change in moving.items() if _breaks_features(change)}
        read_on = {
            item.context.namespace.table(name).name for item in kept for part in item.features for name in part.inputs
        }
        wanted |= {
            bare
            for bare, change in moving.items()
            if isinstance(tables[bare].part, SilverTable) and tables[bare].name.name in read_on and _moves(change)
        }
        for function in _broken_functions(context, declared, plan, codes):
            found[function.name] = _version(context, function.name, function_digest(function), found)
    # Silver before features: the name of a feature table's version tells what it is computed from.
    for bare in (name for name in tables if name in wanted):
        _check_not_adopted(context, tables[bare])
        inputs = [found.get(item, item) for item in tables[bare].inputs]
        found[bare] = _version(context, bare, "\n".join([tables[bare].content, *inputs]), found)
    return found


def given_back(
    context: StageContext, declared: Declarations, failing: Collection[str], versions: Mapping[str, str]
) -> dict[str, str]:
    """Return the versions after which present code writes what earlier code cannot compute on.

    Args:
        context: The run.
        declared: What the use case declares.
        failing: Bare names of tables and functions that cannot be computed on.
        versions: Declared name -> version, as they are.
    """
    found = dict(versions)
    tables = {table.bare: table for table in declared.tables(context.namespace)}
    functions = {item.name.lower(): item.name for item in declared.functions}
    for name in failing:
        bare = name.partition("__")[0] if name.partition("__")[0] in (*tables, *functions) else name
        if bare in functions:
            found[functions[bare]] = name
        elif bare in tables and _fits(context, tables[bare], name):
            found[bare] = name
    return {declared_as: version for declared_as, version in found.items() if declared_as != version}


def _fits(context: StageContext, table: DeclaredTable, name: str) -> bool:
    """Tell whether a table can become what is declared."""
    info = existing.find(context, context.namespace.exactly(name))
    if info is None:
        return False
    return not list(refused(table.beside(info), info))


def _check_not_adopted(context: StageContext, table: DeclaredTable) -> None:
    if isinstance(table.part, FeatureTable) and first_computed(context, table.name) is not None:
        raise StageError(
            f"{table.name} holds adopted rows, which a version of it would not.",
            hint="Declare what changes as a feature table of another name, and look both up; or accept that models in "
            f"use are given the new values: {_apply(context)} --in-place",
        )


def record(
    context: StageContext,
    declared: Declarations,
    plan: ChangePlan,
    names: Namespace,
    reason: str = "",
    given_up: Collection[str] = (),
) -> ChangeRecord:
    """Put a decision about an edit on record: from here on it is what is written.

    Args:
        context: The run.
        declared: What the use case declares, in the versions that are decided.
        plan: What the edit does.
        names: The use case's, with these versions.
        reason: Why it is done.
        given_up: What models in use read, and nothing computes on any more.

    Raises:
        UnavailableError: If another edit was applied meanwhile.
    """
    if changes.versions(context.ws, context.namespace) != dict(context.namespace.versions):
        raise UnavailableError(f"{context.name}: another edit was applied meanwhile.", hint="Run again.")
    change = ChangeRecord(
        change_id=uuid.uuid4().hex[:12],
        use_case=context.name,
        as_of=context.as_of,
        kind=str(plan.kind or Kind.TEXT),
        declared=declared.digest(names),
        versions=dict(names.versions),
        plan=plan.to_json(),
        given_up=sorted(given_up),
        reason=reason.strip() or None,
        decided_by=context.ws.user,
        recorded_at=utc_now(),
    )
    CHANGES.append(context.ws, context.namespace, [change])
    return change


def check_sources(context: StageContext, declared: Declarations, kept: Sequence[Kept]) -> None:
    """Refuse an edit after which nothing lands any more that what is kept is computed from.

    Args:
        context: The run.
        declared: What the use case declares.
        kept: What is computed on by the code on record.

    Raises:
        StageError: With the sources and columns.
    """
    columns = {source.name: set(source.columns) for source in declared.sources}
    for item in kept:
        # A source that is gone as a whole is ingested on.
        landing = {source.name: set(source.columns) for source in item.sources} | columns
        for silver in item.silver:
            gone = set(silver.source.columns) - landing.get(silver.source.name, set())
            if gone:
                raise StageError(
                    f"{item.context.namespace.silver(silver.name)} is computed on for a model in use, from columns "
                    f"of the source {silver.source.name} that are not declared any more: {', '.join(sorted(gone))}.",
                    hint="Leave them in the source until a model that does without is promoted; or accept that models "
                    f'in use are given nulls: mlplatform apply {context.name} --in-place --reason "why"',
                )


def _apply(context: StageContext) -> str:
    """Return the command that applies an edit at the time of a run."""
    return f'mlplatform apply {context.name} --as-of {context.as_of:%Y-%m-%dT%H:%M:%SZ} --reason "why"'


def _impossible(plan: ChangePlan) -> Iterator[tuple[PlannedChange, Difference]]:
    """Yield what cannot be applied: what cannot be computed, and what can neither follow nor have a version."""
    for change in plan.changes:
        for item in change.differences:
            if item.mark == "!" and (item.subject != "declaration" or not _may_have_versions(change)):
                yield change, item


def _may_have_versions(change: PlannedChange) -> bool:
    return change.table is not None and isinstance(change.table.part, SilverTable | FeatureTable)


def _moves(change: PlannedChange) -> bool:
    """Tell whether who reads a table by earlier code would find other values in it, or nulls for new rows."""
    return change.changes_values or any(item.mark == "-" for item in change.differences)


def _is_refused(change: PlannedChange) -> bool:
    return any(item.mark == "!" for item in change.differences)


def _breaks_features(change: PlannedChange) -> bool:
    return change.table is not None and isinstance(change.table.part, FeatureTable) and change.kind is Kind.BREAKING


def _broken_functions(
    context: StageContext, declared: Declarations, plan: ChangePlan, codes: Mapping[str, str]
) -> Iterator[FeatureFunctionSpec]:
    """Yield the functions that a model in use computes with, and whose code is another than that on record."""
    change = plan.change("functions")
    if change is None or change.kind is not Kind.BREAKING:
        return
    broken = {name.lower() for reading in change.broken for name in reading.columns}
    for function in declared.functions:
        name = context.namespace.table(function.name).name.lower()
        if name in broken and codes.get(name) != function_digest(function):
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

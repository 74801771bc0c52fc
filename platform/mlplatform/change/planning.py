"""Making a plan: every declared table is compared with what exists, by computing; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from mlplatform import stopping
from mlplatform.change import existing
from mlplatform.change.answers import Answer
from mlplatform.change.asking import Asked
from mlplatform.change.changed_view import Anew, Computed
from mlplatform.change.declared import MODEL_CODE, Declarations, DeclaredTable, function_digest
from mlplatform.change.differences import Difference, Kind, Measured, of_shape, of_values, refused
from mlplatform.change.existing import LiveVersion, Recorded
from mlplatform.change.keeping import Keeper
from mlplatform.change.lookups import lookup_differences
from mlplatform.change.measuring import compared, rows_anew
from mlplatform.change.plan import ChangePlan, KeptTable, PlannedChange, Reading
from mlplatform.code_digest import has_changed
from mlplatform.errors import FeatureStoreError, PlatformError
from mlplatform.features.functions import checked_function
from mlplatform.ingest.source import Source
from mlplatform.ingest.stage import read_otherwise
from mlplatform.naming import ObjectName
from mlplatform.ops import changes
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import Kept
from mlplatform.protocols.tables import TableInfo
from mlplatform.refine.gold_refining import GoldTable
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.spine import SPINE

CODE = "code changed"
# The same model says the same of the same row, but for the order in which an engine adds numbers up.
_SAME_PREDICTION = 1e-6


def plan_of(context: StageContext, declared: Declarations, keeper: Keeper) -> ChangePlan:
    """Compare what a use case declares with what its workspace holds; nothing is changed.

    Where code changed, the new code is computed and its rows compared; where what a live model version reads differs,
    the version is asked what it would say.

    Args:
        context: The run; what is known by its `as_of` counts.
        declared: What the use case declares.
        keeper: Knows what is computed on for models in use.

    Raises:
        RegistryError: If the registry cannot be read.
    """
    with ExitStack() as stack:
        return _Planning(context, declared, keeper, stack).plan()


class _Planning:
    """Goes through the declared tables, each after those that it is computed from."""

    def __init__(self, context: StageContext, declared: Declarations, keeper: Keeper, stack: ExitStack) -> None:
        self._context, self._declared, self._stack = context, declared, stack
        self._anew = Anew(context)
        # Tables whose rows or columns are others than they were: what reads them is computed, too.
        self._moved: set[str] = set()
        self._left_out = existing.left_out(context)
        self._live, self._notes = existing.live_versions(context)
        self._unknown = list(self._notes)
        self._codes = keeper.codes(context)
        decided = keeper.decided(context)
        needed = keeper.needed(context, self._live, given_up=decided.given_up if decided is not None else ())
        self._given_up = set(decided.given_up) if decided is not None else set()
        self._kept: list[Kept] = []
        failing = keeper.failing(context, needed)
        self._notes += [f"{name}: {why}" for name, why in failing.items()]
        self._kept = list(keeper.of(context, {name: live for name, live in needed.items() if name not in failing}))
        self._functions_kept = {
            str(kept.context.namespace.table(item.name)).lower(): item for kept in self._kept for item in kept.functions
        }
        self._functions_declared = {
            str(context.namespace.table(item.name)).lower(): item for item in declared.functions
        }
        functions = {**self._functions_kept, **self._functions_declared}
        self._asked = {live.number: Asked(context, live, functions, declared.trusted_types) for live in self._live}

    def plan(self) -> ChangePlan:
        """Return the plan."""
        context, declared = self._context, self._declared
        plan = ChangePlan(context.name, context.as_of, notes=self._notes, unknown=self._unknown)
        tables = list(declared.tables(context.namespace))
        for table in tables:
            change = self._change(table)
            if change.differences:
                plan.changes.append(change)
            else:
                plan.unchanged.append(table.name.name)
        plan.changes += self._kept_changes({change.name: change for change in plan.changes})
        kept = dict(self._kept_tables())
        replaced = changes.replaced(context.ws, context.namespace)
        for name in existing.undeclared(context, tables):
            readings = [self._reading(live, name) for live in self._live if live.reads(name)]
            if name.name in kept:
                plan.kept.append(KeptTable(name.name, kept[name.name]))
                continue
            if name.name in replaced and not (readings and name.name not in self._given_up):
                plan.kept.append(KeptTable(name.name, ""))
                continue
            plan.undeclared.append(name.name)
            if readings and name.name not in self._given_up:
                text = "not declared any more: nothing computes it, and it is read"
                plan.changes.append(PlannedChange(name.name, differences=[_gone(text)], readings=readings))
        for function in self._functions_kept:
            readers = [str(live) for live in self._live if function in map(str.lower, live.computes_with)]
            plan.kept.append(KeptTable(ObjectName.parse(function).name, ", ".join(readers)))
        plan.changes += [
            change for change in (self._functions(), self._model_code(), self._lookups()) if change.differences
        ]
        return plan

    def _change(self, table: DeclaredTable) -> PlannedChange:
        context = self._context
        context.progress(table.name.name)
        change, info = PlannedChange(table.name.name, table), existing.find(context, table.name)
        if info is None:
            self._new(table, change)
            return change
        table = table.beside(info)
        read = {column for live in self._live for column in live.reads(table.name)} - self._gone_before(table)
        change.differences += [*of_shape(table, info, read), *refused(table, info)]
        if isinstance(table.part, Source):
            self._say_source(table, info, change)
        else:
            record = existing.recorded(context, table, info)
            if why := self._why_measured(table, record, change):
                self._measure(table, info, record, change, why, read)
        self._ask(table, info, change)
        return change

    def _new(self, table: DeclaredTable, change: PlannedChange) -> None:
        """Say of a table that does not exist how many rows it will hold."""
        text = "new table"
        if self._missing(table):
            text = f"new table; its rows are counted once {', '.join(self._missing(table))} exists"
        elif not isinstance(table.part, Source):
            found = self._computed(table, Recorded(), change)
            if found is not None:
                self._anew.add(table, found)
                count = self._context.ws.frames.count(found.rows)
                text = f"new table, {count:,} rows to compute (about {found.seconds:.0f} s)"
        self._move(change)
        change.differences.insert(0, Difference("+", "table", Kind.ADDITIVE, text))

    def _move(self, change: PlannedChange) -> None:
        change.moves = True
        self._moved.add(change.bare)

    def _gone_before(self, table: DeclaredTable) -> set[str]:
        """Return the columns that the newest edit left out already: they stay in the table, and are decided about."""
        left_out = self._left_out.get(table.name.name, set())
        return {name for name in left_out if name not in table.schema.names}

    def _missing(self, table: DeclaredTable) -> list[str]:
        """Return the inputs of a table that do not exist, and could not be computed for the plan either."""
        tables = self._context.ws.tables
        names = self._context.namespace
        return [name for name in table.inputs if name not in self._anew.rows and not tables.exists(names.table(name))]

    def _say_source(self, table: DeclaredTable, info: TableInfo, change: PlannedChange) -> None:
        """Bronze holds what landed: columns that a source gains or loses matter for what lands from now on."""
        if isinstance(table.part, Source) and (text := read_otherwise(self._context, table.part)):
            self._notes.append(text)
        if set(table.schema.names) ^ set(info.schema.names) - self._gone_before(table):
            self._move(change)
        for place, item in enumerate(change.differences):
            if item.mark in "+-" and item.kind is Kind.ADDITIVE:
                text = "new column" if item.mark == "+" else "no longer read"
                null = "what landed before has null" if item.mark == "+" else "what lands from now on has null"
                change.differences[place] = replace(item, text=f"{text}: {null}")

    def _why_measured(self, table: DeclaredTable, record: Recorded, change: PlannedChange) -> str:
        """Return why a table is computed for the plan; empty where nothing that decides its rows changed."""
        if has_changed(record.code, table.code):
            return "code or settings changed" if isinstance(table.part, GoldTable) else CODE
        moved = [name for name in table.inputs if name in self._moved]
        if moved and isinstance(table.part, SilverTable):
            return f"{', '.join(moved)}, from now on"
        if moved:
            return f"{', '.join(moved)} changed"
        if any(item.kind is not Kind.TEXT for item in change.differences):
            return "declaration changed"
        # The next run computes it whole, by whatever code.
        return "no record of its code" if record.code is None else ""

    def _measure(
        self, table: DeclaredTable, info: TableInfo, record: Recorded, change: PlannedChange, why: str, read: set[str]
    ) -> None:
        if missing := self._missing(table):
            kind = Kind.BREAKING if read else Kind.RECOMPUTE
            change.differences.append(Difference("!", why, kind, f"not computed: {', '.join(missing)} does not exist"))
            return
        computed = self._computed(table, record, change)
        if computed is None:
            return
        try:
            measured = compared(self._context, table, info, computed)
        except PlatformError as error:
            change.differences.append(_fails(error))
            return
        change.measured = measured
        shaped = [item for item in change.differences if item.kind is not Kind.TEXT]
        # That the values are the same is news where nothing else is, and the code is other code.
        if not measured.same or (not shaped and has_changed(record.code, table.code)):
            change.differences += of_values(measured, read, why=why)
        _complete(change, measured)
        if shaped or not measured.same:
            self._anew.add(table, computed)
            self._move(change)

    def _computed(self, table: DeclaredTable, record: Recorded, change: PlannedChange) -> Computed | None:
        """Compute a table by its declaration; None where that fails, which the change says."""
        try:
            return self._stack.enter_context(rows_anew(self._anew, table, record))
        except Exception as error:  # noqa: BLE001  (a use case's own code may raise anything; it is reported)
            stopping.check()
            change.differences.append(_fails(error))
            return None

    def _ask(self, table: DeclaredTable, info: TableInfo, change: PlannedChange) -> None:
        """Ask the live versions that read what changes in a table."""
        breaking = [item for item in change.differences if item.kind is Kind.BREAKING]
        if not breaking:
            return
        for live in self._live:
            reads = tuple(name for name in live.reads(table.name) if name not in self._gone_before(table))
            fails = any(item.mark == "!" for item in breaking)
            columns = reads if fails else _changed_columns(table, info, change, reads)
            if not columns:
                continue
            answer: Answer | None = None
            rows = self._anew.rows.get(table.bare)
            if rows is not None and change.measured is not None and change.measured.compared:
                self._context.progress(f"{change.name}: asking {live}")
                asked = self._asked[live.number]
                is_spine = isinstance(table.part, GoldTable) and table.part.name == SPINE
                answer = (
                    asked.with_spine(rows)
                    if is_spine
                    else asked.with_table(table.name, rows, self._anew.stretches[table.bare])
                )
            change.readings.append(Reading(str(live), live.number, columns, answer, breaks=True))

    def _kept_tables(self) -> Iterator[tuple[str, str]]:
        """Yield the tables that earlier code goes on writing, each with the versions that it does so for.

        Bronze, silver and their quarantines are among them, where feature tables are computed from them.
        """
        for kept in self._kept:
            names = kept.context.namespace
            features = [names.features(table.name) for table in kept.features]
            for name in features:
                yield name.name, self._shown(name)
            readers = self._shown(*features)
            for source in kept.sources:
                yield names.bronze(source.name).name, readers
                yield names.quarantine(source.name).name, readers
            for table in kept.silver:
                yield names.silver(table.name).name, readers
                yield names.silver_quarantine(table.name).name, readers

    def _shown(self, *tables: ObjectName) -> str:
        return ", ".join(str(live) for live in self._live if any(live.reads(table) for table in tables))

    def _kept_changes(self, planned: Mapping[str, PlannedChange]) -> Iterator[PlannedChange]:
        """Yield what becomes of tables that earlier code computes from tables that change."""
        for kept in self._kept:
            names = kept.context.namespace
            for table in kept.features:
                name = names.features(table.name)
                inputs = [names.table(item).name for item in table.inputs]
                moving = [item for item in inputs if item in planned and planned[item].changes_values]
                if moving:
                    text = f"computed on, by the code on record, from {', '.join(moving)}, whose values change"
                    readings = [self._reading(live, name) for live in self._live if live.reads(name)]
                    change = Difference("~", "inputs", Kind.BREAKING, text)
                    yield PlannedChange(name.name, differences=[change], readings=readings)

    def _reading(self, live: LiveVersion, name: ObjectName) -> Reading:
        return Reading(str(live), live.number, live.reads(name), None, breaks=True)

    def _functions(self) -> PlannedChange:
        """Ask the live versions that compute with functions whether they still say what is on record."""
        change, declared = PlannedChange("functions"), self._functions_declared
        kept = self._functions_kept.keys() - declared.keys()
        for live in self._live:
            names = [name for name in live.computes_with if name.lower() not in kept]
            shown = tuple(ObjectName.parse(name).name for name in names)
            if gone := [ObjectName.parse(name).name for name in names if name.lower() not in declared]:
                text = f"{', '.join(gone)} not declared any more, and computed with"
                change.differences.append(_gone(text))
                change.readings.append(Reading(str(live), live.number, tuple(gone), None, breaks=True))
                continue
            signatures = list(self._other_signatures(names))
            if not signatures and not self._have_other_code(names):
                continue
            answer = self._asked[live.number].with_functions()
            others = ""
            if signatures:
                others = "; ".join(signatures)
            elif answer.fails:
                others = answer.why_not
            elif answer.moved is None and (others_on_record := self._changed_functions(names)):
                others = f"{', '.join(others_on_record)}: other code, and {answer.why_not}"
            elif answer.moved is not None and (answer.moved.moved or answer.moved.largest > _SAME_PREDICTION):
                others = f"{', '.join(shown)}: other predictions than those on record"
            if others:
                change.differences.append(Difference("~", CODE, Kind.BREAKING, others))
                change.readings.append(Reading(str(live), live.number, shown, answer, breaks=True))
        change.differences = list(dict.fromkeys(change.differences))
        return change

    def _model_code(self) -> PlannedChange:
        """Ask the live versions whether they say what is on record, where classes that models hold have changed."""
        change, now = PlannedChange(MODEL_CODE), self._declared.model_code
        if not now or not has_changed(self._codes.get(MODEL_CODE) or None, now):
            return change
        for live in self._live:
            answer = self._asked[live.number].with_functions()
            is_same = answer.moved is not None and not answer.moved.moved and answer.moved.largest <= _SAME_PREDICTION
            if not is_same:
                text = answer.why_not or "other predictions than those on record"
                change.differences.append(Difference("~", CODE, Kind.BREAKING, f"classes that models hold: {text}"))
                change.readings.append(Reading(str(live), live.number, (), answer, breaks=True))
        change.differences = list(dict.fromkeys(change.differences))
        return change

    def _have_other_code(self, names: Sequence[str]) -> bool:
        """Tell whether the code of functions is another than that on record, or none of one is on record."""
        known = {ObjectName.parse(name).name.lower() for name in names} <= self._codes.keys()
        return not known or bool(self._changed_functions(names))

    def _changed_functions(self, names: Sequence[str]) -> list[str]:
        """Return those functions of which the code is another than that on record."""
        now = {
            self._context.namespace.table(item.name).name.lower(): function_digest(item)
            for item in self._declared.functions
        }
        bare = [ObjectName.parse(name).name.lower() for name in names]
        codes = self._codes
        return [name for name in bare if name in codes and name in now and has_changed(codes[name], now[name])]

    def _other_signatures(self, names: Sequence[str]) -> Iterator[str]:
        """Yield which functions are declared with other parameters or results than those that are registered."""
        functions = self._context.ws.functions
        for name in names:
            item = self._functions_declared[name.lower()]
            try:
                held = functions.get(name)
            except FeatureStoreError:
                continue  # it is not registered here: the next stage that looks features up does that
            now = checked_function(name, item.fn, item.parameters, item.returns)
            shown = [
                f"({', '.join(f'{key} {kind}' for key, kind in info.parameters)}) → {info.returns}"
                for info in (held, now)
            ]
            if shown[0] != shown[1]:
                yield f"{item.name}{shown[0]} is declared as {shown[1]}"

    def _lookups(self) -> PlannedChange:
        """Compare what the next training looks up with what the champion was trained on."""
        if not self._live:
            return PlannedChange("lookups")
        return PlannedChange(
            "lookups", differences=list(lookup_differences(self._context.namespace, self._declared, self._live[0]))
        )


def _gone(text: str) -> Difference:
    return Difference("-", "definition", Kind.BREAKING, text)


def _fails(error: Exception) -> Difference:
    message = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
    return Difference("!", "code", Kind.BREAKING, f"cannot be computed: {message.strip().splitlines()[0]}")


def _complete(change: PlannedChange, measured: Measured) -> None:
    """Add to new columns how many rows are to be computed, and to dropped ones where their values went."""
    for place, item in enumerate(change.differences):
        if item.mark == "+" and item.text.startswith("new column"):
            count, seconds = measured.to_compute
            rows = f", {count:,} rows to compute (about {seconds:.0f} s)"
            renamed = [old for old, new in measured.renamed.items() if new == item.subject]
            tail = f"; holds what {renamed[0]} holds: a rename is a drop and an addition" if renamed else ""
            change.differences[place] = replace(item, text=f"{item.text}{rows}{tail}")


def _changed_columns(
    table: DeclaredTable, info: TableInfo, change: PlannedChange, read: Sequence[str]
) -> tuple[str, ...]:
    """Return which of the columns that a version reads change in meaning or type, or go away."""
    measured = change.measured
    shape = {item.subject for item in change.differences if item.kind is Kind.BREAKING}
    whole = shape & {"keys", "timeseries column", *info.primary_keys} or (
        measured is not None and (measured.added or measured.removed or not measured.compared)
    )
    if whole:
        return tuple(read)
    differing = set(measured.columns) if measured is not None else set()
    gone = {name for name in read if name not in table.schema.names and name in info.schema.names}
    return tuple(name for name in read if name in differing or name in gone or name in shape)

"""Sixty edits of the reference use cases: a plan says what recomputation proves, and no champion says anything else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.change.differences import Kind
from mlplatform.change.plan import ChangePlan, PlannedChange
from mlplatform.errors import BreakingChangeError, StageError
from mlplatform.features.functions import register_functions
from mlplatform.naming import Namespace
from mlplatform.ops.records import CHANGES
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.reference_edits import (
    EDITS,
    LABELS,
    REFERENCES,
    SPINE,
    Reference,
    ReferenceEdit,
    write_reference,
)
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.protocols.tables import TableInfo
    from mlplatform.use_case import UseCase

STAGES = ("ingest", "refine", "features")
REASON = "an edit that somebody decided about"
# Where a row came from, which no edit of a declaration changes.
_PROVENANCE = ("_file", "_row", "_available_at", "_batch", "_ingested_at")
_GRAVITY = (Kind.TEXT, Kind.ADDITIVE, Kind.RECOMPUTE, Kind.BREAKING)
# What a type may become without a change of values, as far as the edits do it.
_WIDER = {(pa.int64(), pa.decimal128(20, 0))}


@dataclass(frozen=True)
class Base:
    """A workspace in which a reference, not edited, has a champion and its predictions; no test writes to it.

    Attributes:
        name: The reference.
        reference: How it is made small.
        root: The workspace's folder.
        landing: Where its files land.
        ws: The workspace, opened.
        rows: The spine's rows.
        said: What the champion predicts for them.
    """

    name: str
    reference: Reference
    root: Path
    landing: Path
    ws: LocalWorkspace
    rows: pa.Table
    said: pa.Table

    @property
    def names(self) -> Namespace:
        """Its names, without versions."""
        return Namespace("dev", self.name)

    def pipeline(self, ws: LocalWorkspace, use_cases: Path, as_of: str = "") -> Pipeline:
        """Return what runs the reference of a folder in a workspace."""
        return Pipeline(ws, self.opened(ws, use_cases), parse_as_of(as_of or self.reference.as_of))

    def opened(self, ws: LocalWorkspace, use_cases: Path) -> UseCase:
        """Import the reference from a folder, whatever was imported under its name before."""
        return discovery.open_use_case(ws, self.name, use_cases)

    def predictions(self, ws: LocalWorkspace, rows: pa.Table) -> pa.Table:
        """Return what the champion predicts for rows, in the order of their keys."""
        keys = self.ws.tables.describe(self.names.gold("spine")).primary_keys
        scored = ws.fe.score_batch_arrow(model_uri=f"models:/{self.names.model}/1", df=rows, trusted_types=())
        return scored.select([*keys, "prediction"]).sort_by([(key, "ascending") for key in keys])

    def files(self, ws: LocalWorkspace) -> dict[str, str]:
        """Return the digest of each file of a workspace that may have been moved."""
        # It takes notice of that when it first looks into its registry.
        assert ws.registry.aliases(self.names.model) == {"champion": 1}
        return files_of(ws.root)

    def is_read(self, table: str) -> bool:
        """Tell whether the champion reads a table."""
        return table == SPINE or table.startswith("features_")

    def reads(self, table: str, column: str) -> bool:
        """Tell whether the champion is given a column, or something that is computed from it."""
        return self.is_read(table) and column not in self.reference.unread.get(table, ())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    """A workspace whose Spark session all others share."""
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("engine")) as ws:
        yield ws


@pytest.fixture(scope="module")
def bases(engine: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Base]]:
    """References with their champions, each made when first asked for; no test changes a file of them."""
    made: dict[str, Base] = {}
    before: dict[str, dict[str, str]] = {}

    def base(name: str) -> Base:
        if name not in made:
            made[name] = _made(name, engine, tmp_path_factory.mktemp(name))
            before[name] = files_of(made[name].root)
            assert before[name]
        return made[name]

    yield base
    for name, item in made.items():
        item.ws.close()
        assert files_of(item.root) == before[name]


def _made(name: str, engine: LocalWorkspace, folder: Path) -> Base:
    reference = REFERENCES[name]
    root, landing = folder / "ws", folder / "data"
    landing.mkdir()
    reference.write_data(landing)
    use_cases = write_reference(folder / "use_cases", name, landing, ReferenceEdit())
    with LocalWorkspace.open(root=root, spark=engine.spark) as ws:
        pipeline = Pipeline(ws, discovery.open_use_case(ws, name, use_cases), parse_as_of(reference.as_of))
        pipeline.run([*STAGES, "train"])
        assert pipeline.gate(override="the first one").details.outcome == "promoted"
        pipeline.run(["score"])
    ws = LocalWorkspace.open(root=root, spark=engine.spark)
    rows = ws.tables.to_arrow(Namespace("dev", name).gold("spine"), at_most=10**6)
    base = Base(name, reference, root, landing, ws, rows, rows)
    return replace(base, said=base.predictions(ws, rows))


def files_of(root: Path) -> dict[str, str]:
    """Return the digest of each file of a workspace, but scratch, logs, locks, and the record of runs."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.relative_to(root).parts[0] not in ("tmp", "logs", ".locks")
        and "stage_runs" not in path.parts
    }


def test_there_are_sixty_edits() -> None:
    assert {name: len(edits) for name, edits in EDITS.items()} == dict.fromkeys(REFERENCES, 20)


@pytest.mark.parametrize(
    ("reference", "name"), [(reference, name) for reference, edits in EDITS.items() for name in edits]
)
def test_an_edit_is_one_of_the_reference_as_it_stands(reference: str, name: str, tmp_path: Path) -> None:
    write_reference(tmp_path / "edited", reference, tmp_path, EDITS[reference][name])
    write_reference(tmp_path / "anew", reference, tmp_path, EDITS[reference][name], anew=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "name"),
    [pytest.param(base, name, id=f"{base}: {name}") for base, edits in EDITS.items() for name in edits],
)
def test_a_plan_says_what_recomputation_proves_and_the_champion_is_given_no_other_values(
    reference: str, name: str, bases: Callable[[str], Base], tmp_path: Path
) -> None:
    base, edit = bases(reference), EDITS[reference][name]
    use_cases = write_reference(tmp_path / "use_cases", base.name, base.landing, edit)
    plan = base.pipeline(base.ws, use_cases).plan()
    shown = "\n".join(plan.lines())
    found = {change.name: change.kind for change in plan.changes if change.kind is not Kind.TEXT}
    assert found == edit.kinds, shown
    for text in edit.says:
        assert text in shown, shown
    anew: LocalWorkspace | None = None
    if not edit.refused:
        anew = _prove(base, plan, edit, tmp_path)
    try:
        _do(base, plan, edit, use_cases, anew, tmp_path)
    finally:
        if anew is not None:
            anew.close()


@pytest.mark.slow
def test_what_lands_of_a_source_that_is_gone_goes_on_to_the_champion(
    bases: Callable[[str], Base], tmp_path: Path
) -> None:
    base, later = bases("delivery_delay"), "2013-01-09"
    edit = EDITS[base.name]["a source less, and all that comes of it"]
    use_cases = write_reference(tmp_path / "edited", base.name, base.landing, edit)
    unedited = write_reference(tmp_path / "unedited", base.name, base.landing, ReferenceEdit())
    with (
        LocalWorkspace.open(root=clone(base.root, tmp_path / "ws"), spark=base.ws.spark) as ws,
        LocalWorkspace.open(root=clone(base.root, tmp_path / "other"), spark=base.ws.spark) as other,
    ):
        base.pipeline(ws, use_cases).apply(reason=REASON)
        base.pipeline(ws, use_cases, later).run(STAGES)
        base.pipeline(other, unedited, later).run(STAGES)
        for table in ("bronze_weather", "silver_weather", "features_weather"):
            rows, expected = (rows_of(it, base.names, table) for it in (ws, other))
            assert len(rows) == len(expected) > len(rows_of(base.ws, base.names, table)), table
        keys = ["origin", "reported_at"]
        both = rows.merge(expected, on=keys, suffixes=("", "__now"))
        assert len(both) == len(rows)
        assert _differing(both, set(rows.columns) - set(keys)) == {}
        assert not base.pipeline(ws, use_cases, later).plan().undeclared


@pytest.mark.slow
def test_nothing_is_scored_with_a_function_that_nobody_decided_about(
    bases: Callable[[str], Base], tmp_path: Path
) -> None:
    base = bases("credit_risk")
    edit = EDITS[base.name]["what a feature function gives"]
    use_cases = write_reference(tmp_path / "edited", base.name, base.landing, edit)
    root = clone(base.root, tmp_path / "ws")
    with LocalWorkspace.open(root=root, spark=base.ws.spark) as ws:
        before = base.files(ws)
        for stage in ("score", "train"):
            with pytest.raises(BreakingChangeError, match="functions"):
                base.pipeline(ws, use_cases).run([stage])
        assert files_of(root) == before
        base.pipeline(ws, use_cases).apply(reason=REASON)
        base.pipeline(ws, use_cases).run(["score"])
        assert base.predictions(ws, base.rows).equals(base.said)


def _prove(base: Base, plan: ChangePlan, edit: ReferenceEdit, tmp_path: Path) -> LocalWorkspace:
    """Compute all in an empty workspace by the edited use case, and hold the rows against those before, in pandas.

    Returns:
        The workspace, still open.
    """
    ws = LocalWorkspace.open(root=tmp_path / "anew", spark=base.ws.spark)
    use_cases = write_reference(tmp_path / "from_the_beginning", base.name, base.landing, edit, anew=True)
    base.pipeline(ws, use_cases).run(STAGES)
    held, computed = (tables_of(it, base.names) for it in (base.ws, ws))
    for table in sorted({*held, *computed}):
        change = plan.change(table)
        kind = change.kind if change is not None and change.kind is not None else Kind.TEXT
        proven = _proven(base, table, ws, change) if table in held and table in computed else None
        if proven is None:
            proven = Kind.ADDITIVE if table in computed else Kind.TEXT
            # What is not declared any more goes on for who reads it.
            kept = table in {item.name for item in plan.kept}
            assert kept or table in computed or not base.is_read(table)
        assert kind is proven, (table, kind, proven, "\n".join(plan.lines()))
    return ws


def tables_of(ws: LocalWorkspace, names: Namespace) -> set[str]:
    """Return the bronze, silver, gold and feature tables of a workspace that no scoring wrote."""
    held = ws.tables.list(names.catalog, names.use_case)
    return {name for name in held if name.startswith(("bronze_", "silver_", "features_")) or name in (SPINE, LABELS)}


def _proven(base: Base, table: str, other: LocalWorkspace, change: PlannedChange | None) -> Kind:
    """Return what an edit does to a table, from the table as it was and as it is computed from the beginning."""
    name = base.names.table(table)
    then, now = (ws.tables.describe(name) for ws in (base.ws, other))
    kinds = [Kind.TEXT, *_of_shape(base, table, then, now)]
    if table.startswith("bronze_"):
        return max(kinds, key=_GRAVITY.index)
    measured = change.measured if change is not None else None
    if (then.primary_keys, then.timeseries_column) != (now.primary_keys, now.timeseries_column):
        assert measured is None or not measured.compared
        return Kind.BREAKING
    keys = list(then.primary_keys)
    held, computed = (rows_of(ws, base.names, table) for ws in (base.ws, other))
    both = held.merge(computed, on=keys, suffixes=("", "__now"))
    gone, new = len(held) - len(both), len(computed) - len(both)
    differing = _differing(both, (set(held.columns) & set(computed.columns)) - set(keys))
    moved = {column for column in differing if base.reads(table, column)}
    if measured is not None:
        assert (measured.before, measured.after) == (len(held), len(computed))
        assert (measured.removed, measured.added) == (gone, new)
        assert {column: item.rows for column, item in measured.columns.items()} == differing
    else:
        assert (differing, gone, new) == ({}, 0, 0)
    refused = change is not None and any(item.mark == "!" for item in change.differences)
    if differing or gone or new:
        breaking = moved or ((gone or new) and base.is_read(table))
        kinds.append(Kind.BREAKING if breaking else Kind.RECOMPUTE)
    if change is not None and change.kind is Kind.BREAKING and change.readings and not (gone or new or refused):
        moved |= {column for column in _reshaped(then, now) if base.reads(table, column)}
        assert {column for reading in change.readings for column in reading.columns} == moved
    return max(kinds, key=_GRAVITY.index)


def _reshaped(then: TableInfo, now: TableInfo) -> Iterator[str]:
    """Yield the columns that are gone, or of another type."""
    for field in then.schema:
        if field.name not in now.schema.names or now.schema.field(field.name).type != field.type:
            yield field.name


def _of_shape(base: Base, table: str, then: TableInfo, now: TableInfo) -> Iterator[Kind]:
    """Yield what becomes of a table that is made like another one, column by column."""
    for field in then.schema:
        reads = base.reads(table, field.name)
        if field.name not in now.schema.names:
            yield Kind.ADDITIVE if field.nullable and not reads else Kind.BREAKING
            continue
        other = now.schema.field(field.name)
        if not other.type.equals(field.type):
            yield Kind.RECOMPUTE if (field.type, other.type) in _WIDER and not reads else Kind.BREAKING
        if other.nullable != field.nullable:
            yield Kind.ADDITIVE if other.nullable else Kind.BREAKING
    for field in now.schema:
        if field.name not in then.schema.names:
            yield Kind.ADDITIVE if field.nullable else Kind.BREAKING


def rows_of(ws: LocalWorkspace, names: Namespace, table: str) -> pd.DataFrame:
    """Return a table's rows, decimals as floats, without where they came from."""
    rows = ws.tables.to_arrow(names.table(table), at_most=10**6)
    rows = rows.drop_columns([name for name in _PROVENANCE if name in rows.column_names])
    for place, field in enumerate(rows.schema):
        if pa.types.is_decimal(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).cast(pa.float64()))
    return rows.to_pandas()


def _differing(both: pd.DataFrame, columns: set[str]) -> dict[str, int]:
    """Return in how many rows columns differ; those that do not are left out."""
    found = {}
    for column in columns:
        one, two = both[column], both[f"{column}__now"]
        same = (one == two) | (one.isna() & two.isna())
        if all(np.issubdtype(it.dtype, np.number) for it in (one, two) if isinstance(it.dtype, np.dtype)):
            numbers = [it.astype("float64") for it in (one, two)] if one.dtype.kind in "fiu" else None
            if numbers is not None:
                same |= np.isclose(*numbers, rtol=1e-9, atol=1e-9, equal_nan=True)
        if not same.all():
            found[column] = int((~same).sum())
    return found


def _do(
    base: Base, plan: ChangePlan, edit: ReferenceEdit, use_cases: Path, anew: LocalWorkspace | None, tmp_path: Path
) -> None:
    """Let a run do an edit, or where it is breaking somebody; hold the champion against what it said before."""
    root = clone(base.root, tmp_path / "ws")
    with LocalWorkspace.open(root=root, spark=base.ws.spark) as ws:
        before = base.files(ws)
        pipeline = base.pipeline(ws, use_cases)
        if plan.is_breaking:
            with pytest.raises(BreakingChangeError, match="nothing was changed"):
                pipeline.run(STAGES)
            assert files_of(root) == before
        if edit.refused:
            with pytest.raises(StageError, match=edit.refused) as caught:
                base.pipeline(ws, use_cases).apply(reason=REASON)
            assert caught.value.hint
            assert files_of(root) == before
            assert base.predictions(ws, base.rows).equals(base.said)
            return
        if plan.is_breaking:
            base.pipeline(ws, use_cases).apply(reason=REASON)
            decided = CHANGES.read(ws, base.names)[-1]
            assert (decided.kind, decided.reason) == ("breaking", REASON)
        else:
            pipeline.run(STAGES)
            assert not any(change.reason for change in CHANGES.read(ws, base.names))
        assert base.predictions(ws, base.rows).equals(base.said)
        if SPINE not in edit.kinds:
            # What counts as equal may differ in the last digits of a float: that takes a decision, too.
            rows = ws.tables.to_arrow(base.names.gold("spine"), at_most=10**6)
            if not plan.is_breaking or _sorted(rows).equals(_sorted(base.rows)):
                assert base.predictions(ws, rows).equals(base.said)
        following = base.pipeline(ws, use_cases).plan()
        assert not list(_waiting(following.changes)), "\n".join(following.lines())
        assert anew is not None
        if "functions" in edit.kinds:
            # With the functions as they are declared now it would say something else.
            register_functions(ws, base.names, base.opened(ws, use_cases).functions)
            assert not base.predictions(ws, base.rows).equals(base.said)
        if not edit.anew:
            _hold_against(base.opened(ws, use_cases), ws, anew, base.names)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in rows.column_names])


def _waiting(changes: Sequence[PlannedChange]) -> Iterator[str]:
    """Yield what is still to be done after an edit was: columns that are not written any more stay, as their order."""
    for change in changes:
        left = [item for item in change.differences if item.mark != "=" and "no longer written" not in item.text]
        left = [item for item in left if "no longer read" not in item.text]
        if left and change.name != "lookups":
            yield change.name


def _hold_against(use_case: UseCase, ws: LocalWorkspace, anew: LocalWorkspace, names: Namespace) -> None:
    """Hold each table that is written from now on against the one that was computed from the beginning."""
    for table in sorted(tables_of(anew, names)):
        if table.startswith("bronze_"):
            continue
        keys = list(anew.tables.describe(names.table(table)).primary_keys)
        there, expected = rows_of(ws, use_case.namespace, table), rows_of(anew, names, table)
        assert set(expected.columns) <= set(there.columns), table
        both = there.merge(expected, on=keys, suffixes=("", "__now"))
        assert len(both) == len(there) == len(expected), table
        assert _differing(both, set(expected.columns) - set(keys)) == {}, table

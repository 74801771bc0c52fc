"""Apply: an edit is done on record, and a model in use reads what it was trained on until another takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.change.plan import ChangePlan, PlannedChange
from mlplatform.errors import BreakingChangeError, StageError
from mlplatform.ops.records import CHANGES
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.edited_use_case import AS_OF, NAMES, Edit, open_edited, run_edited, write_use_case
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

LATER = "2020-09-01"
TABLES, FEATURES, MODEL = "tables.py", "features.py", "model.py"
PRIOR: Edit = {FEATURES: [("PRIOR = 20.0", "PRIOR = 400.0")]}
REASON = "smaller regions were too close to the mean"


@pytest.fixture
def ws(base: Path, tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "ws")) as opened:
        yield opened


@pytest.fixture(scope="module")
def unedited(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    """The workspace as it is later where nobody edited anything; only read."""
    folder = tmp_path_factory.mktemp("unedited")
    with LocalWorkspace.open(root=clone(base, folder / "ws")) as opened:
        run_edited(opened, write_use_case(folder / "use_cases", data), LATER, ["ingest", "refine", "features", "score"])
        yield opened


def pipeline(ws: LocalWorkspace, use_cases: Path, as_of: str = AS_OF) -> Pipeline:
    return Pipeline(ws, open_edited(ws, use_cases), parse_as_of(as_of))


def rows_of(ws: LocalWorkspace, table: str) -> pd.DataFrame:
    name = NAMES.exactly(table)
    keys = list(ws.tables.describe(name).primary_keys)
    return ws.tables.to_arrow(name, at_most=10**6).to_pandas().sort_values(keys, ignore_index=True)


def said(ws: LocalWorkspace, version: int = 1) -> list[float]:
    """Return what a version predicts for all rows of the spine."""
    rows = ws.tables.to_arrow(NAMES.gold("spine"), at_most=10**6)
    scored = ws.fe.score_batch_arrow(model_uri=f"models:/{NAMES.model}/{version}", df=rows).to_pandas()
    found: list[float] = scored.sort_values(["account"])["prediction"].tolist()
    return found


def aliases(ws: LocalWorkspace) -> dict[str, int]:
    return dict(ws.registry.aliases(NAMES.model))


def tables_of(plan: ChangePlan) -> list[PlannedChange]:
    """Return what changes of tables and functions, what the next training looks up aside."""
    return [change for change in plan.changes if change.name != "lookups"]


def features_of(ws: LocalWorkspace) -> list[str]:
    return [name for name in ws.tables.list("dev", NAMES.use_case) if name.startswith("features_region")]


def test_a_run_refuses_what_is_breaking_with_the_plan(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, PRIOR)
    before = rows_of(ws, "features_region")
    with pytest.raises(BreakingChangeError) as caught:
        run_edited(ws, use_cases, LATER)
    assert "region_rate: " in caught.value.message
    assert "BREAKING for v1" in caught.value.message
    assert "mlplatform apply edited --as-of 2020-09-01T00:00:00Z --reason" in caught.value.hint
    assert rows_of(ws, "features_region").equals(before)
    with pytest.raises(BreakingChangeError, match="something breaking waits in features_region"):
        pipeline(ws, use_cases).apply()
    assert not CHANGES.read(ws, NAMES)


def test_a_champion_reads_on_what_it_was_trained_on_until_a_version_trained_on_the_new_is_promoted(
    ws: LocalWorkspace, unedited: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, PRIOR)
    before = said(ws)
    applied = pipeline(ws, use_cases).apply(reason=REASON)
    version = applied.versions["features_region"]
    assert set(features_of(ws)) == {"features_region", version}
    assert said(ws) == before
    (change,) = CHANGES.read(ws, NAMES)
    assert (change.kind, change.reason, change.versions) == ("breaking", REASON, applied.versions)
    # Nothing waits any more: the plan says what is kept, and for whom.
    plan = pipeline(ws, use_cases).plan()
    assert not tables_of(plan)
    assert [(item.name, item.read_by) for item in plan.kept] == [("features_region", "v1 @champion")]

    # What the champion reads is kept up to date: it is as if nobody had edited anything.
    rows = len(rows_of(ws, "features_region"))
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features", "score"])
    assert len(rows_of(ws, "features_region")) > rows
    assert rows_of(ws, "features_region").equals(rows_of(unedited, "features_region"))
    assert said(ws) == said(unedited)
    predicted = [rows_of(it, "gold_predictions")["prediction"].tolist() for it in (ws, unedited)]
    assert predicted[0] == predicted[1]
    assert not rows_of(ws, version).equals(rows_of(ws, "features_region"))

    # A version trained on the new table takes its place; the one before can be put back.
    use = pipeline(ws, use_cases, LATER)
    use.run(["train"])
    assert use.gate(override="it is what was asked for").details.outcome == "promoted"
    assert aliases(ws)["champion"] == 2
    lineage = ws.fe.lineage(f"models:/{NAMES.model}/2")
    assert str(NAMES.exactly(version)) in {table.name for table in lineage.tables}
    plan = pipeline(ws, use_cases, LATER).plan()
    assert [(item.name, item.read_by) for item in plan.kept] == [("features_region", "v1 @previous_champion")]
    then = said(ws, 1)
    run_edited(ws, use_cases, "2020-10-01", ["ingest", "refine", "features", "score"])
    assert use.roll_back(to=None, reason="a try", dry_run=False).details.outcome == "rolled back"
    assert aliases(ws)["champion"] == 1
    assert said(ws, 1) == then


def test_without_an_edit_nothing_is_planned_and_nothing_put_on_record(
    ws: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data)
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features"])
    applied = pipeline(ws, use_cases, LATER).apply()
    assert applied.summary is None
    assert not CHANGES.read(ws, NAMES)


def test_what_is_harmless_is_done_by_the_next_run_on_record(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    edit: Edit = {"prices.py": [("CENTS = 1.0", "CENTS = 100.0")]}
    asking = write_use_case(tmp_path / "asking", data, edit, changes="ask")
    with pytest.raises(BreakingChangeError, match="changes: ask"):
        run_edited(ws, asking, AS_OF)
    before = said(ws)
    run_edited(ws, write_use_case(tmp_path / "auto", data, edit), AS_OF, ["refine", "features"])
    (change,) = CHANGES.read(ws, NAMES)
    assert (change.kind, change.versions, change.reason) == ("recompute", {}, None)
    assert said(ws) == before
    run_edited(ws, asking, AS_OF, ["refine", "features"])
    assert len(CHANGES.read(ws, NAMES)) == 1


def test_silver_of_another_unit_is_kept_beside_for_the_features_that_a_champion_reads(
    ws: LocalWorkspace, unedited: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    edit: Edit = {TABLES: [('"price > 0"', '"price > 20"')]}
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    applied = pipeline(ws, use_cases).apply(reason="cheap ones are tests")
    assert set(applied.versions) == {"silver_signups", "features_region"}
    assert len(rows_of(ws, applied.versions["silver_signups"])) < len(rows_of(ws, "silver_signups"))
    assert f"quarantine_signups{applied.versions['silver_signups'].removeprefix('silver_signups')}" in ws.tables.list(
        "dev", NAMES.use_case
    )
    assert not tables_of(pipeline(ws, use_cases).plan())
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features"])
    assert rows_of(ws, "features_region").equals(rows_of(unedited, "features_region"))


def test_a_function_that_a_champion_computes_with_is_kept(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    edit: Edit = {FEATURES: [("else price / seats", "else price / (seats + 1.0)")]}
    before = said(ws)
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    applied = pipeline(ws, use_cases).apply(reason="a seat is free")
    assert "price_a_seat" in applied.versions
    plan = pipeline(ws, use_cases).plan()
    assert not tables_of(plan)
    assert not plan.is_breaking
    pipeline(ws, use_cases).run(["features"])
    assert said(ws) == before
    before_score = len(rows_of(ws, "gold_predictions"))
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features", "score"])
    assert len(rows_of(ws, "gold_predictions")) > before_score


def test_in_place_the_champion_is_given_the_new_values(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, PRIOR)
    before = said(ws)
    applied = pipeline(ws, use_cases).apply(reason=REASON, in_place=True)
    assert applied.versions == {}
    assert features_of(ws) == ["features_region"]
    assert said(ws) != before
    assert not tables_of(pipeline(ws, use_cases).plan())
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features", "score"])


def test_a_definition_that_is_gone_is_computed_on_for_the_champion(
    ws: LocalWorkspace, unedited: LocalWorkspace, tmp_path: Path, data: Path
) -> None:
    start = "class RegionFeatures(RollingFeatureTable"
    edit: Edit = {
        FEATURES: [(start, "class _RegionFeatures(RollingFeatureTable")],
        MODEL: [
            ("from .features import PRICE_A_SEAT, RegionFeatures", "from .features import PRICE_A_SEAT"),
            ('self.lookup(RegionFeatures, ["cancellations_28d", "region_rate"]), ', ""),
            (', "cancellations_28d", "region_rate"]', "]"),
        ],
    }
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    plan = pipeline(ws, use_cases).plan()
    assert not plan.is_breaking
    assert [(item.name, item.read_by) for item in plan.kept] == [("features_region", "v1 @champion")]
    run_edited(ws, use_cases, LATER, ["ingest", "refine", "features"])
    assert rows_of(ws, "features_region").equals(rows_of(unedited, "features_region"))


def test_what_cannot_be_computed_is_not_applied(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    edit: Edit = {FEATURES: [('F.avg(F.col("price") * CENTS)', 'F.avg(F.col("prise") * CENTS)')]}
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    with pytest.raises(StageError, match="features_price: cannot be computed"):
        pipeline(ws, use_cases).apply(reason="because")
    assert not CHANGES.read(ws, NAMES)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("before the decision", marks=pytest.mark.slow),
        pytest.param("after it", marks=pytest.mark.slow),
        # What is on record is still to be done, and a part of it has been.
        "after silver",
        pytest.param("after a feature table", marks=pytest.mark.slow),
    ],
)
def test_killed_at_each_step_and_run_again_all_is_as_if_it_had_not_been(
    place: str, ws: LocalWorkspace, base: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit: Edit = {TABLES: [('"price > 0"', '"price > 20"')]}
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    die_at(place, monkeypatch)
    with pytest.raises(Killed):
        pipeline(ws, use_cases).apply(reason="cheap ones are tests")
    monkeypatch.undo()
    if place == "before the decision":
        pipeline(ws, use_cases).apply(reason="cheap ones are tests")
    else:
        run_edited(ws, use_cases, AS_OF, ["ingest", "refine", "features"])
    with LocalWorkspace.open(root=clone(base, tmp_path / "other"), spark=ws.spark) as other:
        pipeline(other, use_cases).apply(reason="cheap ones are tests")
        for name in ws.tables.list("dev", NAMES.use_case):
            if name.startswith(("silver_", "features_", "gold_", "quarantine_")):
                one, two = rows_without_batches(ws, name), rows_without_batches(other, name)
                assert one.equals(two), name
        assert ws.tables.list("dev", NAMES.use_case) == other.tables.list("dev", NAMES.use_case)


class Killed(BaseException):
    """Stands for the end of a process."""


def die_at(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlplatform.workspace.local.tables import LocalTables

    ends = {
        "before the decision": ("append", "changes"),
        "after it": ("append", "changes"),
        "after silver": ("append", "silver_signups__"),
        "after a feature table": ("replace_range", "features_region__"),
    }
    method, table = ends[place]
    original = getattr(LocalTables, method)

    def dying(self: LocalTables, name: Any, *arguments: Any, **options: Any) -> Any:
        matches = str(name).rpartition(".")[2].startswith(table)
        if matches and place.startswith("before"):
            raise Killed
        done = original(self, name, *arguments, **options)
        if matches:
            raise Killed
        return done

    monkeypatch.setattr(LocalTables, method, dying)


def rows_without_batches(ws: LocalWorkspace, name: str) -> pd.DataFrame:
    rows = ws.tables.to_arrow(NAMES.exactly(name), at_most=10**6).to_pandas()
    rows = rows.drop(columns=[column for column in ("_batch", "_ingested_at", "as_of", "run_id") if column in rows])
    return rows.sort_values(list(rows.columns[:3]), ignore_index=True)


def test_a_class_that_the_champion_holds_is_not_edited_in_passing(tmp_path: Path, data: Path) -> None:
    scaler = """

class Scaler(StandardScaler):
    def transform(self, X, copy=None):
        return super().transform(X, copy) * FACTOR

"""
    edit: Edit = {
        MODEL: [
            ("\n\nclass Cancelling(Trainer):", f"\nFACTOR = 1.0\n{scaler}\nclass Cancelling(Trainer):"),
            (
                'default_params = {"C": 1.0}',
                'default_params = {"C": 1.0}\n    trusted_types = ("use_cases.edited.model.Scaler",)',
            ),
            ("make_pipeline(SimpleImputer(), StandardScaler())", "make_pipeline(SimpleImputer(), Scaler())"),
        ]
    }
    first = write_use_case(tmp_path / "first", data, edit)
    edited = {MODEL: [(old, new.replace("FACTOR = 1.0", "FACTOR = 3.0")) for old, new in edit[MODEL]]}
    second = write_use_case(tmp_path / "second", data, edited)
    with LocalWorkspace.open(root=tmp_path / "ws") as ws:
        run_edited(ws, first, AS_OF, ["ingest", "refine", "features", "train", "gate", "score"])
        assert aliases(ws) == {"champion": 1}
        with pytest.raises(BreakingChangeError, match="classes that models hold: other predictions") as caught:
            run_edited(ws, second, LATER)
        assert "BREAKING for v1" in caught.value.message
        pipeline(ws, second).apply(reason="asked for")
        run_edited(ws, second, LATER, ["ingest", "refine", "features", "score"])

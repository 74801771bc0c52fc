"""A table that declares one more column, or one less: a run brings it there, and a live champion notices nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column, FeatureLookup, FeatureTable, LabelSpine, SilverTable
from mlplatform.as_of import parse_as_of
from mlplatform.errors import BreakingChangeError, TableError
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed
from tests.support.state import table_rows
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import (
    NAME,
    Cancellations,
    RegionHistory,
    Signups,
    SilverCancellations,
    SilverSignups,
    Subscriptions,
    Tiny,
    TinyFolder,
    write_tiny_use_case,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.ops.stage_runs import StageRun

TRAINED, NOW, LATER = "2020-07-01", "2020-08-01", "2020-09-01"
MODEL = "models:/dev.tiny.model@champion"
HALF = Column("half", "double", "Half of the cancellations so far")


class Wider(RegionHistory):
    """One column more."""

    columns = (*RegionHistory.columns, HALF)

    def compute(self, ws, as_of, since):  # type: ignore[no-untyped-def]
        """Half as well."""
        return super().compute(ws, as_of, since).withColumn("half", F.col("region_cancellations") / 2)


class Required(Wider):
    """One column more, that is never null."""

    columns = (*RegionHistory.columns, Column("half", "double", "Half of them", nullable=False))


class Narrow(RegionHistory):
    """A count that is too narrow for what the table holds."""

    columns = (*RegionHistory.columns[:2], Column("region_cancellations", "int", "Cancellations so far"))

    def compute(self, ws, as_of, since):  # type: ignore[no-untyped-def]
        """The same count."""
        rows = super().compute(ws, as_of, since)
        return rows.withColumn("region_cancellations", F.col("region_cancellations").cast("int"))


class ByName(RegionHistory):
    """Another key."""

    keys = ("area",)
    columns = (Column("area", "string", "The area", nullable=False), *RegionHistory.columns[1:])

    def compute(self, ws, as_of, since):  # type: ignore[no-untyped-def]
        """The same, by another name."""
        return super().compute(ws, as_of, since).withColumnRenamed("region", "area")


class Cheaper(SilverSignups):
    """One row a subscription, with its price in cents."""

    columns = (*SilverSignups.columns, Column("cents", "bigint", "Price in cents"))

    def select(self) -> dict[str, Any]:
        """Cents as well."""
        return {**super().select(), "cents": F.round(F.col("price").try_cast("double") * 100).cast("bigint")}


class WithCents(Subscriptions):
    """Each subscription, with what it costs in cents."""

    columns = (*Subscriptions.columns, Column("cents", "bigint", "Price in cents"))

    def spine(self, ws):  # type: ignore[no-untyped-def]
        """Cents as well."""
        cents = ws.read("silver_signups").select("account", "cents")
        return super().spine(ws).join(cents, "account")


class CentsNotDeclared(WithCents):
    """Each subscription; the code still gives what it costs in cents, and no longer declares it."""

    columns = Subscriptions.columns


def use_case(ws: LocalWorkspace, tiny: TinyFolder, **parts: Any) -> Any:
    return type("Changed", (Tiny,), parts).open(NAME, tiny.folder, ws)


def run(
    ws: LocalWorkspace,
    tiny: TinyFolder,
    as_of: str = NOW,
    *stages: str,
    feature: type[FeatureTable] = RegionHistory,
    silver: type[SilverTable] = SilverSignups,
    spine: type[LabelSpine] = Subscriptions,
) -> dict[str, StageRun[Any]]:
    parts = {"features": (feature,), "silver": (silver, SilverCancellations), "spine": spine}
    pipeline = Pipeline(ws, use_case(ws, tiny, **parts), parse_as_of(as_of))
    return {stage.stage: stage for stage in pipeline.run(stages or ("ingest", "refine", "features")).stages}


def rows(ws: LocalWorkspace, table: str = "features_region") -> pa.Table:
    found = ws.tables.to_arrow(f"dev.tiny.{table}", at_most=10**6)
    by = {"features_region": ["region", "known_at"]}.get(table, ["account"])
    return found.sort_by([(column, "ascending") for column in by])


def scores(ws: LocalWorkspace) -> list[dict[str, Any]]:
    """Return what the champion says of all subscriptions, and all that it was given."""
    spine = ws.tables.to_arrow("dev.tiny.gold_spine", at_most=10**6, columns=SPINE).sort_by("account")
    scored = ws.fe.score_batch(model_uri=MODEL, df=ws.spark.createDataFrame(spine)).toArrow()
    told: list[dict[str, Any]] = scored.sort_by("account").to_pylist()
    return told


SPINE = ["account", "signed_up_at", *(column.name for column in Subscriptions.columns)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=8, rows_a_month=150, gate={"margin": 0.2})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A workspace with a champion, whose features go up to its training."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run(ws, tiny, TRAINED, "ingest", "refine", "features", "train", "gate")
        assert ws.registry.aliases("dev.tiny.model")["champion"] == 1
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


def test_a_feature_that_is_declared_is_computed_over_all_history_by_the_next_run(ws, tiny):
    before, version = rows(ws), ws.tables.version("dev.tiny.features_region")
    made = run(ws, tiny, TRAINED, "features", feature=Wider)["features"]
    after = rows(ws)
    assert after.drop_columns(["half"]).equals(before)
    assert after["half"].equals(pc.divide(after["region_cancellations"].cast(pa.float64()), 2.0))
    assert ws.tables.describe("dev.tiny.features_region").schema.field("half").metadata == {
        b"comment": b"Half of the cancellations so far"
    }
    # One commit for the column, one for its values.
    assert ws.tables.version("dev.tiny.features_region") == version + 2
    assert made.details.notes == ["features_region has the new column half (double) from now on."]
    # Whoever goes on with it computes what is new only.
    later = run(ws, tiny, NOW, feature=Wider)["features"]
    assert 0 < later.result.rows_out < made.result.rows_out
    assert later.details.notes == []
    assert rows(ws)["half"].null_count == 0


def test_a_column_that_is_no_longer_declared_keeps_its_values_and_reads_null_in_new_rows(ws, tiny):
    run(ws, tiny, TRAINED, "features", feature=Wider)
    before = rows(ws)
    made = run(ws, tiny, NOW)["features"]
    after = rows(ws)
    assert made.details.notes == [
        "features_region: column half is no longer declared: existing rows keep what they hold, new rows read null."
    ]
    new = after.num_rows - before.num_rows
    assert new > 0
    assert after["half"].null_count == new
    held = after.filter(pc.is_valid(after["half"]))
    assert held.equals(before)
    # The next run merges what is new, and says nothing any more.
    later = run(ws, tiny, LATER)["features"]
    assert later.details.notes == []
    latest = rows(ws)
    assert latest.filter(pc.is_valid(latest["half"])).equals(before)
    # Declared again, it is computed over all history.
    run(ws, tiny, LATER, feature=Wider)
    assert rows(ws)["half"].null_count == 0


def test_a_champion_is_given_and_says_what_it_did_before_the_column(ws, tiny, base, tmp_path):
    lookups = [
        FeatureLookup(
            table_name="dev.tiny.features_region",
            lookup_key="region",
            feature_names="region_cancellations",
            timestamp_lookup_key="signed_up_at",
        )
    ]
    spine = ws.tables.to_arrow("dev.tiny.gold_spine", at_most=10**6, columns=SPINE)

    def training_set() -> pa.Table:
        made = ws.fe.create_training_set(df=spine, feature_lookups=lookups, label=None)
        return made.to_arrow().sort_by("account")

    told, given = scores(ws), training_set()
    declared = {"feature": Wider, "silver": Cheaper, "spine": WithCents}
    run(ws, tiny, TRAINED, **declared)
    assert scores(ws) == told
    assert training_set().equals(given)
    # Nor do the runs that follow: scoring, the gate and monitoring, beside a workspace that never knew of the columns.
    cycle = ("ingest", "refine", "features", "score", "monitor")
    run(ws, tiny, NOW, *cycle, **declared)
    with LocalWorkspace.open(root=clone(base, tmp_path / "other")) as other:
        run(other, tiny, NOW, *cycle)
        for name in ("dev.tiny.gold_predictions", "dev.ops.drift_metrics"):
            assert table_rows(ws, name) == table_rows(other, name) != []


def test_silver_and_gold_take_columns_too_and_let_them_go(ws, tiny):
    before = {name: rows(ws, name) for name in ("silver_signups", "gold_spine", "gold_labels")}
    made = run(ws, tiny, TRAINED, silver=Cheaper, spine=WithCents)["refine"]
    assert [note for note in made.details.notes if "from now on" in note] == [
        "silver_signups has the new column cents (bigint) from now on.",
        "gold_spine has the new column cents (bigint) from now on.",
    ]
    for name in ("silver_signups", "gold_spine"):
        after = rows(ws, name)
        assert after["cents"].to_pylist() == [round(price * 100) for price in after["price"].to_pylist()]
        kept = [column for column in before[name].column_names if column != "_batch"]
        assert after.select(kept).equals(before[name].select(kept))
    assert rows(ws, "gold_labels").equals(before["gold_labels"])
    cents = {name: rows(ws, name).select(["account", "cents"]) for name in ("silver_signups", "gold_spine")}
    # And back: what is there stays.
    made = run(ws, tiny, NOW)["refine"]
    assert [note.partition(":")[0] for note in made.details.notes if "no longer declared" in note] == [
        "silver_signups",
        "gold_spine",
    ]
    for name, held in cents.items():
        after = rows(ws, name)
        assert after.filter(pc.is_valid(after["cents"])).select(["account", "cents"]).equals(held)
        assert after["cents"].null_count == after.num_rows - held.num_rows > 0


def test_what_the_spines_code_gives_beside_what_is_declared_is_left_out(ws, tiny):
    run(ws, tiny, TRAINED, "refine", silver=Cheaper, spine=WithCents)
    held = rows(ws, "gold_spine").select(["account", "cents"])
    run(ws, tiny, NOW, "ingest", "refine", silver=Cheaper, spine=CentsNotDeclared)
    after = rows(ws, "gold_spine")
    assert after.filter(pc.is_valid(after["cents"])).select(["account", "cents"]).equals(held)
    assert after["cents"].null_count == after.num_rows - held.num_rows > 0


class Renamed(Subscriptions):
    """Each subscription, with its label by another name."""

    label = "gone"

    def labels(self, ws):  # type: ignore[no-untyped-def]
        """The same, by another name."""
        return super().labels(ws).withColumnRenamed("cancelled", "gone")


def test_a_label_of_another_name_is_refused_with_a_way_out_that_there_is(ws, tiny):
    before = rows(ws, "gold_labels")
    with pytest.raises(BreakingChangeError, match="gone") as refused:
        run(ws, tiny, NOW, "refine", spine=Renamed)
    assert "take the edit back" in refused.value.hint
    assert "apply" not in refused.value.hint
    assert rows(ws, "gold_labels").equals(before)


class Paid(Signups):
    """Subscriptions, with how they are paid."""

    name = "signups"
    columns = (*Signups.columns, "paid_by")


class SilverPaid(SilverSignups):
    """One row a subscription, with how it is paid."""

    source = Paid
    columns = (*SilverSignups.columns, Column("paid_by", "string", "How it is paid"))

    def select(self) -> dict[str, Any]:
        """Also from files that came before the column was declared."""
        paid_by = F.expr("coalesce(paid_by, get_json_object(_rescued_data, '$.paid_by'))")
        return {**super().select(), "paid_by": paid_by}


def test_a_source_that_declares_a_column_has_it_from_the_next_file_on(tmp_path):
    tiny = write_tiny_use_case(tmp_path / "use_cases", months=3, rows_a_month=20)
    for month, how in (("2020-02", "card"), ("2020-03", "bill")):
        drop = tiny.data / "signups" / f"signups_{month}.csv"
        head, *lines = drop.read_text(encoding="utf-8").splitlines()
        drop.write_text("\n".join([f"{head},paid_by", *(f"{line},{how}" for line in lines)]) + "\n", encoding="utf-8")
    parts = {"sources": (Paid, Cancellations), "silver": (SilverPaid, SilverCancellations)}
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, "2020-03-01", "ingest", "refine")
        pipeline = Pipeline(ws, use_case(ws, tiny, **parts), parse_as_of("2020-04-01"))
        ingested = pipeline.run(["ingest", "refine"]).stages[0]
        bronze = ws.tables.to_arrow("dev.tiny.bronze_signups", at_most=10**6).column("paid_by").to_pylist()
        # What earlier files held is in what was rescued of them.
        silver = rows(ws, "silver_signups")["paid_by"].to_pylist()
    assert ingested.details.notes == ["bronze_signups has the new column paid_by (string) from now on."]
    assert (bronze.count("bill"), bronze.count(None)) == (20, 40)
    assert (silver.count("bill"), silver.count("card"), silver.count(None)) == (20, 20, 20)


def test_a_backfill_needs_no_run_before_it(ws, tiny):
    backfill = Pipeline(ws, use_case(ws, tiny, features=(Wider,)), parse_as_of("2020-06-15")).backfill
    before, version = rows(ws), ws.tables.version("dev.tiny.features_region")
    dry = backfill("region", parse_as_of("2020-04-15"), dry_run=True).details
    assert (ws.tables.version("dev.tiny.features_region"), rows(ws)) == (version, before)
    real = backfill("region", parse_as_of("2020-04-15")).details
    assert {**dry.answer(), "dry_run": False, "notes": real.notes} == real.answer()
    assert (dry.before, dry.after, dry.added, dry.removed) == (dry.before, dry.before, 0, 0)
    assert dry.changed == dry.before > 0
    assert real.notes == ["features_region has the new column half (double) from now on."]
    assert rows(ws)["half"].null_count == before.num_rows - dry.before > 0
    # A run then computes the rest.
    run(ws, tiny, TRAINED, "features", feature=Wider)
    assert rows(ws)["half"].null_count == 0


def test_a_backfill_keeps_what_is_no_longer_declared(ws, tiny):
    run(ws, tiny, TRAINED, "features", feature=Wider)
    run(ws, tiny, TRAINED, "features")
    before = rows(ws)
    late = use_case(ws, tiny)
    ws.tables.merge(
        "dev.tiny.features_region",
        before.set_column(2, before.schema.field(2), pc.add(before["region_cancellations"], 1)),
    )
    Pipeline(ws, late, parse_as_of(TRAINED)).backfill("region", parse_as_of("2020-01-01"))
    assert rows(ws).equals(before)


@pytest.mark.parametrize(
    ("edit", "dry_run"),
    crossed(
        [
            (Required, r"new column half \(double\) is declared not null", "Declare it nullable"),
            (Narrow, "column region_cancellations is declared int, and is bigint in the table", "another name"),
            (
                ByName,
                "keys of a table do not change.*declared: keys area, known_at.*the table: keys region",
                "its own",
            ),
        ],
        [True, False],
    ),
)
def test_what_is_no_wider_is_refused_with_both_sides_and_a_way_out(ws, tiny, edit, dry_run):
    feature, message, way_out = edit
    before = ws.tables.describe("dev.tiny.features_region")
    for act in (
        lambda: run(ws, tiny, NOW, "features", feature=feature),
        lambda: Pipeline(ws, use_case(ws, tiny, features=(feature,)), parse_as_of(TRAINED)).backfill(
            "region", parse_as_of("2020-04-15"), dry_run=dry_run
        ),
    ):
        with pytest.raises((BreakingChangeError, TableError)) as refused:
            act()
        assert re.search(message, " ".join(refused.value.message.split()))
        # A champion is in use, so that a run says what the edit does to it, and how it is done all the same.
        is_planned = isinstance(refused.value, BreakingChangeError)
        assert ("mlplatform apply tiny" if is_planned else way_out) in refused.value.hint
        assert "drop" not in refused.value.hint.lower()
    assert ws.tables.describe("dev.tiny.features_region") == before


def test_a_column_that_may_not_be_null_goes_by_way_of_one_that_may(tmp_path, tiny):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, "2020-05-01", feature=Required)
        with pytest.raises(TableError, match=r"half .*no longer declared.*may not be null") as refused:
            run(ws, tiny, "2020-05-01")
        assert "Declare it again, nullable, and run once" in refused.value.hint
        run(ws, tiny, "2020-05-01", feature=Wider)
        run(ws, tiny, TRAINED)
        found = rows(ws)
        assert 0 < found["half"].null_count < found.num_rows


def test_a_count_that_outgrows_its_type_is_widened(tmp_path, tiny):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, "2020-05-01", feature=Narrow)
        before = rows(ws)
        made = run(ws, tiny, "2020-05-01", "features")["features"]
        assert made.details.notes == ["features_region: column region_cancellations is bigint from now on."]
        assert rows(ws).equals(before.cast(rows(ws).schema))
        assert before.schema.field("region_cancellations").type == pa.int32()


# What a plan says of it is looked at in every run in tests/integration/change/test_plan.py, the widening itself above.
@pytest.mark.slow
def test_a_champion_whose_feature_took_a_wider_type_says_what_it_said(tmp_path, tiny):
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, tiny, TRAINED, "ingest", "refine", "features", "train", "gate", feature=Narrow)
        assert ws.registry.aliases("dev.tiny.model")["champion"] == 1
        told = scores(ws)
        with pytest.raises(BreakingChangeError, match="type int → bigint, which Delta can widen"):
            run(ws, tiny, TRAINED, "features")
        wider = Pipeline(ws, use_case(ws, tiny, features=(RegionHistory,)), parse_as_of(TRAINED))
        wider.apply(in_place=True, reason="there will be more of them")
        assert ws.tables.describe("dev.tiny.features_region").schema.field("region_cancellations").type == pa.int64()
        assert scores(ws) == told
        scored = run(ws, tiny, NOW, "ingest", "refine", "features", "score")["score"]
        assert scored.result.rows_out > 0

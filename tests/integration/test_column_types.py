"""Decimals and small integers all the way: landed text, silver, gold, features, model, gate, scores, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import (
    Column,
    Expectation,
    FeatureFunction,
    FeatureFunctionSpec,
    FeatureLookup,
    FeatureTable,
    Pipeline,
    SilverTable,
    WorkspaceAsOf,
    parse_as_of,
)
from mlplatform.errors import TableError
from mlplatform.ops import records
from mlplatform.reporting.report import write_report
from mlplatform.scoring.predictions import REASON_CODES
from tests.support.tiny_use_case import (
    NAME,
    Signups,
    SilverCancellations,
    SilverSignups,
    Subscriptions,
    Tiny,
    TinyScorer,
    TinyTrainer,
    write_tiny_use_case,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

FIRST, SECOND = "2020-08-01", "2020-11-01"
DIRT = {
    "D1,2020-03-05,north,10.005,3": "price_was_read",
    "D2,2020-03-05,north,10000.00,3": "price_was_read",
    "D3,2020-03-05,north,1e2,3": "price_was_read",
    "D4,2020-03-05,north,10.00,40000": "seats_were_read",
    "D5,2020-03-05,north,10.00,3.5": "seats_were_read",
}
"""Lines with a number that does not fit its column, and the expectation that says so."""
FITTING = ("F1,2020-03-05,north,9999.9900,32767", "F2,2020-03-05,north,.5, 7 ")
"""Lines with numbers at the edge of what fits."""


class Accounts(SilverSignups):
    """One row per subscription, in exact types; the columns are read without SQL but for those that say how."""

    source = Signups
    columns = (
        Column("account", "string", "Number of the account", nullable=False),
        Column("signed_up_at", "timestamp", "Day", nullable=False, sql="try_to_timestamp(signed_up, 'yyyy-MM-dd')"),
        Column("region", "string", "Where the customer is"),
        Column("price", "decimal(6,2)", "Price a month, EUR"),
        Column("seats", "short", "Seats"),
        Column("rate", "decimal(7,3)", "Price a day, EUR", sql="try_cast(price AS double) / 7"),
        Column("pairs", "smallint", "Pairs of seats; null for an odd number", sql="try_cast(seats AS double) / 2"),
    )
    expectations = (Expectation("price_was_read", "price IS NOT NULL"), Expectation("seats_were_read", "seats > 0"))
    select = SilverTable.select


class TypedSubscriptions(Subscriptions):
    """The spine with all of silver's columns, and a label that is a small integer."""

    label_type = "smallint"
    columns = Accounts.columns[2:]

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """All subscriptions begun by then."""
        return ws.read("silver_signups").select(*(column.name for column in Accounts.columns))

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """The label as a small integer."""
        return super().labels(ws).withColumn(self.label, F.col(self.label).cast("smallint"))


class SeatHistory(FeatureTable):
    """What subscriptions with as many seats were cancelled so far, by day of a cancellation."""

    name = "seats"
    keys = ("seats",)
    timeseries_column = "known_at"
    inputs = ("silver_signups", "silver_cancellations")
    columns = (
        Column("seats", "smallint", "Seats", nullable=False),
        Column("known_at", "timestamp", "Day after the last cancellation counted", nullable=False),
        Column("seats_cancellations", "smallint", "Cancellations so far"),
        Column("seats_lost", "decimal(14,2)", "Price a month of the cancelled subscriptions so far, EUR"),
    )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Count and add up at the end of each day that has a cancellation."""
        del as_of, since
        day = F.date_add(F.col("cancelled_at").cast("date"), 1).cast("timestamp").alias("known_at")
        days = (
            ws.read("silver_cancellations")
            .join(ws.read("silver_signups").select("account", "seats", "price"), on="account")
            .groupBy("seats", day)
            .agg(F.count("*").alias("n"), F.sum("price").alias("lost"))
        )
        so_far = Window.partitionBy("seats").orderBy("known_at").rowsBetween(Window.unboundedPreceding, 0)
        return days.select(
            "seats",
            "known_at",
            F.sum("n").over(so_far).cast("smallint").alias("seats_cancellations"),
            F.sum("lost").over(so_far).cast("decimal(14,2)").alias("seats_lost"),
        )


def price_a_seat(price: Decimal | None, seats: int | None) -> float | None:
    """Price a seat and month."""
    return None if price is None or not seats else float(price) / seats


class TypedTrainer(TinyTrainer):
    """Looks up by a small integer, and gives the model every exact type."""

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """The history of as many seats, and the price a seat."""
        return [
            FeatureLookup(
                table_name=str(self.namespace.features("seats")),
                lookup_key="seats",
                timestamp_lookup_key="signed_up_at",
            ),
            FeatureFunction(
                udf_name=str(self.namespace.table("price_a_seat")),
                input_bindings={"price": "price", "seats": "seats"},
                output_name="price_a_seat",
            ),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return the pipeline."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline as Steps
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = ["price", "seats", "rate", "pairs", "price_a_seat", "seats_cancellations", "seats_lost"]
        columns = ColumnTransformer(
            [
                ("region", OneHotEncoder(handle_unknown="ignore"), ["region"]),
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ]
        )
        return Steps([("columns", columns), ("model", LogisticRegression(**params))])


class TypedScorer(TinyScorer):
    """Says why, too."""

    reason_codes: ClassVar[int] = 2


class Typed(Tiny):
    """The tiny use case in exact types."""

    silver = (Accounts, SilverCancellations)
    spine = TypedSubscriptions
    features = (SeatHistory,)
    functions = (
        FeatureFunctionSpec("price_a_seat", price_a_seat, (("price", "decimal(6,2)"), ("seats", "smallint")), "double"),
    )
    trainer = TypedTrainer
    scorer = TypedScorer


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory) -> UseCase:
    folder = write_tiny_use_case(
        tmp_path_factory.mktemp("use_cases"), gate={"slices": {"columns": ["price", "seats"], "min_rows": 20}}
    )
    with (folder.data / "signups" / "signups_2020-03.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in (*DIRT, *FITTING))
    return Typed.open(NAME, folder.folder, ws)


@pytest.fixture(scope="module")
def done(ws: LocalWorkspace, use_case: UseCase) -> UseCase:
    for as_of in (FIRST, SECOND):
        Pipeline(ws, use_case, parse_as_of(as_of)).run()
    return use_case


def test_a_number_beyond_its_column_is_quarantined_and_one_at_its_edge_is_not(ws: Any, done: UseCase) -> None:
    quarantine = ws.tables.to_arrow(done.namespace.quarantine("signups"), at_most=10**6).to_pylist()
    reasons = {row["content"].split('"')[3]: row["reason"] for row in quarantine}
    assert reasons == {line.partition(",")[0]: reason for line, reason in DIRT.items()}
    silver = ws.tables.to_arrow(
        done.namespace.silver("signups"), at_most=10**6, filters=[("account", "in", ["F1", "F2"])]
    )
    rows = {row["account"]: row for row in silver.to_pylist()}
    assert (rows["F1"]["price"], rows["F1"]["seats"]) == (Decimal("9999.99"), 32767)
    assert (rows["F2"]["price"], rows["F2"]["seats"]) == (Decimal("0.50"), 7)
    assert (rows["F2"]["rate"], rows["F2"]["pairs"]) == (Decimal("0.071"), None)


def test_every_table_holds_the_declared_types(ws: Any, done: UseCase) -> None:
    space = done.namespace
    silver, spine = ws.tables.describe(space.silver("signups")).schema, ws.tables.describe(space.gold("spine")).schema
    for schema in (silver, spine):
        assert [schema.field(name).type for name in ("price", "seats", "rate", "pairs")] == [
            pa.decimal128(6, 2),
            pa.int16(),
            pa.decimal128(7, 3),
            pa.int16(),
        ]
    features = ws.tables.describe(space.features("seats")).schema
    assert [features.field(name).type for name in ("seats", "seats_cancellations", "seats_lost")] == [
        pa.int16(),
        pa.int16(),
        pa.decimal128(14, 2),
    ]
    assert ws.tables.describe(space.gold("labels")).schema.field("cancelled").type == pa.int16()


def test_sums_of_a_feature_are_exact(ws: Any, done: UseCase) -> None:
    space = done.namespace
    prices = dict(
        zip(
            *(
                ws.tables.to_arrow(space.silver("signups"), at_most=10**6).column(name).to_pylist()
                for name in ("account", "price")
            ),
            strict=True,
        )
    )
    cancelled = ws.tables.to_arrow(space.silver("cancellations"), at_most=10**6).column("account").to_pylist()
    features = ws.tables.to_arrow(space.features("seats"), at_most=10**6).sort_by("known_at").to_pylist()
    last = {row["seats"]: row["seats_lost"] for row in features}
    assert sum(last.values()) == sum(prices[account] for account in cancelled)


def test_the_model_is_promoted_scored_explained_and_watched(ws: Any, done: UseCase) -> None:
    assert "champion" in ws.registry.aliases(done.model)
    predictions = ws.tables.to_arrow(done.namespace.gold("predictions"), at_most=10**6)
    assert predictions.num_rows > 0
    assert predictions.column("prediction").null_count == 0
    reasons = {item["feature"] for row in predictions.column(REASON_CODES).to_pylist() for item in row or ()}
    assert reasons & {"price", "rate", "seats_lost"}
    drift = (
        ws.tables.to_arrow(done.namespace.ops(records.DRIFT_METRICS.name), at_most=10**6).column("column").to_pylist()
    )
    assert {"price", "seats", "rate", "pairs"} <= set(drift)


def test_a_slice_of_a_decimal_is_a_range(ws: Any, done: UseCase) -> None:
    decisions = ws.tables.to_arrow(done.namespace.ops(records.GATE_DECISIONS.name), at_most=10**6).to_pylist()
    assert any("price in (" in str(row) for row in decisions)


def test_the_report_is_written(ws: Any, done: UseCase, tmp_path: Path) -> None:
    page = write_report(ws, done.namespace, done.label_spine(), done.settings, tmp_path).read_text(encoding="utf-8")
    assert "seats_lost" in page


def test_a_type_that_is_none_names_column_types_and_way_out() -> None:
    with pytest.raises(TableError, match=r"Column price: 'decimal\(40,2\)' is no type .* decimal\(precision,scale\)"):
        Column("price", "decimal(40,2)", "Price").field()

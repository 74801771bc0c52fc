"""A whole use case, small enough for tests: made-up subscriptions, and whether they are cancelled within three months.

`write_tiny_use_case(folder)` puts a folder there like any in `use_cases/`: package, `config.yml`, and monthly drops.
The data is made up by a fixed seed. The price decides most of the label, the region the rest, so that a logistic
regression learns it; a region's history of cancellations is the one feature table.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from dateutil.relativedelta import relativedelta
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812  (the name every PySpark reader knows)

from mlplatform import (
    BatchScorer,
    Column,
    Duration,
    Expectation,
    FeatureFunction,
    FeatureFunctionSpec,
    FeatureLookup,
    FeatureTable,
    LabelSpine,
    SilverTable,
    Source,
    Trainer,
    UseCase,
    WorkspaceAsOf,
    end_of_period,
)

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

NAME = "tiny"
FIRST_MONTH = date(2020, 1, 1)
MONTHS = 10
ROWS_A_MONTH = 300
REGIONS = ("north", "east", "south", "west")
_REGION_EFFECT = {"north": -0.6, "east": 0.0, "south": 0.2, "west": 0.8}

SETTINGS: dict[str, Any] = {
    "owner": "tiny@example.com",
    "description": "Probability that a subscription is cancelled within 3 months.",
    "task": "classification",
    "landing": "data",
    "label": {"horizon": "3 months"},
    "training": {"metric": "roc_auc", "min_rows": 300, "search": {"max_evals": 2}},
    "scoring": {"every": "1 month"},
    "gate": {"floor": 0.6, "min_rows": 100, "min_positives": 20, "draws": 200},
    "monitoring": {"min_rows": 50, "performance_floor": 0.55, "retrain_every": "3 months", "cooldown": "1 month"},
}


class Signups(Source):
    """Subscriptions by month of signing up."""

    name = "signups"
    files = "signups/signups_*.csv"
    description = "Subscriptions as landed"
    columns = ("account", "signed_up", "region", "price", "seats")

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its month is over."""
        return end_of_period(path)


class Cancellations(Source):
    """Cancellations by month."""

    name = "cancellations"
    files = "cancellations/cancellations_*.csv"
    description = "Cancellations as landed"
    columns = ("account", "cancelled")

    def available_at(self, path: Path) -> datetime:
        """A drop is complete when its month is over."""
        return end_of_period(path)


class SilverSignups(SilverTable):
    """One row a subscription."""

    name = "signups"
    source = Signups
    keys = ("account",)
    known_at = "signed_up_at"
    description = "One row a subscription"
    columns = (
        Column("account", "string", "Number of the account", nullable=False),
        Column("signed_up_at", "timestamp", "Day of signing up, 00:00 UTC", nullable=False),
        Column("region", "string", "Where the customer is"),
        Column("price", "double", "Price a month"),
        Column("seats", "double", "Seats"),
    )
    expectations = (
        Expectation("price_is_positive", "price > 0"),
        Expectation("signed_up_before_the_drop", "signed_up_at < _available_at"),
    )

    def select(self) -> dict[str, Any]:
        """Read the landed text."""
        return {
            "account": F.trim("account"),
            "signed_up_at": F.try_to_timestamp(F.col("signed_up"), F.lit("yyyy-MM-dd")),
            "region": F.trim("region"),
            "price": F.col("price").try_cast("double"),
            "seats": F.col("seats").try_cast("double"),
        }


class SilverCancellations(SilverTable):
    """One row a cancelled subscription."""

    name = "cancellations"
    source = Cancellations
    keys = ("account",)
    known_at = "cancelled_at"
    description = "One row a cancelled subscription"
    columns = (
        Column("account", "string", "Number of the account", nullable=False),
        Column("cancelled_at", "timestamp", "Day of the cancellation, 00:00 UTC", nullable=False),
    )

    def select(self) -> dict[str, Any]:
        """Read the landed text."""
        return {
            "account": F.trim("account"),
            "cancelled_at": F.try_to_timestamp(F.col("cancelled"), F.lit("yyyy-MM-dd")),
        }


class Subscriptions(LabelSpine):
    """Each subscription is predicted when it begins; its label is known three months later."""

    entity_keys = ("account",)
    prediction_time = "signed_up_at"
    label = "cancelled"
    inputs = ("silver_signups", "silver_cancellations")
    description = "One row a subscription"
    key_columns = SilverSignups.columns[:2]
    columns = SilverSignups.columns[2:]

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """All subscriptions begun by then."""
        return ws.read("silver_signups").select(*(column.name for column in SilverSignups.columns))

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """1 for a cancellation within the horizon."""
        months = Duration.parse(self.settings.label.horizon).months
        mature_at = F.add_months(F.col("signed_up_at").cast("date"), months).cast("timestamp")
        return (
            ws.read("silver_signups")
            .select("account", "signed_up_at")
            .join(ws.read("silver_cancellations").select("account", "cancelled_at"), on="account", how="left")
            .withColumn("label_known_at", mature_at)
            .select(
                "account",
                "signed_up_at",
                F.coalesce(F.col("cancelled_at") <= F.col("label_known_at"), F.lit(False))
                .cast("double")
                .alias(self.label),
                "label_known_at",
            )
        )


class RegionHistory(FeatureTable):
    """Cancellations a subscription so far, by region and day of a cancellation."""

    name = "region"
    keys = ("region",)
    timeseries_column = "known_at"
    inputs = ("silver_signups", "silver_cancellations")
    description = "Cancellations known by then of the region's subscriptions"
    columns = (
        Column("region", "string", "The region", nullable=False),
        Column("known_at", "timestamp", "Day after the last cancellation counted", nullable=False),
        Column("region_cancellations", "bigint", "Cancellations so far"),
    )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Count the cancellations so far, at the end of each day that has one."""
        del as_of, since
        regions = ws.read("silver_signups").where(F.col("region").isNotNull()).select("account", "region")
        days = (
            ws.read("silver_cancellations")
            .join(regions, on="account")
            .groupBy("region", F.date_add(F.col("cancelled_at").cast("date"), 1).cast("timestamp").alias("known_at"))
            .agg(F.count("*").alias("cancellations"))
        )
        so_far = Window.partitionBy("region").orderBy("known_at").rowsBetween(Window.unboundedPreceding, 0)
        return days.select(
            "region", "known_at", F.sum("cancellations").over(so_far).cast("bigint").alias("region_cancellations")
        )


def price_a_seat(price: float | None, seats: float | None) -> float | None:
    """Price a seat and month."""
    return None if price is None or not seats else price / seats


class TinyTrainer(Trainer):
    """Logistic regression: fits in milliseconds."""

    default_params: ClassVar[Mapping[str, Any]] = {"C": 1.0}

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """The region's history, and the price a seat."""
        return [
            FeatureLookup(
                table_name=str(self.namespace.features("region")),
                lookup_key="region",
                feature_names="region_cancellations",
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
        from sklearn.pipeline import Pipeline, make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        columns = ColumnTransformer(
            [
                ("region", OneHotEncoder(handle_unknown="ignore"), ["region"]),
                ("numbers", numbers, ["price", "seats", "price_a_seat", "region_cancellations"]),
            ]
        )
        return Pipeline([("columns", columns), ("model", LogisticRegression(**params))])

    def search_space(self) -> dict[str, Any]:
        """Try how much to shrink."""
        from hyperopt import hp

        return {"C": hp.loguniform("C", math.log(0.1), math.log(10.0))}


class TinyScorer(BatchScorer):
    """Gives the model batches that are smaller than a month, so that there are several."""

    chunk_rows = 120


class Tiny(UseCase):
    """The use case's parts."""

    sources = (Signups, Cancellations)
    silver = (SilverSignups, SilverCancellations)
    spine = Subscriptions
    features = (RegionHistory,)
    functions = (
        FeatureFunctionSpec("price_a_seat", price_a_seat, (("price", "double"), ("seats", "double")), "double"),
    )
    trainer = TinyTrainer
    scorer = TinyScorer


DIRT = (
    ("X1,2020-03-05,north,-1.00,3", "price_is_positive"),
    ("X2,2020-03-05,north,free,3", "price_is_positive"),
    ("X3,2020-09-09,north,10.00,3", "signed_up_before_the_drop"),
    ("X4,soon,north,0,3", "signed_up_at_is_null, price_is_positive, signed_up_before_the_drop"),
    (",2020-03-05,north,10.00,3", "account_is_null"),
    ("2020030001,2020-03-06,south,10.00,3", "duplicate_key"),
    ("X5,2020-03-05,north", "malformed_line: 3 fields instead of 5"),
)
"""Faulty lines, and the reason why each does not go on."""


@dataclass(frozen=True)
class TinyFolder:
    """A written use case.

    Attributes:
        folder: The use case's own folder.
        rows: Well-formed rows of each source that were written, by file name.
    """

    folder: Path
    rows: dict[str, int]

    @property
    def use_cases(self) -> Path:
        """The folder to give as `--use-cases`."""
        return self.folder.parent

    @property
    def data(self) -> Path:
        """The landing folder."""
        return self.folder / "data"

    def open(self, ws: Workspace) -> UseCase:
        """Open the use case in a workspace."""
        return Tiny.open(NAME, self.folder, ws)

    def soil(self, month: str = "2020-03") -> None:
        """Append to a month's drop what `DIRT` lists: each line has a fault, and belongs into the quarantine."""
        with (self.data / "signups" / f"signups_{month}.csv").open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line, _ in DIRT)


def write_tiny_use_case(
    where: Path, *, months: int = MONTHS, rows_a_month: int = ROWS_A_MONTH, seed: int = 7, **settings: Any
) -> TinyFolder:
    """Write the use case as `<where>/tiny`.

    Args:
        where: A folder of use cases.
        months: How many monthly drops of each source there are, from 2020-01 on.
        rows_a_month: Subscriptions a month.
        seed: Of the made-up data: the same seed gives the same files.
        **settings: Laid over `SETTINGS`, section by section.
    """
    folder = where / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(
        '"""The tiny use case of the tests."""\n\nfrom tests.support.tiny_use_case import Tiny\n', encoding="utf-8"
    )
    merged = {**SETTINGS}
    for key, value in settings.items():
        merged[key] = {**merged[key], **value} if isinstance(value, Mapping) and key in merged else value
    (folder / "config.yml").write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
    rows = {}
    signups, cancellations = made_up(months, rows_a_month, seed)
    for source, lines, columns in (
        ("signups", signups, Signups.columns),
        ("cancellations", cancellations, Cancellations.columns),
    ):
        for month, drop in lines.items():
            name = f"{source}_{month}.csv"
            write_drop(folder / "data" / source / name, columns, drop)
            rows[name] = len(drop)
    return TinyFolder(folder, rows)


def write_drop(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def made_up(months: int, rows_a_month: int, seed: int) -> tuple[dict[str, list[list[str]]], dict[str, list[list[str]]]]:
    """Return subscriptions and cancellations by month (`2020-01`); cancellations after the last month are left out."""
    rng = random.Random(seed)
    names = [(FIRST_MONTH + relativedelta(months=number)).strftime("%Y-%m") for number in range(months)]
    signups: dict[str, list[list[str]]] = {name: [] for name in names}
    cancellations: dict[str, list[list[str]]] = {name: [] for name in names}
    for number, month in enumerate(names):
        for row in range(rows_a_month):
            day = FIRST_MONTH + relativedelta(months=number, days=rng.randrange(28))
            region, price, seats = rng.choice(REGIONS), rng.uniform(5, 50), rng.randint(1, 20)
            account = f"{month.replace('-', '')}{row:04d}"
            signups[month].append([account, day.isoformat(), region, f"{price:.2f}", str(seats)])
            risk = 1 / (1 + math.exp(-(-2.6 + 0.07 * price + _REGION_EFFECT[region])))
            if rng.random() < risk:
                cancelled = day + timedelta(days=rng.randint(5, 80))
                cancellations.get(cancelled.strftime("%Y-%m"), []).append([account, cancelled.isoformat()])
    return signups, cancellations


def first_of(month: str) -> datetime:
    """Return the first moment of a month such as `2020-08`."""
    return datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)

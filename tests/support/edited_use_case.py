"""A use case as a folder of source files, made for being edited: what an edit changes is then looked at.

Its data are those of the tiny use case. An edit is a list of replacements in one of the files; written to a folder of
its own, and imported under the same names, it is to the platform what a commit is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.naming import Namespace
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from tests.support.tiny_use_case import SETTINGS, made_up, write_drop

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

NAME = "edited"
NAMES = Namespace("dev", NAME)
AS_OF = "2020-08-01"
"""When all drops but the last have landed, and a champion was trained."""
_DEFAULTS = {"training": {"metric": "roc_auc", "min_rows": 300}}
SIGNUPS = ("account", "signed_up", "region", "price", "seats")
CANCELLATIONS = ("account", "cancelled")
Edit = Mapping[str, Sequence[tuple[str, str]]]
"""File -> what is replaced in it by what."""

FILES = {
    "__init__.py": '''"""Subscriptions, and whether they are cancelled."""

from mlplatform import UseCase


class Edited(UseCase):
    """Cancellations within three months."""
''',
    "prices.py": '''"""What a price is counted in."""

CENTS = 1.0
''',
    "tables.py": '''"""Sources, silver tables and the spine."""

from pyspark.sql import functions as F

from mlplatform import Column, Duration, Expectation, LabelSpine, SilverTable, Source


class SignupsSource(Source, files="signups/signups_*.csv", available="period_end"):
    """Subscriptions by month."""

    columns = ("account", "signed_up", "region", "price", "seats")


class CancellationsSource(Source, files="cancellations/cancellations_*.csv", available="period_end"):
    """Cancellations by month."""

    columns = ("account", "cancelled")


class Signups(SilverTable, source=SignupsSource, keys=("account",), known_at="signed_up_at"):
    """One row a subscription."""

    columns = (
        Column("account", "string", "Number of the account", sql="trim(account)"),
        Column("signed_up_at", "timestamp", "Day of signing up", sql="try_to_timestamp(signed_up, 'yyyy-MM-dd')"),
        Column("region", "string", "Where the customer is", sql="trim(region)"),
        Column("price", "double", "Price a month", sql="try_cast(price AS double)"),
        Column("seats", "double", "Seats", sql="try_cast(seats AS double)"),
    )
    expectations = (Expectation("price_is_positive", "price > 0"),)


class Cancellations(SilverTable, source=CancellationsSource, keys=("account",), known_at="cancelled_at"):
    """One row a cancelled subscription."""

    columns = (
        Column("account", "string", "Number of the account", sql="trim(account)"),
        Column("cancelled_at", "timestamp", "Its day", sql="try_to_timestamp(cancelled, 'yyyy-MM-dd')"),
    )


class Subscriptions(LabelSpine, table=Signups):
    """One row a subscription."""

    label = "cancelled"

    def labels(self, ws):
        """1 for a cancellation within the horizon."""
        months = Duration.parse(self.settings.label.horizon).months
        mature_at = F.add_months(F.col("signed_up_at").cast("date"), months).cast("timestamp")
        return (
            ws.read(Signups)
            .select("account", "signed_up_at")
            .join(ws.read(Cancellations).select("account", "cancelled_at"), on="account", how="left")
            .withColumn("label_known_at", mature_at)
            .select(
                "account",
                "signed_up_at",
                F.expr("double(coalesce(cancelled_at <= label_known_at, false))").alias("cancelled"),
                "label_known_at",
            )
        )
''',
    "features.py": '''"""Feature tables, and a feature function."""

from pyspark.sql import functions as F

from mlplatform import Column, FeatureFunctionSpec, FeatureTable, RollingFeatureTable

from .prices import CENTS
from .tables import Cancellations, Signups

PRIOR = 20.0


def price_a_seat(price: float | None, seats: float | None) -> float | None:
    """Price a seat and month."""
    return None if price is None or not seats else price / seats


PRICE_A_SEAT = FeatureFunctionSpec.of(price_a_seat)


class RegionFeatures(RollingFeatureTable, keys=("region",)):
    """Cancellations of a region."""

    grid = "7 days"
    windows = ("28 days", None)
    measures = (Column("cancellations", "bigint", "Cancellations"), "signups")
    values = (
        Column(
            "region_rate",
            "double",
            "Share cancelled",
            sql=f"(cancellations_ever + {PRIOR}) / (signups_ever + {4 * PRIOR})",
        ),
    )

    def events(self, ws):
        """Sign-ups and cancellations, each on its day."""
        signups = ws.read(Signups)
        begun = signups.selectExpr("region", "signed_up_at AS known_at", "0 AS cancellations", "1 AS signups")
        ended = ws.read(Cancellations).join(signups.select("account", "region"), on="account")
        return begun.unionByName(
            ended.selectExpr("region", "cancelled_at AS known_at", "1 AS cancellations", "0 AS signups")
        )


class PriceFeatures(FeatureTable):
    """Prices of a region; no model reads them."""

    keys = ("region",)
    timeseries_column = "known_at"
    columns = (
        Column("region", "string", "The region"),
        Column("known_at", "timestamp", "The day after"),
        Column("mean_price", "double", "Mean price of the day"),
        Column("subscriptions", "bigint", "Subscriptions of the day"),
    )

    def compute(self, ws, as_of, since):
        """Average the day's prices."""
        day = F.date_add(F.col("signed_up_at").cast("date"), 1).cast("timestamp").alias("known_at")
        price = F.avg(F.col("price") * CENTS).alias("mean_price")
        return ws.read(Signups).groupBy("region", day).agg(price, F.count("*").alias("subscriptions"))
''',
    "model.py": '''"""The model."""

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlplatform import Trainer

from .features import PRICE_A_SEAT, RegionFeatures


class Cancelling(Trainer):
    """Logistic regression."""

    default_params = {"C": 1.0}

    def lookups(self):
        """The region's history, and the price a seat."""
        return [self.lookup(RegionFeatures, ["cancellations_28d", "region_rate"]), self.function(PRICE_A_SEAT)]

    def estimator(self, params):
        """Return the pipeline."""
        numbers = ["price", "seats", "price_a_seat", "cancellations_28d", "region_rate"]
        columns = ColumnTransformer(
            [
                ("region", OneHotEncoder(handle_unknown="ignore"), ["region"]),
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ]
        )
        return Pipeline([("columns", columns), ("model", LogisticRegression(**params))])
''',
}


def write_data(folder: Path, *, months: int = 7, rows_a_month: int = 300, seed: int = 7) -> Path:
    """Write the monthly drops that every edit of the use case reads; return the folder."""
    signups, cancellations = made_up(months, rows_a_month, seed)
    for source, drops, columns in (
        ("signups", signups, SIGNUPS),
        ("cancellations", cancellations, CANCELLATIONS),
    ):
        for month, rows in drops.items():
            write_drop(folder / source / f"{source}_{month}.csv", columns, rows)
    return folder


def write_use_case(where: Path, data: Path, edit: Edit | None = None, **settings: Any) -> Path:
    """Write the use case as `<where>/edited`, and return `where`: a folder of use cases.

    Args:
        where: The folder.
        data: Where its files land.
        edit: What is replaced in which file; a text that is not there is a fault of the test.
        **settings: Laid over those of the tiny use case.
    """
    folder = where / NAME
    folder.mkdir(parents=True)
    unknown = set(edit or ()) - set(FILES)
    assert not unknown, f"no such file: {unknown}"
    for name, text in FILES.items():
        edited = text
        for old, new in (edit or {}).get(name, ()):
            assert edited.count(old) == 1, f"{old!r} stands {edited.count(old)} times in {name}"
            edited = edited.replace(old, new)
        (folder / name).write_text(edited, encoding="utf-8")
    merged = {**SETTINGS, **_DEFAULTS, "landing": str(data), **settings}
    (folder / "config.yml").write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
    return where


def open_edited(ws: Workspace, use_cases: Path) -> UseCase:
    """Import the use case from a folder, whatever was imported under its name before, and open it."""
    return discovery.open_use_case(ws, NAME, use_cases)


def run_edited(ws: Workspace, use_cases: Path, as_of: str, stages: Sequence[str] | None = None) -> RunSummary:
    """Run the use case of a folder at a time."""
    return Pipeline(ws, open_edited(ws, use_cases), parse_as_of(as_of)).run(stages)

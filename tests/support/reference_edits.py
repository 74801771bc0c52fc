"""Sixty edits of the reference use cases, twenty of each, and what a plan has to say of them.

A reference is copied as it stands, without its tests; its data are a small part of those that it comes with, and its
settings those that let so few rows train a model. An edit replaces texts of the copy.
"""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlplatform.change.differences import Kind
from mlplatform.change.plan import NOTHING
from mlplatform.config.settings import CONFIG_FILE
from tests.support.edited_use_case import Edit

USE_CASES = Path(__file__).resolve().parents[2] / "use_cases"
TABLES, FEATURES, MODEL = "tables.py", "features.py", "model.py"
SPINE, LABELS = "gold_spine", "gold_labels"
_RECOMPUTE, _ADDITIVE, _BREAKING = Kind.RECOMPUTE, Kind.ADDITIVE, Kind.BREAKING


@dataclass(frozen=True)
class Reference:
    """A reference use case, made small.

    Attributes:
        as_of: When it has trained and scored.
        write_data: Writes the files that land into a folder.
        settings: Laid over its own.
        smaller: What is replaced in the copy so that few rows land.
        unread: Table -> the columns that its model is not given, and that nothing it is given is computed from.
    """

    as_of: str
    write_data: Callable[[Path], None]
    settings: Mapping[str, Any]
    smaller: Edit = field(default_factory=dict)
    unread: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceEdit:
    """An edit, and what a plan says of it.

    Attributes:
        edit: What is replaced in which file.
        kinds: Table (`functions`, `lookups`) -> what the plan has to call it; those not named: text only, or nothing.
        settings: Settings that change with it.
        files: Files that come with it.
        says: Texts that the plan shows.
        refused: What is said where it can be neither run nor applied; empty: it can.
        anew: What is replaced besides, where all is computed from the beginning.
    """

    edit: Edit = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    refused: str = ""
    anew: Edit = field(default_factory=dict)


def write_reference(where: Path, name: str, landing: Path, edit: ReferenceEdit, *, anew: bool = False) -> Path:
    """Write a reference as `<where>/<name>`, and return `where`: a folder of use cases.

    Args:
        where: The folder.
        name: The reference.
        landing: Where its files land.
        edit: What is edited; a text that does not stand there exactly once is a fault of the test.
        anew: Whether all is to be computed from the beginning by it.
    """
    reference, folder = REFERENCES[name], where / name
    folder.mkdir(parents=True)
    for path in (USE_CASES / name).glob("*.py"):
        shutil.copy(path, folder)
    for replaced in (reference.smaller, edit.edit, *([edit.anew] if anew else [])):
        for file, texts in replaced.items():
            text = (folder / file).read_text(encoding="utf-8")
            for old, new in texts:
                assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
                text = text.replace(old, new)
            (folder / file).write_text(text, encoding="utf-8")
    for file, text in edit.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    settings = yaml.safe_load((USE_CASES / name / CONFIG_FILE).read_text(encoding="utf-8"))
    for laid in (reference.settings, edit.settings, {"landing": str(landing)}):
        settings = _merged(settings, laid)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return where


def _merged(settings: Mapping[str, Any], laid: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in laid.items():
        merged[key] = _merged(merged.get(key) or {}, value) if isinstance(value, Mapping) else value
    return merged


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the header and the rows of a packed CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.reader(lines)


def _write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])


def _write_loans(folder: Path) -> None:
    """Write four years of loans, a drop a year: all that were charged off by then, and a twelfth of the others."""
    data, years = USE_CASES / "credit_risk" / "data", range(2002, 2006)
    outcomes: dict[int, list[list[str]]] = {}
    for year in years:
        for path in sorted((data / "outcomes").glob(f"outcomes_{year}Q*.csv.gz")):
            header, *rows = _rows(path)
            outcomes.setdefault(year, []).extend(row for row in rows if row[header.index("ChgOffDate")])
        _write_rows(folder / "outcomes" / f"outcomes_{year}Q4.csv.gz", header, outcomes[year])
    charged_off = {row[0] for rows in outcomes.values() for row in rows}
    for year in years:
        loans: list[list[str]] = []
        for path in sorted((data / "loans").glob(f"loans_{year}Q*.csv.gz")):
            header, *rows = _rows(path)
            loans += [row for place, row in enumerate(rows) if row[0] in charged_off or place % 12 == 0]
        _write_rows(folder / "loans" / f"loans_{year}Q4.csv.gz", header, loans)


def _write_legs(folder: Path) -> None:
    """Write the first days of January: every other flight number, and all observations."""
    data = USE_CASES / "delivery_delay" / "data"
    shutil.copy(data / "zones.csv", folder)
    for source in ("schedule", "arrivals", "weather"):
        name = f"{source}/{source}_2013-01.csv.gz"
        header, *rows = _rows(data / name)
        days, flights = header.index("day"), header.index("flight") if "flight" in header else None
        few = [row for row in rows if int(row[days]) <= 9 and (flights is None or int(row[flights]) % 2 == 0)]
        _write_rows(folder / name, header, few)


def _write_nothing(folder: Path) -> None:
    """Write no file: the purchases come with a package."""


_FEW_CUSTOMERS = """\
        few = (purchases["customer_id"].astype(int) % 10 == 0) & (purchases["date"] < "19970701")
        purchases = purchases[few].reset_index(drop=True)
"""

REFERENCES: dict[str, Reference] = {
    "credit_risk": Reference(
        as_of="2006-01-01",
        write_data=_write_loans,
        settings={"training": {"min_rows": 500, "search": {"max_evals": 1}}, "gate": {"min_rows": 50, "draws": 100}},
        unread={
            "features_lender": frozenset({"lender_loans"}),
            "features_industry": frozenset({"industry_loans", "industry_mean_amount"}),
            "features_state": frozenset({"state_loans", "state_mean_amount"}),
        },
    ),
    "delivery_delay": Reference(
        as_of="2013-01-08",
        write_data=_write_legs,
        settings={"training": {"min_rows": 500, "max_rows": 5000}, "gate": {"min_rows": 50, "draws": 100}},
        unread={SPINE: frozenset({"published_at", "departs_at"})},
    ),
    "churn": Reference(
        as_of="1997-07-01",
        write_data=_write_nothing,
        settings={
            "training": {"since": "1997-01-01", "min_rows": 500},
            "gate": {"min_rows": 50, "draws": 100},
        },
        smaller={
            "purchases.py": [
                ("keep_default_na=False)\n", f"keep_default_na=False)\n{_FEW_CUSTOMERS}"),
            ]
        },
        unread={SPINE: frozenset({"value_segment"}), "features_recency": frozenset({"days_since_first"})},
    ),
}

_HISTORIES = ("features_lender", "features_industry", "features_state")
_LEGS = ("features_origin", "features_carrier", "features_destination", "features_route", "features_flight")


def _all(tables: Sequence[str], kind: Kind) -> dict[str, Kind]:
    return dict.fromkeys(tables, kind)


_PRIORS = "PRIOR_LOANS, PRIOR_AMOUNT_LOANS = 200.0, 20.0"
_LOANS_COLUMN = '        Column("{table}_loans", "bigint", "Loans approved so far"),\n'
_LOANS_VALUE = '            F.col("loans_ever").cast("bigint").alias(f"{self.name}_loans"),\n'
_MEAN_AMOUNT = '            mean_amount.alias(f"{self.name}_mean_amount"),\n'
_URBAN = 'Column("urban_rural", "double", "1 urban, 2 rural, 0 undefined", sql=_number("UrbanRural")),'
_CITY = 'Column("city", "string", "City of the borrower", sql="trim(City)"),'
_LENDER_LOOKUP = 'self.lookup(LenderFeatures, ["lender_relative_risk", "lender_mean_amount"])'
_STATE_LOOKUP = '            self.lookup(StateFeatures, ["state_relative_risk"]),\n'
_OF_HISTORIES = ', "industry_relative_risk", "state_relative_risk")'

CREDIT_RISK: dict[str, ReferenceEdit] = {
    "a comment in the code": ReferenceEdit({FEATURES: [(_PRIORS, f"{_PRIORS}  # of average loans")]}, says=(NOTHING,)),
    "a live column of silver, and so of the spine, dropped": ReferenceEdit(
        {
            TABLES: [(_URBAN, "")],
            MODEL: [('"is_new_business", "urban_rural", "same_state"', '"is_new_business", "same_state"')],
        },
        {"silver_loans": _ADDITIVE, SPINE: _BREAKING, "lookups": _ADDITIVE},
        says=("urban_rural  column is not declared any more, and read",),
    ),
    "a constant of live columns": ReferenceEdit(
        {FEATURES: [(_PRIORS, _PRIORS.replace("200.0", "400.0"))]},
        _all(_HISTORIES, _BREAKING),
        says=("lender_relative_risk: ", "BREAKING for v1"),
    ),
    "a constant that one live column reads": ReferenceEdit(
        {FEATURES: [(_PRIORS, _PRIORS.replace(" 20.0", " 30.0"))]},
        {"features_lender": _BREAKING, "features_industry": _RECOMPUTE, "features_state": _RECOMPUTE},
    ),
    "a window": ReferenceEdit(
        {
            FEATURES: [
                ('windows = ("12 months", None)', 'windows = ("6 months", None)'),
                ('F.sum("charge_offs_12m")', 'F.sum("charge_offs_6m")'),
                ('(F.col("charge_offs_12m") + PRIOR_LOANS', '(F.col("charge_offs_6m") + PRIOR_LOANS'),
            ]
        },
        _all(_HISTORIES, _BREAKING),
    ),
    "a new feature of all three": ReferenceEdit(
        {
            FEATURES: [
                (
                    _LOANS_COLUMN,
                    _LOANS_COLUMN + '        Column("{table}_amount", "double", "Amount approved so far"),\n',
                ),
                (_MEAN_AMOUNT, _MEAN_AMOUNT + '            F.col("amount_ever").alias(f"{self.name}_amount"),\n'),
            ]
        },
        _all(_HISTORIES, _ADDITIVE),
        says=("+ lender_amount  new column, double, ",),
    ),
    "a new column of silver, and so of the spine": ReferenceEdit(
        {
            TABLES: [
                ('Column("industry", "string"', f'{_CITY} Column("industry", "string"'),
            ]
        },
        {"silver_loans": _ADDITIVE, SPINE: _ADDITIVE, "lookups": _ADDITIVE},
        says=("city  new input, from the spine: from the next training on",),
    ),
    "an unread column dropped": ReferenceEdit(
        {FEATURES: [(_LOANS_COLUMN, ""), (_LOANS_VALUE, "")]},
        _all(_HISTORIES, _ADDITIVE),
        says=("- lender_loans  no longer written; what it holds stays",),
    ),
    "an unread column renamed": ReferenceEdit(
        {
            FEATURES: [
                (_LOANS_COLUMN, _LOANS_COLUMN.replace("_loans", "_approvals")),
                (_LOANS_VALUE, _LOANS_VALUE.replace('_loans"', '_approvals"')),
            ]
        },
        _all(_HISTORIES, _ADDITIVE),
        says=("holds what lender_loans holds: a rename is a drop and an addition",),
    ),
    "a live column renamed, and its lookup": ReferenceEdit(
        {
            FEATURES: [
                ('Column("{table}_mean_amount"', 'Column("{table}_average_amount"'),
                (_MEAN_AMOUNT, _MEAN_AMOUNT.replace("_mean_amount", "_average_amount")),
            ],
            MODEL: [
                (_LENDER_LOOKUP, _LENDER_LOOKUP.replace("mean_amount", "average_amount")),
                ('"lender_mean_amount"' + _OF_HISTORIES, '"lender_average_amount"' + _OF_HISTORIES),
            ],
        },
        {
            "features_lender": _BREAKING,
            "features_industry": _ADDITIVE,
            "features_state": _ADDITIVE,
            "lookups": _ADDITIVE,
        },
        says=("lender_mean_amount", "column is not declared any more, and read"),
    ),
    "silver in another unit": ReferenceEdit(
        {TABLES: [('sql=_number("NoEmp")', 'sql=_number("NoEmp") + " / 100"')]},
        {"silver_loans": _RECOMPUTE, SPINE: _BREAKING},
        says=("employees: ",),
    ),
    "an expectation that more rows fail": ReferenceEdit(
        {TABLES: [('"employees >= 0"', '"employees >= 2"')]},
        {
            "silver_loans": _RECOMPUTE,
            SPINE: _BREAKING,
            LABELS: _RECOMPUTE,
            **_all(_HISTORIES, _BREAKING),
        },
        says=("rows that the table holds are not computed any more",),
    ),
    "a wider type": ReferenceEdit(
        {FEATURES: [(_LOANS_COLUMN, _LOANS_COLUMN.replace('"bigint"', '"decimal(20,0)"'))]},
        _all(_HISTORIES, _RECOMPUTE),
        says=("type bigint → decimal(20,0), which Delta can widen",),
    ),
    "a live column of a narrower type": ReferenceEdit(
        {FEATURES: [('Column("{table}_relative_risk", "double"', 'Column("{table}_relative_risk", "float"')]},
        _all(_HISTORIES, _BREAKING),
        says=("type double → float", "the next run refuses it: "),
    ),
    "the horizon": ReferenceEdit(
        settings={"label": {"horizon": "30 months"}},
        kinds={LABELS: _RECOMPUTE},
        says=("label_known_at: ", "rows that the table does not hold"),
    ),
    "what a feature function gives": ReferenceEdit(
        {FEATURES: [("else guaranteed_amount / amount", "else 100 * guaranteed_amount / amount")]},
        {"functions": _BREAKING},
        says=("other predictions than those on record",),
    ),
    "a key more": ReferenceEdit(
        {
            FEATURES: [
                ('LenderFeatures(_History, keys=("lender",))', 'LenderFeatures(_History, keys=("lender", "state"))')
            ]
        },
        {"features_lender": _BREAKING, "lookups": _ADDITIVE},
        says=("lender, known_at → lender, state, known_at", "the keys of a table do not change"),
    ),
    "a source column dropped": ReferenceEdit(
        {TABLES: [('"UrbanRural", "RevLineCr", "LowDoc",', '"UrbanRural", "LowDoc",')]},
        {"bronze_loans": _ADDITIVE, "silver_loans": _RECOMPUTE, SPINE: _BREAKING},
        says=("RevLineCr  no longer read: what lands from now on has null",),
        anew={TABLES: [('sql="trim(RevLineCr)"', 'sql="cast(NULL AS string)"')]},
    ),
    "a feature table of another name": ReferenceEdit(
        {
            FEATURES: [("class StateFeatures(", "class BorrowerFeatures(")],
            MODEL: [
                (
                    "IndustryFeatures, LenderFeatures, StateFeatures",
                    "BorrowerFeatures, IndustryFeatures, LenderFeatures",
                ),
                (
                    _STATE_LOOKUP,
                    _STATE_LOOKUP.replace("StateFeatures", "BorrowerFeatures").replace("state_", "borrower_"),
                ),
                (_OF_HISTORIES, _OF_HISTORIES.replace('"state_', '"borrower_')),
            ],
        },
        {"features_borrower": _ADDITIVE, "lookups": _ADDITIVE},
        says=("= kept: computed on, by the code on record, for v1 @champion",),
    ),
    "the label renamed": ReferenceEdit(
        {TABLES: [('label="charged_off",', 'label="defaulted",')]},
        {LABELS: _BREAKING},
        refused="defaulted",
    ),
}

_ROUTE = 'RouteFeatures(_ArrivedLegs, keys=("route",), grid="1 day", windows=("7 days", "28 days"))'
_LATE = '"Share more than 15 minutes late {within}", sql=_MEAN("late")),\n'
_PRESSURE = '        Column("pressure", "double", "Millibars; missing in a tenth of the rows"),\n'
_VISIBILITY = '        Column("visibility", "double", "Miles", sql="try_cast(visib AS double)"),\n'
_REPORTED = 'Column("reported_at", "timestamp", "The arrival, else a day after plan", nullable=False'
_WEATHER_FEATURES = '''

class WeatherFeatures(FeatureTable, table=Weather):
    """The observations as they stand, each known an hour after its stamp."""
'''
_IS_WEEKEND = '''

def is_weekend(weekday: float | None) -> float | None:
    """1 on a Saturday or Sunday."""
    return None if weekday is None else float(weekday in (1.0, 7.0))


IS_WEEKEND = FeatureFunctionSpec.of(is_weekend)
'''
_FLIGHT_LOOKUP = '            self.lookup(features.FlightFeatures, lookback="2 weeks"),\n'
_WEATHER_LOOKUP = '            self.lookup(features.WeatherFeatures, lookback="4 hours"),\n'

DELIVERY_DELAY: dict[str, ReferenceEdit] = {
    "a comment in a module that others import": ReferenceEdit(
        {"replay.py": [('KEY = ["year"', '# A leg.\nKEY = ["year"')]}, says=(NOTHING,)
    ),
    "a feature table's description": ReferenceEdit(
        {FEATURES: [('"""How the carrier has been doing."""', '"""How a carrier did of late."""')]},
        says=("the table's comment changed",),
    ),
    "columns in another order": ReferenceEdit(
        {TABLES: [(_PRESSURE + _VISIBILITY, _VISIBILITY + _PRESSURE)]}, says=("columns stand in another order",)
    ),
    "the code written in another way": ReferenceEdit(
        {FEATURES: [('"int(arr_delay > 15) AS late"', '"int(arr_delay >= 16) AS late"')]},
        says=("text only: values equal on all",),
    ),
    "a constant of live columns": ReferenceEdit(
        {FEATURES: [("least({}, 180)", "least({}, 60)")]}, _all(_LEGS, _BREAKING), says=("origin_arrival_delay_3h: ",)
    ),
    "a finer grid": ReferenceEdit(
        {FEATURES: [('grid="1 hour"', 'grid="30 minutes"')]},
        {"features_origin": _BREAKING},
        says=("rows that the table does not hold",),
    ),
    "a window between the others": ReferenceEdit(
        {FEATURES: [('windows=("6 hours", "1 day")', 'windows=("6 hours", "12 hours", "1 day")')]},
        {"features_destination": _ADDITIVE, "lookups": _ADDITIVE},
        says=("+ destination_late_12h ", "destination_late_12h             new input, from features_destination"),
    ),
    "a longer window, for which rows come": ReferenceEdit(
        {FEATURES: [('windows=("6 hours", "1 day")', 'windows=("6 hours", "1 day", "2 days")')]},
        {"features_destination": _BREAKING, "lookups": _ADDITIVE},
        says=("rows that the table does not hold",),
    ),
    "another window": ReferenceEdit(
        {FEATURES: [(_ROUTE, _ROUTE.replace("7 days", "3 days"))]},
        {"features_route": _BREAKING, "lookups": _ADDITIVE},
        says=("route_late_7d", "column is not declared any more, and read"),
    ),
    "a value more of each window": ReferenceEdit(
        {
            FEATURES: [
                (
                    _LATE,
                    _LATE
                    + '        Column("{table}_legs_{window}", "bigint", "Legs {within}", sql="legs_{window}"),\n',
                )
            ]
        },
        {**_all(_LEGS, _ADDITIVE), "lookups": _ADDITIVE},
        says=("+ carrier_legs_28d  new column, bigint, ",),
    ),
    "a lookback": ReferenceEdit(
        {MODEL: [('lookback="6 hours"', 'lookback="12 hours"')]},
        {"lookups": _ADDITIVE},
        says=("at most 6 hours old → ", "at most 12 hours old: from the next training on"),
    ),
    "a feature table less": ReferenceEdit(
        {FEATURES: [("class FlightFeatures(", "class _FlightFeatures(")], MODEL: [(_FLIGHT_LOOKUP, "")]},
        {"lookups": _ADDITIVE},
        says=("= kept: computed on, by the code on record, for v1 @champion",),
    ),
    "a source less, and all that comes of it": ReferenceEdit(
        {
            TABLES: [
                ("import ArrivalReports, WeatherReports", "import ArrivalReports, WeatherReports as _Reports"),
                ("class WeatherSource(Source, replay=WeatherReports,", "class _WeatherSource(Source, replay=_Reports,"),
                (
                    "class Weather(SilverTable, source=WeatherSource,",
                    "class _Weather(SilverTable, source=_WeatherSource,",
                ),
            ],
            FEATURES: [
                ("import Arrivals, Schedule, Weather\n", "import Arrivals, Schedule\n"),
                (_WEATHER_FEATURES, ""),
            ],
            MODEL: [(_WEATHER_LOOKUP, "")],
        },
        {"lookups": _ADDITIVE},
        says=("features_weather     = kept: computed on", "bronze_weather       = kept: "),
    ),
    "silver in another unit": ReferenceEdit(
        {TABLES: [('sql="try_cast(temp AS double)"', 'sql="(try_cast(temp AS double) - 32) / 1.8"')]},
        {"silver_weather": _RECOMPUTE, "features_weather": _BREAKING},
        says=("temperature: ",),
    ),
    "a column renamed in silver and in features": ReferenceEdit(
        {
            TABLES: [
                (
                    _PRESSURE,
                    '        Column("barometer", "double", "Millibars", sql="try_cast(pressure AS double)"),\n',
                )
            ]
        },
        {"silver_weather": _ADDITIVE, "features_weather": _BREAKING, "lookups": _ADDITIVE},
        says=("barometer", "holds what pressure holds"),
    ),
    "when a leg is predicted": ReferenceEdit(
        {TABLES: [('prediction_time="predicted_at"', 'prediction_time="departs_at"')]},
        {SPINE: _BREAKING, LABELS: _BREAKING, "lookups": _ADDITIVE},
        refused="the keys of a table do not change",
    ),
    "when an arrival is known": ReferenceEdit(
        {
            TABLES: [
                (_REPORTED, _REPORTED + ', sql="try_to_timestamp(reported_at) + INTERVAL 1 HOUR"'),
            ]
        },
        {"silver_arrivals": _RECOMPUTE, LABELS: _RECOMPUTE, **_all(_LEGS, _BREAKING)},
        says=("reported_at: ",),
    ),
    "what the label is": ReferenceEdit(
        {TABLES: [('f"double(arr_delay) AS {self.label}"', 'f"double(greatest(arr_delay, 0)) AS {self.label}"')]},
        {LABELS: _RECOMPUTE},
        says=("arrival_delay: ",),
    ),
    "a silver column of a narrower type": ReferenceEdit(
        {TABLES: [('Column("dep_delay", "bigint"', 'Column("dep_delay", "int"')]},
        {"silver_arrivals": _BREAKING},
        says=("type bigint → int", "the next run refuses it: "),
    ),
    "a first feature function": ReferenceEdit(
        {
            FEATURES: [
                ("import Column, FeatureTable,", "import Column, FeatureFunctionSpec, FeatureTable,"),
                ("\n\nclass _ArrivedLegs(", f"{_IS_WEEKEND}\n\nclass _ArrivedLegs("),
            ],
            MODEL: [(_WEATHER_LOOKUP, _WEATHER_LOOKUP + "            self.function(features.IS_WEEKEND),\n")],
        },
        {"lookups": _ADDITIVE},
        says=("is_weekend  new input, from is_weekend(weekday=weekday)",),
    ),
}

_AT_CUTOFFS = '''def at_cutoffs(purchases: DataFrame) -> DataFrame:
    """Return each purchase once for every cut-off within the `ACTIVE_DAYS` after it."""
    first = F.add_months(F.trunc("day", "month"), 1)
    months = F.array(*(F.add_months(first, ahead).cast("timestamp") for ahead in range(ACTIVE_DAYS // 28 + 1)))
    every = purchases.withColumn("cutoff", F.explode(months)).withColumn("days_before", F.datediff("cutoff", "day"))
    return every.where(F.col("days_before") <= ACTIVE_DAYS)


'''
_RECENCY_END = 'return history.withColumn("overdue", F.expr("days_since_last / usual_gap"))'
_OVERDUE = '        Column("overdue", "double", "Days since the last purchase, by the usual gap; null with one day"),\n'
_USUAL_GAP = (
    '        Column("usual_gap", "double", "Mean days from one day with a purchase to the next; null with one day"),\n'
)
_SPENT = 'Column("spent_90d", "double", "Dollars spent in the 90 days before: what is at stake", nullable=False)'
_CENTS_EXPECTATION = 'Expectation("value_is_no_credit", "cents >= 0"),'

CHURN: dict[str, ReferenceEdit] = {
    "what the next training does": ReferenceEdit(
        {MODEL: [('"min_samples_leaf": 40', '"min_samples_leaf": 80')]},
        settings={"training": {"holdout": 0.3}, "gate": {"floor": 0.6}},
        says=(NOTHING,),
    ),
    "a source's description": ReferenceEdit(
        {TABLES: [('"""Purchases by month."""', '"""What was bought, by month."""')]},
        says=("bronze_purchases", "the table's comment changed"),
    ),
    "a helper moved to a module of its own": ReferenceEdit(
        {
            TABLES: [
                (_AT_CUTOFFS, ""),
                ("ACTIVE_DAYS = 90\n", ""),
                ("from .purchases import", "from .cutoffs import at_cutoffs\nfrom .purchases import"),
            ],
            FEATURES: [
                (
                    "from .tables import CUSTOMER_ID, CUTOFF, Purchases, at_cutoffs",
                    "from .cutoffs import at_cutoffs\nfrom .tables import CUSTOMER_ID, CUTOFF, Purchases",
                )
            ],
        },
        files={
            "cutoffs.py": '"""Cut-offs."""\n\nfrom pyspark.sql import DataFrame\n'
            f"from pyspark.sql import functions as F\n\nACTIVE_DAYS = 90\n\n\n{_AT_CUTOFFS.strip()}\n"
        },
        says=("features_recency     = text only: values equal on all",),
    ),
    "silver by other SQL with the same values": ReferenceEdit(
        {TABLES: [("try_cast(number_of_cds AS bigint)", "bigint(try_cast(number_of_cds AS double))")]},
        says=("silver_purchases     = text only: values equal on all",),
    ),
    "an expectation that no row fails": ReferenceEdit(
        {TABLES: [(_CENTS_EXPECTATION, f'{_CENTS_EXPECTATION} Expectation("cds_are_few", "cds < 1000"),')]},
        says=("silver_purchases     = text only: values equal on all",),
    ),
    "an expectation that more rows fail": ReferenceEdit(
        {TABLES: [('"cents >= 0"', '"cents > 1000"')]},
        {
            "silver_purchases": _RECOMPUTE,
            SPINE: _BREAKING,
            LABELS: _RECOMPUTE,
            "features_monthly": _BREAKING,
            "features_weekly": _BREAKING,
            "features_recency": _BREAKING,
        },
    ),
    "a constant of spine and features": ReferenceEdit(
        {TABLES: [("ACTIVE_DAYS = 90", "ACTIVE_DAYS = 60")]},
        {SPINE: _BREAKING, LABELS: _RECOMPUTE, "features_recency": _BREAKING},
    ),
    "a spine's column that no model is given": ReferenceEdit(
        {TABLES: [("MIDDLE_VALUE, HIGH_VALUE = 40, 90", "MIDDLE_VALUE, HIGH_VALUE = 50, 90")]},
        {SPINE: _RECOMPUTE},
        says=("value_segment: ",),
    ),
    "how silver is rounded": ReferenceEdit(
        {
            TABLES: [
                (
                    "bigint(round(try_cast(dollar_value AS double) * 100))",
                    "bigint(floor(try_cast(dollar_value AS double)) * 100)",
                )
            ]
        },
        {
            "silver_purchases": _RECOMPUTE,
            SPINE: _BREAKING,
            "features_monthly": _BREAKING,
            "features_weekly": _BREAKING,
        },
        says=("cents: ",),
    ),
    "a live column's formula": ReferenceEdit(
        {FEATURES: [('F.expr("days_since_last / usual_gap")', 'F.expr("days_since_last / (usual_gap + 7)")')]},
        {"features_recency": _BREAKING},
        says=("overdue: ",),
    ),
    "the formula of a column that the model leaves out": ReferenceEdit(
        {
            FEATURES: [
                (
                    _RECENCY_END,
                    _RECENCY_END + '.withColumn("days_since_first", F.col("days_since_first") + 1)',
                )
            ]
        },
        {"features_recency": _RECOMPUTE},
        says=("days_since_first: ",),
    ),
    "another window": ReferenceEdit(
        {FEATURES: [('windows=("2 weeks", "6 weeks", "13 weeks")', 'windows=("3 weeks", "6 weeks", "13 weeks")')]},
        {"features_weekly": _BREAKING, "lookups": _ADDITIVE},
        says=("days_trend_weekly: ", "days_2w", "column is not declared any more, and read"),
    ),
    "a new column": ReferenceEdit(
        {
            FEATURES: [
                (_OVERDUE, _OVERDUE + '        Column("gaps", "bigint", "Gaps between days; null with one day"),\n'),
            ]
        },
        {"features_recency": _ADDITIVE, "lookups": _ADDITIVE},
        says=("+ gaps  new column, bigint, ",),
    ),
    "a live column dropped": ReferenceEdit(
        {FEATURES: [(_USUAL_GAP, "")]},
        {"features_recency": _BREAKING, "lookups": _ADDITIVE},
        says=("usual_gap  column is not declared any more, and read",),
    ),
    "a silver column of a wider type": ReferenceEdit(
        {TABLES: [('Column("cents", "bigint"', 'Column("cents", "decimal(20,0)"')]},
        # What is divided has fewer digits then.
        {"silver_purchases": _RECOMPUTE, "features_monthly": _BREAKING, "features_weekly": _BREAKING},
        says=("type bigint → decimal(20,0), which Delta can widen", "cents_trend_weekly: "),
    ),
    "the horizon": ReferenceEdit(settings={"label": {"horizon": "30 days"}}, kinds={LABELS: _RECOMPUTE}),
    "when a label is known": ReferenceEdit(
        {TABLES: [('complete.alias("label_known_at")', 'F.col("ends").alias("label_known_at")')]},
        {LABELS: _RECOMPUTE},
    ),
    "code that fails": ReferenceEdit(
        {FEATURES: [('F.min("days_before")', 'F.min("days_ago")')]},
        {"features_recency": _BREAKING},
        says=("cannot be computed: ",),
        refused="features_recency: cannot be computed",
    ),
    "a spine's column that may be null": ReferenceEdit(
        {TABLES: [(_SPENT, _SPENT.replace(", nullable=False", ""))]},
        {SPINE: _ADDITIVE},
        says=("spent_90d  may be null now",),
    ),
    "a feature table of another name": ReferenceEdit(
        {
            FEATURES: [("class RecencyFeatures(", "class PaceFeatures(")],
            MODEL: [
                (
                    "import MonthlyFeatures, RecencyFeatures, WeeklyFeatures",
                    "import MonthlyFeatures, PaceFeatures, WeeklyFeatures",
                ),
                ("self.lookup(RecencyFeatures,", "self.lookup(PaceFeatures,"),
            ],
        },
        {"features_pace": _ADDITIVE, "lookups": _ADDITIVE},
        says=("features_pace        + table  new table, ",),
    ),
}

EDITS: dict[str, dict[str, ReferenceEdit]] = {
    "credit_risk": CREDIT_RISK,
    "delivery_delay": DELIVERY_DELAY,
    "churn": CHURN,
}

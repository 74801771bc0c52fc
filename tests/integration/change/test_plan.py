"""Plan: for each kind of edit, what it says is what recomputation proves; and it changes nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.change import measuring
from mlplatform.change.answers import NOTICEABLE
from mlplatform.change.differences import Kind
from mlplatform.change.plan import NOTHING, ChangePlan
from mlplatform.cli.main import cli
from mlplatform.errors import BreakingChangeError
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.edited_use_case import AS_OF, NAME, NAMES, Edit, open_edited, run_edited, write_use_case
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

TABLES, FEATURES, PRICES, MODEL = "tables.py", "features.py", "prices.py", "model.py"
# Where a row came from, which no edit of a declaration changes.
_PROVENANCE = ["_file", "_row", "_available_at", "_batch", "_ingested_at"]
SUBSCRIPTIONS = 'Column("subscriptions", "bigint", "Subscriptions of the day"),'
COUNTED = 'F.count("*").alias("subscriptions"))'
SEATS = 'Column("seats", "double", "Seats", sql="try_cast(seats AS double)"),'
MONTH = ' Column("month", "string", "Month of signing up", sql="substring(signed_up, 1, 7)"),'


@dataclass(frozen=True)
class Case:
    """An edit, and what a plan says of it.

    Attributes:
        edit: What is replaced in which file.
        kinds: Table (`functions`, `lookups`) -> what the plan has to call it; those not named: text only, or nothing.
        settings: Settings that change with it.
        says: Texts that the plan shows.
        rerun: Whether the whole can be run anew; else the tables are only compared by their shape.
    """

    edit: Edit = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    rerun: bool = True


CASES: dict[str, Case] = {
    "nothing": Case(says=(NOTHING,)),
    "another delimiter": Case(
        {
            TABLES: [
                ("from mlplatform import Column", "from mlplatform import Dialect, Column"),
                (
                    '"""Subscriptions by month."""',
                    '"""Subscriptions by month."""\n    dialect = Dialect(delimiter=";")',
                ),
            ]
        },
        says=(
            "bronze_signups: files are read with delimiter ';' from now on, instead of ','",
            f"mlplatform ingest {NAME} --again FILE",
        ),
        rerun=False,
    ),
    "a comment in the code": Case({FEATURES: [("PRIOR = 20.0", "PRIOR = 20.0  # of a whole year")]}, says=(NOTHING,)),
    "a docstring": Case({FEATURES: [("Average the day's prices.", "Take the mean.")]}, says=(NOTHING,)),
    "a column's comment": Case(
        {TABLES: [("Where the customer is", "Where the customer lives")]}, says=("region: its comment changed",)
    ),
    "a table's description": Case(
        {FEATURES: [('"""Cancellations of a region."""', '"""What a region lost."""')]},
        says=("the table's comment changed",),
    ),
    "the code written in another way": Case(
        {FEATURES: [('F.avg(F.col("price") * CENTS)', 'F.avg(CENTS * F.col("price"))')]},
        says=("text only: values equal on all",),
    ),
    "columns in another order": Case(
        {
            FEATURES: [
                ('        Column("mean_price", "double", "Mean price of the day"),\n', ""),
                (SUBSCRIPTIONS, SUBSCRIPTIONS + ' Column("mean_price", "double", "Mean price of the day"),'),
            ]
        },
        says=("columns stand in another order",),
    ),
    "a helper constant that no live column reads": Case(
        {PRICES: [("CENTS = 1.0", "CENTS = 100.0")]},
        {"features_price": Kind.RECOMPUTE},
        says=("mean_price: ",),
    ),
    "a constant of a live column": Case(
        {FEATURES: [("PRIOR = 20.0", "PRIOR = 1.0")]},
        {"features_region": Kind.BREAKING},
        says=("region_rate: ", "read by  model v1 @champion  region_rate  → predictions: ", "BREAKING for v1"),
    ),
    "a window of a live column": Case(
        {FEATURES: [('"28 days", None', '"14 days", None')]},
        {"features_region": Kind.BREAKING},
        says=("cancellations_28d  column is not declared any more, and read", "+ cancellations_14d  new column"),
        rerun=False,
    ),
    "the grid of a live table": Case(
        {FEATURES: [('grid = "7 days"', 'grid = "14 days"')]}, {"features_region": Kind.BREAKING}, rerun=False
    ),
    "a new column": Case(
        {
            FEATURES: [
                (SUBSCRIPTIONS, SUBSCRIPTIONS + ' Column("highest", "double", "Highest price"),'),
                (COUNTED, COUNTED[:-1] + ', F.max("price").alias("highest"))'),
            ]
        },
        {"features_price": Kind.ADDITIVE},
        says=("+ highest  new column, double, ",),
    ),
    "a new column beside live ones": Case(
        {FEATURES: [('"Cancellations"), "signups")', '"Cancellations"), Column("signups", "bigint", "Sign-ups"))')]},
        {"features_region": Kind.ADDITIVE},
        says=("+ signups_28d ", "+ signups_ever "),
    ),
    "a column renamed": Case(
        {
            FEATURES: [
                ('Column("mean_price"', 'Column("average_price"'),
                ('.alias("mean_price")', '.alias("average_price")'),
            ]
        },
        {"features_price": Kind.ADDITIVE},
        says=("holds what mean_price holds: a rename is a drop and an addition", "no longer written"),
    ),
    "a live column renamed": Case(
        {FEATURES: [('            "region_rate",', '            "rate_of_region",')]},
        {"features_region": Kind.BREAKING},
        says=("region_rate", "holds what region_rate holds"),
        rerun=False,
    ),
    "a column dropped": Case(
        {FEATURES: [(SUBSCRIPTIONS, ""), (", " + COUNTED, ")")]},
        {"features_price": Kind.ADDITIVE},
        says=("- subscriptions  no longer written; what it holds stays",),
    ),
    "a column's type": Case(
        {FEATURES: [(SUBSCRIPTIONS, SUBSCRIPTIONS.replace("bigint", "double"))]},
        {"features_price": Kind.BREAKING},
        says=("subscriptions  type bigint → double", "the next run refuses it: "),
    ),
    "a live column's type": Case(
        {FEATURES: [('Column("cancellations", "bigint"', 'Column("cancellations", "double"')]},
        {"features_region": Kind.BREAKING},
        says=("cancellations_28d   type bigint → double",),
    ),
    "a key more": Case(
        {
            FEATURES: [
                ('keys = ("region",)\n    timeseries', 'keys = ("region", "seats")\n    timeseries'),
                ('Column("region", "string", "The region"),', 'Column("region", "string", "The region"), SEATS,'),
                ('groupBy("region", day)', 'groupBy("region", "seats", day)'),
                ("PRIOR = 20.0", 'PRIOR = 20.0\nSEATS = Column("seats", "double", "Seats")'),
            ]
        },
        {"features_price": Kind.BREAKING},
        says=("keys", "region, known_at → region, seats, known_at", "the keys of a table do not change"),
    ),
    "the keys of a live table": Case(
        {
            FEATURES: [
                ('RollingFeatureTable, keys=("region",)', 'RollingFeatureTable, keys=("region", "account")'),
                ('selectExpr("region", "signed_up_at', 'selectExpr("region", "account", "signed_up_at'),
                ('selectExpr("region", "cancelled_at', 'selectExpr("region", "account", "cancelled_at'),
            ]
        },
        {"features_region": Kind.BREAKING, "lookups": Kind.ADDITIVE},
        says=("region, known_at → region, account, known_at", "BREAKING for v1"),
        rerun=False,
    ),
    "silver in another unit": Case(
        {TABLES: [('sql="try_cast(price AS double)"', 'sql="try_cast(price AS double) * 100"')]},
        {"silver_signups": Kind.RECOMPUTE, "gold_spine": Kind.BREAKING, "features_price": Kind.RECOMPUTE},
        says=("price: 2,100 of 2,100 rows differ (largest ", "read by  model v1 @champion  price  →"),
    ),
    "silver by other SQL with the same values": Case(
        {TABLES: [('sql="trim(region)"', 'sql="trim(trim(region))"')]}, says=("silver_signups",)
    ),
    "an expectation that more rows fail": Case(
        {TABLES: [('"price > 0"', '"price > 10"')]},
        {
            "silver_signups": Kind.RECOMPUTE,
            "gold_spine": Kind.BREAKING,
            "gold_labels": Kind.RECOMPUTE,
            "features_region": Kind.BREAKING,
            "features_price": Kind.RECOMPUTE,
        },
        says=("rows that the table holds are not computed any more",),
    ),
    "a new silver column": Case(
        {
            TABLES: [
                (
                    SEATS,
                    SEATS + MONTH,
                )
            ]
        },
        {"silver_signups": Kind.ADDITIVE, "gold_spine": Kind.ADDITIVE, "lookups": Kind.ADDITIVE},
        says=("month  new column, string, 2,100 rows to compute",),
    ),
    "a source column dropped": Case(
        {TABLES: [('"price", "seats")\n\n\nclass Cancel', '"price")\n\n\nclass Cancel')]},
        {"bronze_signups": Kind.ADDITIVE, "silver_signups": Kind.RECOMPUTE, "gold_spine": Kind.BREAKING},
        says=("seats  no longer read: what lands from now on has null", "bronze_signups, from now on"),
        rerun=False,
    ),
    "a new source column": Case(
        {TABLES: [('"price", "seats")\n\n\nclass Cancel', '"price", "seats", "plan")\n\n\nclass Cancel')]},
        {"bronze_signups": Kind.ADDITIVE},
        says=("plan  new column: what landed before has null",),
        rerun=False,
    ),
    "the horizon": Case(
        settings={"label": {"horizon": "2 months"}},
        kinds={"gold_labels": Kind.RECOMPUTE},
        says=("label_known_at: ", "rows that the table does not hold"),
    ),
    "a feature function": Case(
        {FEATURES: [("else price / seats", "else 12 * price / seats")]},
        {"functions": Kind.BREAKING},
        says=("price_a_seat: other predictions than those on record",),
    ),
    "a feature function's parameters": Case(
        {FEATURES: [("price_a_seat(price: float | None, seats: float | None)", "price_a_seat(price: float | None)")]},
        {"functions": Kind.BREAKING, "lookups": Kind.ADDITIVE},
        says=("price_a_seat(price double, seats double) → double is declared as (price double) → double",),
        rerun=False,
    ),
    "a lookup less": Case(
        {MODEL: [('["cancellations_28d", "region_rate"]', '["cancellations_28d"]')]},
        {"lookups": Kind.ADDITIVE},
        says=("region_rate  no input of the next model any more; v1 @champion is given it as before",),
    ),
    "a feature table less": Case(
        {FEATURES: [("class PriceFeatures", "class _PriceFeatures")]},
        says=("features_price       - not declared any more; what it holds stays",),
    ),
    "a new feature table": Case(
        {
            FEATURES: [
                (
                    "class PriceFeatures",
                    'class SeatFeatures(FeatureTable, table=Signups):\n    """Rows."""\n\n\nclass PriceFeatures',
                )
            ]
        },
        {"features_seat": Kind.ADDITIVE},
        says=("features_seat        + table  new table, 2,100 rows to compute",),
    ),
    "code that fails": Case(
        {FEATURES: [('F.avg(F.col("price") * CENTS)', 'F.avg(F.col("prise") * CENTS)')]},
        {"features_price": Kind.BREAKING},
        says=("cannot be computed: ",),
        rerun=False,
    ),
}


@pytest.fixture(scope="module")
def ws(base: Path) -> Iterator[LocalWorkspace]:
    """The workspace, opened; no test writes to it, and that none did is a test."""
    with LocalWorkspace.open(root=base) as opened:
        yield opened


def planned(ws: LocalWorkspace, use_cases: Path, as_of: str = AS_OF) -> ChangePlan:
    return Pipeline(ws, open_edited(ws, use_cases), parse_as_of(as_of)).plan()


def files_of(root: Path) -> dict[str, str]:
    """Return the digest of each file of a workspace, but scratch and logs."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in ("tmp", "logs")
    }


def rows_of(ws: LocalWorkspace, name: str) -> pd.DataFrame:
    return (
        ws.tables.to_arrow(NAMES.table(name), at_most=10**6)
        .drop_columns(
            [column for column in _PROVENANCE if column in ws.tables.describe(NAMES.table(name)).schema.names]
        )
        .to_pandas()
    )


@pytest.fixture(scope="module", autouse=True)
def nothing_is_changed(base: Path) -> Iterator[None]:
    """Hold all files against what they were, after all plans of this module."""
    before = files_of(base)
    assert before
    yield
    assert files_of(base) == before


SLOW = (
    "a docstring",
    "a table's description",
    "columns in another order",
    "a new column beside live ones",
    "a live column renamed",
    "a column dropped",
    "the grid of a live table",
    "a column's type",
    "a key more",
    "silver by other SQL with the same values",
    "a new silver column",
    "a new source column",
    "a feature function's parameters",
    "a lookup less",
    "a new feature table",
)
"""Kinds of which another one is looked at by every `make test`."""
PROVED = ("a constant of a live column", "a new column", "an expectation that more rows fail", "the horizon")
"""Edits of which every `make test` also computes anew what the plan measured: of a feature, a filter and a label."""


def _cases() -> Iterator[Any]:
    for name, case in CASES.items():
        proved = case.rerun and name in PROVED
        yield pytest.param(name, proved, marks=pytest.mark.slow if name in SLOW else (), id=name)
        if case.rerun and not proved:
            yield pytest.param(name, True, marks=pytest.mark.slow, id=f"{name}, proved")


@pytest.mark.parametrize(("name", "proved"), list(_cases()))
def test_a_plan_says_what_an_edit_does(name: str, proved: bool, ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    case = CASES[name]
    use_cases = write_use_case(tmp_path / "use_cases", data, case.edit, **case.settings)
    plan = planned(ws, use_cases)
    shown = "\n".join(plan.lines())
    found = {change.name: change.kind for change in plan.changes if change.kind is not Kind.TEXT}
    assert found == case.kinds, shown
    for text in case.says:
        assert text in shown, shown
    assert plan.is_breaking == (Kind.BREAKING in case.kinds.values())
    json.dumps(plan.to_json())
    if proved and plan.changes:
        _prove(ws, plan, use_cases, tmp_path)


def _prove(ws: LocalWorkspace, plan: ChangePlan, use_cases: Path, tmp_path: Path) -> None:
    """Compute all anew in an empty workspace, by the edited use case, and compare the rows in pandas."""
    with LocalWorkspace.open(root=tmp_path / "anew", spark=ws.spark) as other:
        run_edited(other, use_cases, AS_OF, ["ingest", "refine", "features"])
        for change in plan.changes:
            if change.measured is None or not ws.tables.exists(NAMES.table(change.name)):
                continue
            keys = list(other.tables.describe(NAMES.table(change.name)).primary_keys)
            then, now = rows_of(ws, change.name), rows_of(other, change.name)
            assert len(now) == change.measured.after
            if not change.measured.compared:
                continue
            both = then.merge(now, on=keys, suffixes=("", "__now"))
            assert len(then) - len(both) == change.measured.removed
            assert len(now) - len(both) == change.measured.added
            differing = {}
            for column in set(then.columns) & set(now.columns) - set(keys):
                one, two = both[column], both[f"{column}__now"]
                same = (one == two) | (one.isna() & two.isna())
                if one.dtype.kind == "f" and two.dtype.kind == "f":
                    same |= np.isclose(one, two, rtol=1e-9, atol=1e-9, equal_nan=True)
                if not same.all():
                    differing[column] = int((~same).sum())
            assert differing == {column: item.rows for column, item in change.measured.columns.items()}


@pytest.mark.parametrize(
    ("edit", "table"),
    every(
        3,
        [
            ({FEATURES: [("PRIOR = 20.0", "PRIOR = 400.0")]}, "features_region"),
            ({TABLES: [('sql="try_cast(price AS double)"', 'sql="try_cast(price AS double) * 1.1"')]}, "gold_spine"),
            ({TABLES: [('"price > 0"', '"price > 20"')]}, "features_region"),
        ],
    ),
    ids=["a constant", "another unit", "fewer rows"],
)
def test_the_champion_says_what_it_says_after_computing_anew(
    edit: Edit, table: str, ws: LocalWorkspace, base: Path, tmp_path: Path, data: Path
) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data, edit)
    change = planned(ws, use_cases).change(table)
    assert change is not None
    (reading,) = change.readings
    assert reading.answer is not None
    moved = reading.answer.moved
    assert moved is not None
    predicted = ws.tables.to_arrow(NAMES.gold("predictions"), at_most=10**4).to_pandas()
    assert moved.rows == len(predicted)
    with LocalWorkspace.open(root=clone(base, tmp_path / "ws"), spark=ws.spark) as other:
        opened = open_edited(other, use_cases)
        Pipeline(other, opened, parse_as_of(AS_OF)).apply(in_place=True, reason="it is how it should have been")
        spine = other if table == "gold_spine" else ws
        rows = rows_of(spine, "gold_spine").merge(predicted[["account"]], on="account")
        now = other.fe.score_batch_arrow(model_uri=f"models:/{NAMES.model}/1", df=rows).to_pandas()
    both = now.merge(predicted[["account", "prediction"]], on="account", suffixes=("", "_then"))
    apart = np.abs(both["prediction"] - both["prediction_then"])
    assert moved.moved == int((apart > NOTICEABLE).sum())
    assert moved.moved
    assert moved.largest == pytest.approx(apart.max())
    assert moved.mean_after == pytest.approx(both["prediction"].mean())


def test_of_a_large_table_the_last_window_and_a_sample_of_history_are_computed(
    ws: LocalWorkspace, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cases = write_use_case(
        tmp_path / "use_cases", data, {FEATURES: [("PRIOR = 20.0", "PRIOR = 400.0")]}, scoring={"every": "2 weeks"}
    )
    whole = planned(ws, use_cases).change("features_region")
    monkeypatch.setattr(measuring, "MOST_ROWS", 100)
    part = planned(ws, use_cases).change("features_region")
    assert whole is not None
    assert part is not None
    assert whole.measured is not None
    assert part.measured is not None
    assert 0 < part.measured.before < whole.measured.before == part.measured.held
    assert (part.measured.added, part.measured.removed) == (0, 0)
    assert part.measured.columns["region_rate"].rows == part.measured.before
    (all_asked,), (asked,) = whole.readings, part.readings
    assert all_asked.answer is not None
    assert asked.answer is not None
    assert all_asked.answer.moved is not None
    assert asked.answer.moved is not None
    assert 0 < asked.answer.moved.rows < all_asked.answer.moved.rows


def test_an_empty_workspace_has_all_to_come_and_nothing_breaks(ws: LocalWorkspace, tmp_path: Path, data: Path) -> None:
    use_cases = write_use_case(tmp_path / "use_cases", data)
    with LocalWorkspace.open(root=tmp_path / "ws", spark=ws.spark) as other:
        plan = planned(other, use_cases)
        assert {change.kind for change in plan.changes} == {Kind.ADDITIVE}
        assert not other.tables.list("dev", NAME)


def test_the_command_shows_the_plan_and_exits_with_4_where_something_breaking_waits(
    base: Path, tmp_path: Path, data: Path
) -> None:
    same = write_use_case(tmp_path / "same", data)
    broken = write_use_case(tmp_path / "broken", data, {FEATURES: [("PRIOR = 20.0", "PRIOR = 1.0")]})

    def call(use_cases: Path, *options: str) -> Any:
        arguments = ["plan", NAME, "--as-of", AS_OF, "--home", str(base), "--use-cases", str(use_cases), *options]
        return CliRunner().invoke(cli, arguments)

    done = call(same)
    assert (done.exit_code, done.stdout) == (0, f"{NOTHING}\n")
    waiting = call(broken)
    assert isinstance(waiting.exception, BreakingChangeError)
    assert waiting.exception.exit_code == 4
    assert "verdict  BREAKING for v1" in waiting.stdout
    answer = json.loads(call(broken, "--json").stdout)
    assert answer["breaking"]
    (change,) = [item for item in answer["changes"] if item["kind"] == "breaking"]
    assert change["name"] == "features_region"
    assert change["read_by"][0]["columns"] == ["region_rate"]
    assert 0 <= change["read_by"][0]["predictions"]["share"] <= 1

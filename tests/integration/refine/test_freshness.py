"""What makes a table be computed again: new rows, its code with helpers and constants, and the label's settings."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import table_rows
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import NAME, Tiny, TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_OF = "2020-07-01"
TABLES = '''
from pyspark.sql import functions as F

from mlplatform import Column, FeatureTable
from made_up_helpers import elsewhere
from made_up_base import Shared

FACTOR = 2


def scaled(column):
    return F.col(column) * FACTOR


class Prices(Shared, FeatureTable):
    """Prices."""

    name = "prices"
    keys = ("account",)
    timeseries_column = "signed_up_at"
    inputs = ("silver_signups",)
    columns = (
        Column("account", "string", "Number"),
        Column("signed_up_at", "timestamp", "When"),
        Column("price", "double", "Scaled"),
    )

    def compute(self, ws, as_of, since):
        rows = self.narrowed(ws.read("silver_signups"))
        return rows.select("account", "signed_up_at", elsewhere(scaled("price")).alias("price"))


class Other:
    """Nobody's."""
'''
HELPERS = "def elsewhere(column):\n    return column + 0\n"
BASE = "class Shared:\n    def narrowed(self, rows):\n        return rows\n"


class Modules:
    """The modules of a use case, in a folder of their own, that are edited and imported again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {"made_up_tables": TABLES, "made_up_helpers": HELPERS, "made_up_base": BASE}

    def edit(self, module: str, old: str, new: str) -> None:
        assert old in self.texts[module]
        self.texts[module] = self.texts[module].replace(old, new)

    def load(self) -> type:
        for name, text in self.texts.items():
            (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        table: type = importlib.import_module("made_up_tables").Prices
        return table


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    # Edits come faster than a second, which is what bytecode is told apart by.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Modules(folder)
    for name in ("made_up_tables", "made_up_helpers", "made_up_base"):
        sys.modules.pop(name, None)


class Here:
    """The tiny use case with a feature table of modules that can be edited."""

    def __init__(self, ws: LocalWorkspace, tiny: TinyFolder, where: Path, modules: Modules) -> None:
        self.ws, self.tiny, self.where, self.modules = ws, tiny, where, modules
        self.catalog = ws.catalog

    def run(self, *stages: str, as_of: str = AS_OF) -> dict[str, Any]:
        """Run stages; return how each ended and what it did."""
        use_case = type("Edited", (Tiny,), {"features": (self.modules.load(),)}).open(NAME, self.tiny.folder, self.ws)
        summary = Pipeline(self.ws, use_case, parse_as_of(as_of)).run(stages)
        return {run.stage: run for run in summary.stages}

    def settings(self, **settings: Any) -> None:
        write_tiny_use_case(self.where, months=6, rows_a_month=40, **settings)

    def prices(self) -> dict[str, float]:
        rows = self.ws.tables.to_arrow(f"{self.catalog}.{NAME}.features_prices", at_most=10**6).to_pylist()
        return {row["account"]: row["price"] for row in rows}

    def labels(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ws.tables.to_arrow(
            f"{self.catalog}.{NAME}.gold_labels", at_most=10**6
        ).to_pylist()
        return rows


@pytest.fixture
def here(ws: LocalWorkspace, tmp_path: Path, modules: Modules) -> Here:
    return Here(ws, write_tiny_use_case(tmp_path, months=6, rows_a_month=40), tmp_path, modules)


@pytest.fixture
def ws(tmp_path: Path, modules: Modules, base: Path) -> Iterator[LocalWorkspace]:
    """A copy of a workspace in which all stages were run."""
    if not base.exists():
        with LocalWorkspace.open(root=base) as first:
            tiny = write_tiny_use_case(base.parent, months=6, rows_a_month=40)
            Here(first, tiny, base.parent, modules).run("ingest", "refine", "features")
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves what all go on from: the modules that it imports are its own."""
    return tmp_path_factory.mktemp("base") / "home"


def test_the_same_code_again_computes_nothing(here: Here) -> None:
    before = here.prices()
    done = here.run("refine", "features")
    assert {name: run.status for name, run in done.items()} == {"refine": "skipped", "features": "skipped"}
    assert here.prices() == before


@pytest.mark.parametrize(
    ("module", "old", "new", "factor"),
    [
        ("made_up_tables", "FACTOR = 2", "FACTOR = 3", 1.5),
        ("made_up_tables", "* FACTOR", "* FACTOR * 5", 5),
        ("made_up_tables", 'elsewhere(scaled("price"))', 'elsewhere(scaled("price") * 4)', 4),
        ("made_up_base", "return rows", "return rows.withColumn('price', rows.price * 7)", 7),
    ],
    ids=["a constant", "a helper", "the class", "a base class in another module"],
)
def test_changed_code_is_computed_with(here: Here, module: str, old: str, new: str, factor: float) -> None:
    before = here.prices()
    here.modules.edit(module, old, new)
    done = here.run("features")
    assert (done["features"].status, done["features"].result.rows_out) == ("done", len(before))
    assert here.prices() == pytest.approx({account: price * factor for account, price in before.items()})
    assert here.run("features")["features"].status == "skipped"


def test_a_mend_that_is_taken_back_is_computed_with_too(here: Here) -> None:
    before = here.prices()
    for old, new in (("FACTOR = 2", "FACTOR = 3"), ("FACTOR = 3", "FACTOR = 2")):
        here.modules.edit("made_up_tables", old, new)
        assert here.run("features")["features"].status == "done"
    assert here.prices() == before


def test_code_that_is_no_base_of_the_table_in_its_module_counts_too(here: Here) -> None:
    here.modules.edit("made_up_tables", "class Other:", "class Others:")
    assert here.run("features")["features"].status == "done"


def test_a_helper_in_another_module_of_the_use_case_is_computed_with(here: Here) -> None:
    before = here.prices()
    here.modules.edit("made_up_helpers", "column + 0", "column + 1")
    here.run("features")
    assert here.prices() == pytest.approx({account: price + 1 for account, price in before.items()})


def test_rows_that_changed_code_no_longer_gives_are_gone(here: Here) -> None:
    before = here.prices()
    here.modules.edit("made_up_base", "return rows", "return rows.where('price > 25')")
    here.run("features")
    assert here.prices() == {account: price for account, price in before.items() if price > 50}


def test_an_earlier_time_after_changed_code_computes_what_was_known_then(here: Here) -> None:
    before = here.prices()
    here.modules.edit("made_up_tables", "FACTOR = 2", "FACTOR = 4")
    here.run("features", as_of="2020-03-01")
    expected = {account: price * (2 if account < "202003" else 1) for account, price in before.items()}
    found = here.prices()
    # Who signed up at the very moment had not landed by then.
    assert len(expected) - len(found) == 2
    assert found == pytest.approx({account: price for account, price in expected.items() if account in found})
    # And the rest as soon as it is due again.
    here.run("features")
    assert here.prices() == pytest.approx({account: price * 2 for account, price in before.items()})


# --- labels ---


def horizons(labels: list[dict[str, Any]]) -> set[int]:
    return {round((row["label_known_at"] - row["signed_up_at"]).days / 30.4) for row in labels}


def test_a_shorter_horizon_labels_all_anew(here: Here) -> None:
    before = here.labels()
    assert horizons(before) == {3}
    here.settings(label={"horizon": "1 month"})
    done = here.run("refine", "features")
    assert (done["refine"].status, done["features"].status) == ("done", "skipped")
    after = here.labels()
    assert horizons(after) == {1}
    assert len(after) > len(before)
    assert sum(row["cancelled"] for row in after) / len(after) < sum(row["cancelled"] for row in before) / len(before)
    assert here.run("refine")["refine"].status == "skipped"


def test_other_settings_than_the_labels_change_no_label(here: Here) -> None:
    here.settings(training={"seed": 9}, monitoring={"min_rows": 7})
    assert {name: run.status for name, run in here.run("refine", "features").items()} == {
        "refine": "skipped",
        "features": "skipped",
    }


def test_a_longer_horizon_labels_all_anew(here: Here) -> None:
    here.settings(label={"horizon": "5 months"})
    here.run("refine")
    assert horizons(here.labels()) == {5}


def test_labels_after_going_back_and_forth_are_those_of_a_new_workspace(here: Here) -> None:
    name = f"{here.catalog}.{NAME}.gold_labels"
    before = table_rows(here.ws, name)
    here.settings(label={"horizon": "3 months", "event_above": None})
    here.run("refine")
    assert table_rows(here.ws, name) == before


def test_each_table_has_a_marker_of_its_own(here: Here) -> None:
    here.settings(label={"horizon": "2 months"})
    here.run("refine")
    runs = STAGE_RUNS.read(here.ws, Tiny.open(NAME, here.tiny.folder, here.ws).namespace)
    first, last = (
        {key: value["code"] for key, value in run.details["computed"].items()} for run in runs if run.stage == "refine"
    )
    assert set(first) == {"gold_spine", "gold_labels"}
    assert first["gold_labels"] != last["gold_labels"]

"""An edit under a champion, in either home: refused, applied on record, and what the champion reads computed on."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import BreakingChangeError
from mlplatform.ops.records import CHANGES
from mlplatform.pipeline import Pipeline
from tests.support.edited_use_case import (
    AS_OF,
    NAMES,
    Edit,
    open_edited,
    run_edited,
    write_data,
    write_use_case,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from mlplatform.protocols.workspace import Workspace

LATER = "2020-09-01"
# The meaning of a feature, and a function that computes what the model is given.
EDIT: Edit = {
    "features.py": [("PRIOR = 20.0", "PRIOR = 400.0"), ("else price / seats", "else price / (seats + 1.0)")],
    "tables.py": [('"price > 0"', '"price > 8"')],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), months=8, rows_a_month=100)


@pytest.fixture(scope="module")
def champion(ws: Workspace, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace, in which the use case, not edited, has a champion."""
    use_cases = write_use_case(
        tmp_path_factory.mktemp("use_cases"),
        data,
        training={"metric": "roc_auc", "min_rows": 200},
        gate={"floor": 0.5, "min_rows": 100, "min_positives": 10, "draws": 100},
    )
    ws.registry.ensure_model(NAMES.model)
    run_edited(ws, use_cases, AS_OF, ["ingest", "refine", "features", "train"])
    done = Pipeline(ws, open_edited(ws, use_cases), parse_as_of(AS_OF)).gate(override="for the test")
    assert done.details.outcome == "promoted"
    return ws


@pytest.fixture(scope="module", autouse=True)
def edits_reach_the_workers() -> Iterator[None]:
    """A use case is installed where Spark's workers run; one that a test has just written goes to them by value."""
    from pyspark import cloudpickle

    names = [f"use_cases.edited{module}" for module in ("", ".features", ".model", ".prices", ".tables")]
    modules = [ModuleType(name) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setitem(sys.modules, module.__name__, module)
            cloudpickle.register_pickle_by_value(module)
    yield
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setitem(sys.modules, module.__name__, module)
            cloudpickle.unregister_pickle_by_value(module)


def asked(ws: Workspace) -> pd.DataFrame:
    """Return the rows of the spine."""
    return ws.tables.to_arrow(NAMES.gold("spine"), at_most=10**6).to_pandas()


def said(ws: Workspace, rows: pd.DataFrame) -> list[float]:
    """Return what the first champion predicts for some rows."""
    scored = ws.fe.score_batch_arrow(model_uri=f"models:/{NAMES.model}/1", df=rows).to_pandas()
    found: list[float] = scored.sort_values("account")["prediction"].tolist()
    return found


def known(ws: Workspace, table: str) -> Any:
    return ws.tables.largest(NAMES.exactly(table), "known_at")


def test_an_edit_under_a_champion(champion: Workspace, data: Path, tmp_path: Path) -> None:
    ws = champion
    edited = write_use_case(tmp_path / "use_cases", data, EDIT)
    with pytest.raises(BreakingChangeError, match="something breaking waits"):
        run_edited(ws, edited, LATER)
    rows = asked(ws)
    before, newest = said(ws, rows), known(ws, "features_region")
    applied = Pipeline(ws, open_edited(ws, edited), parse_as_of(AS_OF)).apply(reason="it is how it should be")
    assert set(applied.versions) == {"features_region", "silver_signups", "price_a_seat"}
    assert said(ws, rows) == pytest.approx(before, abs=1e-12)
    (change,) = CHANGES.read(ws, NAMES)
    assert (change.kind, change.reason) == ("breaking", "it is how it should be")
    # Both follow what lands, each by its own code.
    run_edited(ws, edited, LATER, ["ingest", "refine", "features", "score"])
    version = applied.versions["features_region"]
    assert known(ws, "features_region") == known(ws, version) > newest
    rates = [
        ws.tables.to_arrow(NAMES.exactly(name), at_most=10**6)
        .to_pandas()
        .set_index(["region", "known_at"])["region_rate"]
        for name in ("features_region", version)
    ]
    assert (rates[0] - rates[1]).abs().max() > 0.01
    assert said(ws, rows) == pytest.approx(before, abs=1e-12)
    plan = Pipeline(ws, open_edited(ws, edited), parse_as_of(LATER)).plan()
    assert not [item for item in plan.changes if item.name != "lookups"]
    assert {item.name for item in plan.kept if item.read_by} >= {"features_region", "price_a_seat"}
    use = Pipeline(ws, open_edited(ws, edited), parse_as_of(LATER))
    use.run(["train"])
    assert use.gate(override="for the test").details.outcome == "promoted"
    assert str(NAMES.exactly(version)) in {table.name for table in ws.fe.lineage(f"models:/{NAMES.model}/2").tables}

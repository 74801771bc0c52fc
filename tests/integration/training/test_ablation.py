"""`mlplatform ablate`: what each lookup is worth, told without changing a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.pipeline import Pipeline
from mlplatform.training import ablation
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks
from tests.support.homes import Homes
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import TinyTrainer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def home(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(homes.second, tmp_path_factory.mktemp("ablated") / "home")


def told(homes: Homes, home: Path, *more: str) -> str:
    command = ["ablate", "tiny", "--as-of", Homes.SECOND, "--home", str(home), "--use-cases", str(homes.tiny.use_cases)]
    done = CliRunner().invoke(cli, [*command, *more])
    assert done.exit_code == 0, (done.exception, done.output)
    return done.stdout


def test_each_lookup_is_left_out_in_turn_and_nothing_is_changed(homes: Homes, home: Path) -> None:
    before = disks.contents(home)
    found: dict[str, Any] = json.loads(told(homes, home, "--json"))
    text = told(homes, home)
    assert disks.contents(home) == before
    lookups = {it["lookup"]: it for it in found["lookups"]}
    assert {name: it["features"] for name, it in lookups.items()} == {
        "features_region": ["region_cancellations"],
        "price_a_seat": ["price_a_seat"],
    }
    assert found["metric"] == "roc_auc"
    assert 0.5 < found["value"] < 1
    for it in lookups.values():
        assert it["cost"] == pytest.approx(found["value"] - it["value"])
        assert it["low"] <= it["cost"] <= it["high"]
        assert it["judgement"] in text.replace("\n", " ") or len(it["judgement"]) > 20
    assert [it["cost"] for it in found["lookups"]] == sorted((it["cost"] for it in lookups.values()), reverse=True)
    assert "features_region" in text


def test_what_decides_is_worth_it_and_what_fails_is_said(
    homes: Homes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ablation.columns_by_lookup

    def with_price(*arguments: Any) -> dict[str, tuple[str, ...]]:
        return whole(*arguments) | {"the spine": ("price", "price_a_seat"), "nothing": ()}

    monkeypatch.setattr(ablation, "columns_by_lookup", with_price)
    with LocalWorkspace.open(root=home, read_only=True) as ws:
        use_case = open_tiny(ws, homes.tiny.folder)
        found = Pipeline(ws, use_case, parse_as_of(Homes.SECOND)).ablate()
        assert found.lookups[0].lookup == "the spine"
        assert found.lookups[0].judgement == "worth it"
        assert found.lookups[0].cost is not None
        assert found.lookups[0].cost > 0.1
        assert {it.lookup: it.judgement for it in found.lookups}["nothing"] == "no input of the model"

        fit = TinyTrainer.fit

        def refuse(self: TinyTrainer, estimator: Any, rows: Any) -> Any:
            if rows.inputs["price"].nunique() == 1:
                raise ZeroDivisionError("one price only")
            return fit(self, estimator, rows)

        monkeypatch.setattr(TinyTrainer, "fit", refuse)
        failed = {it.lookup: it for it in Pipeline(ws, use_case, parse_as_of(Homes.SECOND)).ablate().lookups}
        assert "one price only" in failed["the spine"].judgement
        assert failed["features_region"].value is not None


def test_a_column_that_is_left_out_keeps_its_type_and_is_one_value(homes: Homes) -> None:
    from types import SimpleNamespace

    import numpy as np

    from mlplatform.features.model_frame import model_frame
    from mlplatform.training.candidate import TrainingData

    rows = pa.table(
        {"a": [1.0, None, 3.0], "b": ["x", None, "y"], "c": pa.nulls(3, pa.float64()), "d": [1.0, 2.0, 3.0]}
    )
    data = TrainingData(
        SimpleNamespace(),  # type: ignore[arg-type]
        rows,
        model_frame(rows),
        np.zeros(3),
        np.zeros(3, "datetime64[us]"),
        "d",
    )
    changed = ablation._constant(data, ["a", "b", "c"]).inputs
    assert changed["a"].tolist() == [1.0] * 3
    assert changed["b"].tolist() == ["x"] * 3
    assert changed["c"].isna().all()
    assert list(changed.dtypes) == list(data.inputs.dtypes)
    assert data.inputs["a"].tolist()[2] == changed["d"].tolist()[2] == 3.0

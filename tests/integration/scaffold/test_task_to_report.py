"""Each task from a CSV file to its report: `new-use-case`, steps of a replay with a promotion, and what is shown.

In a workspace of their own in a moment; with `check` and `simulate` from the command line as slow tests.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.pipeline import Pipeline
from mlplatform.reporting.report import write_report
from mlplatform.scaffold.render import new_use_case
from mlplatform.simulation import simulate

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

ROWS, DAYS = 1600, 360
MOMENTS, LATER = ("2024-08-01", "2024-11-01"), "2024-12-20"


@dataclass(frozen=True)
class Replayed:
    """What a replay came to.

    Args:
        decisions: Of each step, in words.
        report: The page.
        use_case: As it was replayed; None from the command line.
    """

    decisions: list[str]
    report: str
    use_case: UseCase | None = None


def cases(seed: int = 5) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    days = np.sort(dice.integers(0, DAYS, ROWS))
    return pd.DataFrame(
        {
            "shop": [f"S{number}" for number in range(ROWS)],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D"),
            "area": dice.uniform(0, 1, ROWS).round(3),
            "region": dice.choice(["north", "south", "far"], ROWS),
        }
    )


def minutes() -> pd.DataFrame:
    """Return cases whose spread grows with the area: the mean says little of the upper end."""
    frame = cases()
    spread = np.random.default_rng(6).gamma(2.0, 2.0 + 20.0 * frame["area"])
    return frame.assign(result=(10 + spread).round(2))


def visits() -> pd.DataFrame:
    frame = cases()
    mean = np.exp(0.2 + 2.0 * frame["area"] + 0.7 * (frame["region"] == "far"))
    return frame.assign(result=np.random.default_rng(7).poisson(mean))


def grades() -> pd.DataFrame:
    frame = cases()
    dice = np.random.default_rng(8)
    far = (frame["region"] == "far").to_numpy()
    scores = np.column_stack([2.0 - 4 * frame["area"], np.where(far, 1.5, -0.5), 4 * frame["area"] - 2.5])
    names = np.array(["bronze", "silver", "gold"])
    return frame.assign(result=names[np.argmax(scores + dice.gumbel(size=scores.shape), axis=1)])


def replay(ws: LocalWorkspace, folder: Path, frame: pd.DataFrame, name: str, **options: Any) -> Replayed:
    """Write a use case, replay two steps of it with few trials, and read the report."""
    csv = folder / f"{name}.csv"
    frame.to_csv(csv, index=False)
    asked = {"entity": "shop", "timestamp": "day", "label": "result", "horizon": "10 days"}
    made = new_use_case(name, csv, into=folder / "use_cases", **asked, **options)
    config = made.folder / "config.yml"
    settings = yaml.safe_load(config.read_text())
    settings["training"]["search"] = {"max_evals": 2}
    config.write_text(yaml.safe_dump(settings))
    use_case = discovery.load(discovery.get(name, folder / "use_cases")).open(name, made.folder, ws)
    return replayed(ws, use_case, MOMENTS, folder / name)


def replayed(ws: LocalWorkspace, use_case: UseCase, moments: Sequence[str], folder: Path) -> Replayed:
    """Replay steps, and read the report."""
    steps = simulate(ws, use_case, [parse_as_of(moment) for moment in moments])
    page = write_report(ws, use_case.namespace, use_case.label_spine(), use_case.settings, folder)
    return Replayed([step.decision for step in steps], page.read_text(encoding="utf-8"), use_case)


def command_line(folder: Path, frame: pd.DataFrame, *options: str) -> Replayed:
    """Do the same from the command line, with `check`, in more and shorter steps."""
    csv, where = folder / "cases.csv", ("--use-cases", str(folder / "use_cases"))
    frame.to_csv(csv, index=False)
    asked = ("--entity", "shop", "--timestamp", "day", "--label", "result", "--horizon", "10 days")
    invoke("new-use-case", "shops", "--from-csv", str(csv), *asked, *options, *where)
    checked = json.loads(invoke("check", "shops", "--json", *where))["checks"]
    assert {item["status"] for item in checked} <= {"passed", "skipped"}, checked
    span = ("--from", "2024-06-01", "--to", "2024-12-20", "--every", "60 days")
    replayed = json.loads(invoke("simulate", "shops", "--json", "--home", str(folder / "home"), *where, *span))
    (done,) = replayed["use_cases"]
    page = Path(done["paths"]["report"]).read_text(encoding="utf-8")
    return Replayed([step["decision"] for step in done["steps"]], page)


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


def quantile_is_shown(done: Replayed) -> None:
    assert any("promoted" in decision for decision in done.decisions), done.decisions
    assert "Coverage of the quantile 0.8" in done.report
    assert "Coverage by decile" in done.report
    assert "pinball_loss" in done.report
    assert "Labels at or below the quantile 0.8" in done.report
    assert "Observed / predicted" not in done.report


def counts_are_shown(done: Replayed) -> None:
    assert any("promoted" in decision for decision in done.decisions), done.decisions
    assert "poisson_deviance" in done.report
    assert "Counts expected" in done.report
    assert "Observed / predicted" in done.report


def classes_are_shown(done: Replayed) -> None:
    assert "What was predicted as what" in done.report
    assert "How far each class&#39;s probability holds" in done.report
    assert "Class shares over time" in done.report
    assert "Probability of the predicted class" in done.report
    assert "Classes, in numbers" in done.report
    assert "log_loss" in done.report
    assert "is not drawn" not in done.report


def test_a_quantile_reaches_its_report(ws, tmp_path):
    quantile_is_shown(replay(ws, tmp_path, minutes(), "minutes", task="quantile", quantile=0.8))


def test_counts_reach_their_report(ws, tmp_path):
    counts_are_shown(replay(ws, tmp_path, visits(), "visits", task="counts"))


@pytest.fixture(scope="module")
def graded(ws, tmp_path_factory):
    return replay(ws, tmp_path_factory.mktemp("grades"), grades(), "grades", task="multiclass")


def test_several_classes_reach_their_report(ws, graded):
    done = graded
    assert any("promoted" in decision for decision in done.decisions), done.decisions
    classes_are_shown(done)
    predictions = ws.tables.to_arrow("dev.grades.gold_predictions", at_most=10**6)
    assert predictions.schema.field("prediction").type == pa.string()
    assert b"bronze" in predictions.schema.field("probabilities").metadata[b"comment"]
    matrix = np.array(predictions.column("probabilities").to_pylist())
    assert matrix.shape == (predictions.num_rows, 3)
    assert np.allclose(matrix.sum(axis=1), 1)
    classes = np.array(["bronze", "gold", "silver"])
    assert classes[matrix.argmax(axis=1)].tolist() == predictions.column("prediction").to_pylist()
    assert done.use_case is not None
    found = Pipeline(ws, done.use_case, parse_as_of(MOMENTS[-1])).ablate()
    assert found.metric == "log_loss"
    assert 0 < found.holdout < found.rows, "rows, and not rows times classes"
    assert 0.3 < found.value < 1.1


def test_several_classes_of_more_rows_than_are_taken_into_memory(ws, graded, tmp_path):
    """Totals come from the engine, what has none from a sample, and both are on record and in the report."""
    use_case = copy.copy(graded.use_case)
    # Fewer than config.yml may say.
    monitoring = use_case.settings.monitoring.model_copy(update={"max_rows": 120, "min_rows": 50})
    use_case.settings = use_case.settings.model_copy(update={"monitoring": monitoring})
    done = replayed(ws, use_case, [LATER], tmp_path)
    classes_are_shown(done)
    assert "on a sample of" in done.report
    records = ws.tables.to_arrow("dev.ops.performance_metrics", at_most=10**6).to_pylist()
    newest = {
        row["metric"]: row for row in sorted(records, key=lambda row: row["as_of"])
        if row["use_case"] == "grades" and row["basis"] == "recent" and row["model_version"] is None
    }  # fmt: skip
    assert newest["log_loss"]["note"] is None, "added up over all rows"
    assert "on a sample of 120" in newest["macro_roc_auc"]["note"]
    assert newest["accuracy"]["low"] < newest["accuracy"]["value"] < newest["accuracy"]["high"]
    assert newest["calibration_ratio[gold]"]["value"] > 0
    drift = ws.tables.to_arrow("dev.ops.drift_metrics", at_most=10**6).to_pylist()
    assert {"prediction", "probabilities[gold]"} <= {row["column"] for row in drift if row["use_case"] == "grades"}


@pytest.mark.slow
def test_a_quantile_from_the_command_line(tmp_path):
    quantile_is_shown(command_line(tmp_path, minutes(), "--task", "quantile", "--quantile", "0.8"))


@pytest.mark.slow
def test_counts_from_the_command_line(tmp_path):
    counts_are_shown(command_line(tmp_path, visits(), "--task", "counts"))


@pytest.mark.slow
def test_several_classes_from_the_command_line(tmp_path):
    done = command_line(tmp_path, grades(), "--task", "multiclass")
    assert any("promoted" in decision for decision in done.decisions), done.decisions
    classes_are_shown(done)

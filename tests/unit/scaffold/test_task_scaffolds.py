"""`mlplatform new-use-case` for the tasks beyond two classes and a mean: what it writes is a use case of that task."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.dummy import DummyRegressor
from sklearn.metrics import mean_pinball_loss, mean_poisson_deviance

from mlplatform import discovery
from mlplatform.cli.main import cli
from mlplatform.config.settings import UseCaseSettings, load_settings
from mlplatform.errors import UsageError
from mlplatform.naming import Namespace
from mlplatform.scaffold.estimators import ESTIMATORS
from mlplatform.scaffold.inference import infer
from mlplatform.scaffold.render import Scaffolded, new_use_case
from mlplatform.training.fitting import make_estimator

PROJECT = Path(__file__).resolve().parents[3]
ROWS = 240
DICE = np.random.default_rng(11)
FRAME = pd.DataFrame(
    {
        "shop": [f"S{number}" for number in range(ROWS)],
        "day": [f"{moment:%Y-%m-%d}" for moment in pd.date_range("2024-01-01", periods=ROWS)],
        "region": [("north", "south", "far")[number % 3] for number in range(ROWS)],
        "area": DICE.uniform(10, 90, ROWS).round(1),
        "minutes": DICE.gamma(2.0, 20.0, ROWS).round(2),
        "visits": DICE.poisson(3.0, ROWS),
    }
)
OPTIONS: dict[str, dict[str, Any]] = {
    "quantile": {"task": "quantile", "label": "minutes", "quantile": 0.9},
    "counts": {"task": "counts", "label": "visits"},
}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "shops.csv"
    FRAME.to_csv(path, index=False)
    return path


def write(csv: Path, **options: Any) -> Scaffolded:
    return new_use_case("shops", csv, into=csv.parent / "use_cases", entity="shop", timestamp="day", **options)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("task", OPTIONS)
def test_what_is_written_is_a_use_case_of_the_task_and_clean(csv, task, estimator):
    made = write(csv, estimator=estimator, **OPTIONS[task])
    settings = load_settings(made.folder / "config.yml", "dev")
    assert settings.task == task
    assert settings.training.metric == settings.kind_of_task.metrics[0]
    cls = discovery.load(discovery.get("shops", csv.parent / "use_cases"))
    trainer = cls.trainer(Namespace("dev", "shops"), settings, cls.spine)
    model = make_estimator(trainer, trainer.default_params)
    # As the written trainer makes it, it fits, and predicts what the task says.
    inputs, labels = FRAME[["area"]].astype("float64"), FRAME[OPTIONS[task]["label"]].to_numpy(dtype=np.float64)
    learner = getattr(model, "steps", [(None, model)])[-1][1]
    predictions = learner.fit(inputs, labels).predict(inputs)
    if task == "quantile":
        assert abs((labels <= predictions).mean() - 0.9) < 0.06
    else:
        assert abs(predictions.mean() / labels.mean() - 1) < 0.1
        assert predictions.min() >= 0
    for command in (["check"], ["format", "--check"]):
        ruff = [Path(sys.executable).with_name("ruff"), *command, "--config", PROJECT / "pyproject.toml", "use_cases"]
        done = subprocess.run(list(map(str, ruff)), cwd=csv.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_floor_is_what_a_constant_is_off_by(csv):
    labels, zeros = FRAME["minutes"].to_numpy(), np.zeros((ROWS, 1))
    constant = DummyRegressor(strategy="quantile", quantile=0.9).fit(zeros, labels).predict(zeros)
    found = infer(csv, task="quantile", entity="shop", label="minutes", timestamp="day", quantile=0.9)
    assert found.off == pytest.approx(mean_pinball_loss(labels, constant, alpha=0.9), rel=0.02)
    assert load_settings(write(csv, **OPTIONS["quantile"]).folder / "config.yml", "dev").gate.floor >= found.off
    counts = FRAME["visits"].to_numpy(dtype=np.float64)
    found = infer(csv, task="counts", entity="shop", label="visits", timestamp="day")
    assert found.off == pytest.approx(mean_poisson_deviance(counts, np.full(ROWS, counts.mean())))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "quantile", "label": "minutes"}, "--quantile"),
        ({"task": "quantile", "label": "minutes", "quantile": 1.0}, "between 0 and 1"),
        ({"task": "quantile", "label": "minutes", "quantile": float("nan")}, "between 0 and 1"),
        ({"task": "counts", "label": "visits", "quantile": 0.9}, "--quantile"),
        ({"task": "counts", "label": "minutes"}, "no count in"),
        ({"task": "counts", "label": "region"}, "no number"),
    ],
)
def test_what_does_not_go_with_the_task_is_refused(csv, options, says):
    with pytest.raises(UsageError) as caught:
        write(csv, **options)
    assert says in f"{caught.value} {caught.value.hint}"
    assert not (csv.parent / "use_cases").exists()


def test_the_command_takes_the_quantile(csv):
    asked = ["--task", "quantile", "--quantile", "0.75", "--row-numbers", "--label", "minutes", "--timestamp", "day"]
    where = ["--from-csv", str(csv), "--use-cases", str(csv.parent / "use_cases")]
    done = CliRunner().invoke(cli, ["new-use-case", "late", *asked, *where])
    assert done.exit_code == 0, done.output
    settings: UseCaseSettings = load_settings(csv.parent / "use_cases" / "late" / "config.yml", "dev")
    assert (settings.label.quantile, settings.training.metric) == (0.75, "pinball_loss")


GRADES = np.array(["bronze", "silver", "it's gold"])[(np.arange(ROWS) * 7 // 3) % 3]


class TestSeveralClasses:
    @pytest.fixture
    def csv(self, tmp_path: Path) -> Path:
        path = tmp_path / "shops.csv"
        FRAME.assign(grade=GRADES, level=(np.arange(ROWS) % 12)).to_csv(path, index=False)
        return path

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    @pytest.mark.parametrize("history", [(), ("region",), ("region", "shop+region")], ids=["none", "one", "two"])
    def test_what_is_written_is_a_use_case_and_clean(self, csv, estimator, history):
        made = write(csv, task="multiclass", label="grade", estimator=estimator, history_by=history)
        settings = load_settings(made.folder / "config.yml", "dev")
        assert settings.label.classes == ("bronze", "it's gold", "silver")
        assert settings.training.metric == "log_loss"
        # Three classes of a third each: a guess that knows their frequencies is off by the logarithm of three.
        assert settings.gate.floor == pytest.approx(np.log(3), abs=0.01)
        cls = discovery.load(discovery.get("shops", csv.parent / "use_cases"))
        trainer = cls.trainer(Namespace("dev", "shops"), settings, cls.spine)
        learner = make_estimator(trainer, trainer.default_params).steps[-1][1]
        codes = np.searchsorted(settings.label.classes, GRADES).astype(np.float64)
        inputs = FRAME[["area"]].astype("float64")
        assert learner.fit(inputs, codes).predict_proba(inputs).shape == (ROWS, 3)
        assert cls.spine.label_type == "string"
        if history:
            features = [column.name for column in cls.features[0].columns]
            assert len([name for name in features if "share_" in name]) == 6
        for command in (["check"], ["format", "--check"]):
            config = PROJECT / "pyproject.toml"
            ruff = [Path(sys.executable).with_name("ruff"), *command, "--config", config, "use_cases"]
            done = subprocess.run(list(map(str, ruff)), cwd=csv.parent, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    def test_numbers_are_classes_in_their_order_and_one_is_one(self, csv):
        found = infer(csv, task="multiclass", entity="shop", label="level", timestamp="day")
        assert found.classes == tuple(str(number) for number in range(12))
        text = csv.read_text().replace(",3\n", ",3.0\n")
        csv.write_text(text)
        assert infer(csv, task="multiclass", entity="shop", label="level", timestamp="day").classes == found.classes

    @pytest.mark.parametrize(
        ("label", "says"), [("minutes", "not whole"), ("shop", "240 values"), ("two", "has 2 values")]
    )
    def test_what_is_no_set_of_classes_is_refused(self, tmp_path, label, says):
        path = tmp_path / "shops.csv"
        FRAME.assign(two=np.where(np.arange(ROWS) % 2, "a", "b"), id=FRAME["shop"]).to_csv(path, index=False)
        with pytest.raises(UsageError) as caught:
            infer(path, task="multiclass", entity="id", label=label, timestamp="day")
        assert says in str(caught.value)
        assert "task" in caught.value.hint

    def test_the_command_shows_the_classes(self, csv):
        asked = ["--task", "multiclass", "--entity", "shop", "--label", "grade", "--timestamp", "day"]
        where = ["--from-csv", str(csv), "--use-cases", str(csv.parent / "use_cases")]
        done = CliRunner().invoke(cli, ["new-use-case", "graded", *asked, *where])
        assert done.exit_code == 0, done.output
        assert "grade is one of bronze, it's gold, silver; the rarest has 80 rows" in done.output

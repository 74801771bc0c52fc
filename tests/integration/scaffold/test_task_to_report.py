"""Each task from a CSV file to its report: `new-use-case`, `check`, `simulate` with a promotion, and what is shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli

ROWS = 2400
DAYS = 360


@dataclass(frozen=True)
class Replayed:
    """What a replay came to.

    Args:
        steps: As `simulate --json` says them.
        report: The page.
        checks: Of `check --json`.
    """

    steps: list[dict[str, Any]]
    report: str
    checks: dict[str, str]


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.stdout


def replay(folder: Path, frame: pd.DataFrame, *options: str, every: str = "90 days") -> Replayed:
    csv, use_cases = folder / "cases.csv", folder / "use_cases"
    frame.to_csv(csv, index=False)
    where = ("--use-cases", str(use_cases))
    asked = ("--entity", "shop", "--timestamp", "day", "--label", "result", "--horizon", "10 days")
    invoke("new-use-case", "shops", "--from-csv", str(csv), *asked, *options, *where)
    checked = json.loads(invoke("check", "shops", "--json", *where))
    replayed = json.loads(
        invoke(
            "simulate", "shops", "--json", "--home", str(folder / "home"), *where,
            "--from", "2024-06-01", "--to", "2024-12-20", "--every", every,
        )
    )  # fmt: skip
    (done,) = replayed["use_cases"]
    page = Path(done["paths"]["report"]).read_text(encoding="utf-8")
    return Replayed(done["steps"], page, {item["check"]: item["status"] for item in checked["checks"]})


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


@pytest.fixture(scope="module")
def quantile(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    frame = cases()
    # Minutes whose spread grows with the area: the mean says little of the upper end.
    spread = np.random.default_rng(6).gamma(2.0, 2.0 + 20.0 * frame["area"])
    frame["result"] = (10 + spread).round(2)
    return replay(tmp_path_factory.mktemp("quantile"), frame, "--task", "quantile", "--quantile", "0.8")


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    frame = cases()
    mean = np.exp(0.2 + 2.0 * frame["area"] + 0.7 * (frame["region"] == "far"))
    frame["result"] = np.random.default_rng(7).poisson(mean)
    return replay(tmp_path_factory.mktemp("counts"), frame, "--task", "counts")


def test_a_quantile_reaches_its_report(quantile):
    assert set(quantile.checks.values()) <= {"passed", "skipped"}, quantile.checks
    assert [step["decision"] for step in quantile.steps].count("promoted") >= 1, quantile.steps
    assert "Coverage of the quantile 0.8" in quantile.report
    assert "Coverage by decile" in quantile.report
    assert "pinball_loss" in quantile.report
    assert "Labels at or below the quantile 0.8" in quantile.report
    assert "Observed / predicted" not in quantile.report


def test_counts_reach_their_report(counts):
    assert set(counts.checks.values()) <= {"passed", "skipped"}, counts.checks
    assert [step["decision"] for step in counts.steps].count("promoted") >= 1, counts.steps
    assert "poisson_deviance" in counts.report
    assert "Counts expected" in counts.report
    assert "Observed / predicted" in counts.report

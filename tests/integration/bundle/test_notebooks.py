"""The notebooks, run in order on the local workspace as a person would on Databricks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlplatform import open_workspace
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.notebook import WIDGETS
from tests.support.notebooks import NOTEBOOKS, cells, run_notebook
from tests.support.tiny_use_case import NAME, write_tiny_use_case

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.workspace.local.workspace import LocalWorkspace

ORDER = (
    "01_ingest_bronze.py",
    "02_transform_silver_gold.py",
    "03_train_mlflow.py",
    "04_batch_scoring.py",
    "05_monitor_retrain.py",
)
STAGES = (["ingest"], ["refine", "features"], ["train", "gate"], ["score"], ["monitor", "retrain"])
AS_OF = "2020-08-01"


def test_the_notebooks_are_those_five():
    assert sorted(path.name for path in NOTEBOOKS.iterdir() if not path.name.startswith("__")) == list(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_notebook_is_thin_and_leaves_the_session_alone(name: str):
    found = cells(NOTEBOOKS / name)
    code = "\n".join(line for cell in found for line in cell.splitlines() if not line.startswith("# MAGIC"))
    assert found[0].startswith("# MAGIC %md")
    assert "open_cycle(spark, dbutils)" in code
    assert not re.search(r"\.stop\(|SparkSession|\.builder|ws\.close|^def |^class ", code, re.MULTILINE)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_what_they_begin_with_is_alike_and_short():
    """The rest of it is `mlplatform.notebook`: a change to it is made once."""
    beginnings = {"\n".join(cells(NOTEBOOKS / name)[1:3]) for name in ORDER}
    assert len(beginnings) == 1
    assert len(beginnings.pop().splitlines()) == 2


@pytest.mark.parametrize("name", ORDER)
def test_a_notebook_installs_what_the_use_case_s_jobs_install(name: str):
    installs = re.findall(r"^# MAGIC %pip install (.*)$", (NOTEBOOKS / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(installs) == 1
    # A notebook's working directory is its own folder.
    quiet, flag, requirements, project = installs[0].split()
    assert (quiet, flag) == ("--quiet", "-r")
    assert (NOTEBOOKS / requirements).resolve() == NOTEBOOKS.parent / "requirements" / f"{WIDGETS['use_case']}.txt"
    assert (NOTEBOOKS / requirements).is_file()
    assert (NOTEBOOKS / project / "pyproject.toml").is_file()


def test_in_order_they_make_a_champion_and_its_predictions(
    ws: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_tiny_use_case(tmp_path / "use_cases", months=7)
    monkeypatch.setenv("MLPLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLPLATFORM_USE_CASES", str(folder.use_cases))
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    monkeypatch.chdir(tmp_path)
    names, session = Namespace("dev", NAME), ws.spark
    ran = []
    for name, stages in zip(ORDER, STAGES, strict=True):
        run = run_notebook(NOTEBOOKS / name, session, use_case=NAME, as_of=AS_OF)
        summary, opened = run.names["done"], run.names["ws"]
        assert opened.spark is session
        assert [done.stage for done in summary.stages if done.stage in stages] == stages, name
        assert {done.status for done in summary.stages} == {"done"}, name
        assert run.widgets.asked == WIDGETS
        # It is done before anything is imported; a restart forgets every name.
        assert (len(run.installed), run.restarts) == (1, [3])
        assert run.shown[0][1] == len(summary.stages)
        assert len(run.shown) > 1, name
        opened.close()
        ran.append(run)
    with open_workspace("local", root=tmp_path / "home") as home:
        assert home.registry.aliases(names.model) == {CHAMPION: 1}
        predictions = home.tables.to_arrow(names.gold("predictions"), at_most=10**6)
    bronze, _, versions, scored, monitored = ran
    cancelled = sum(rows for name, rows in folder.rows.items() if name.startswith("cancellations"))
    assert [rows for _, rows in bronze.shown[1:]] == [7 * 300, cancelled]
    assert versions.shown[1][0]["aliases"].tolist() == [CHAMPION]
    assert CHALLENGER not in versions.shown[1][0]["aliases"].tolist()
    july = (folder.data / "signups" / "signups_2020-07.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert predictions.num_rows == sum("2020-07-01" not in line for line in july)  # that day was due before
    assert scored.shown[1][1] == predictions.num_rows
    assert monitored.shown[1][1] > 0
    assert session.range(3).count() == 3, "the notebooks stopped the session"


def test_a_notebook_again_adds_nothing(ws: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_tiny_use_case(tmp_path / "use_cases", months=2, rows_a_month=20)
    monkeypatch.setenv("MLPLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLPLATFORM_USE_CASES", str(folder.use_cases))
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    monkeypatch.chdir(tmp_path)
    first, again = (run_notebook(NOTEBOOKS / ORDER[0], ws.spark, use_case=NAME) for _ in range(2))
    assert [rows for _, rows in first.shown[1:]] == [rows for _, rows in again.shown[1:]]
    assert first.shown[1][1] == 40
    assert again.names["done"].stages[0].result.skipped == "no new file"

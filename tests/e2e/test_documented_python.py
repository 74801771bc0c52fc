"""The Python that pages show runs as it stands, in a workspace that holds what it asks for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier

from mlplatform import FeatureFunction, FeatureLookup, Pipeline, open_use_case, open_workspace, parse_as_of
from tests.support.documents import ALONE, TOLD, CodeBlock, code_blocks

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
BY_CLIENT = ("docs/feature-store.md", "docs/feature-client.md")
"""Pages whose Python is handed a workspace, and frames."""
AFTER_A_RUN = (
    "docs/databricks.md",
    "docs/runbook/README.md",
    "docs/runbook/stuck-approval.md",
    "docs/runbook/rollback-under-pressure.md",
)
"""Pages whose Python opens the workspace by itself, after credit_risk has been run in it."""
LOGS_A_MODEL = ("docs/feature-store.md",)
"""Pages that log a model, which takes MLflow some seconds."""
OTHERWISE = {"docs/runbook/stuck-approval.md": ("set_tags(model, 2,", "set_tags(model, 1,")}
"""What is another number where only one version exists."""


def programs(*pages: str) -> list[Any]:
    """Return the programs of pages, but those that say why they are not run."""
    return [
        pytest.param(block, text, id=block.name, marks=[pytest.mark.slow] if block.page in LOGS_A_MODEL else [])
        for block in code_blocks()
        if block.page in pages and block.kind != "py" and not block.why_not
        for text in block.python
    ]


def days(*numbers: float) -> pa.Array:
    return pa.array([START + dt.timedelta(days=number) for number in numbers], pa.timestamp("us", tz="UTC"))


def ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def customers(ws: Any) -> dict[str, Any]:
    """What docs/feature-store.md takes for granted."""
    ws.functions.register("dev.shop.ratio", ratio, parameters=[("a", "double"), ("b", "double")], returns="double")

    def rows(*numbers: int) -> pa.Table:
        paid = [float(number) for number in numbers]
        columns = {"customer": [f"c{number}" for number in numbers], "known_at": days(*numbers)}
        return pa.table({**columns, "paid": paid, "due": [4.0] * len(paid)})

    keys = {"customer": ["c1", "c2", "c3"], "at": days(9, 9, 9)}
    fitted = DummyClassifier(strategy="prior").fit([[0.0] * 3] * 4, [0, 1, 1, 1])
    return {
        "ws": ws,
        "mlflow": mlflow,
        "FeatureLookup": FeatureLookup,
        "FeatureFunction": FeatureFunction,
        "first_rows": rows(1, 2),
        "more_rows": rows(3),
        "spine": pa.table({**keys, "churned": pa.array([0, 1, 1], pa.int64())}),
        "rows": pa.table(keys),
        "model": fitted,
    }


def loans(ws: Any) -> dict[str, Any]:
    """What docs/feature-client.md takes for granted."""
    ws.fe.create_table(
        name="dev.credit_risk.features_lender",
        primary_keys="lender_id",
        df=pa.table({"lender_id": ["a", "b"], "relative_risk": [0.1, 0.2]}),
    )
    spine = pa.table({"lender_id": ["a", "b"], "amount": [1.0, 2.0], "defaulted": pa.array([0, 1], pa.int64())})
    return {"ws": ws, "spine": spine, "lookups": [FeatureLookup("dev.credit_risk.features_lender", "lender_id")]}


PREPARED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "docs/feature-store.md": customers,
    "docs/feature-client.md": loans,
}


def test_every_program_has_its_place() -> None:
    shown = {block.page for block in code_blocks() if block.python and not block.why_not}
    assert shown == {*ALONE, *BY_CLIENT, *AFTER_A_RUN, *(page for page in TOLD if page in shown)}
    assert set(PREPARED) == set(BY_CLIENT)


@pytest.mark.parametrize(("block", "text"), programs(*BY_CLIENT))
def test_python_that_is_handed_a_workspace_runs(ws: Any, block: CodeBlock, text: str) -> None:
    names = PREPARED[block.page](ws)
    exec(compile(text, block.name, "exec"), names)
    assert names["training_set"].to_pandas().shape[0] == names["spine"].num_rows
    if "scored" in names:
        assert names["scored"].count() == names["rows"].num_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which credit_risk has a champion and predictions."""
    root = tmp_path_factory.mktemp("home")
    with open_workspace("local", root=root) as ws:
        Pipeline(ws, open_use_case(ws, "credit_risk"), parse_as_of("2006-01-01")).run()
    return root


@pytest.fixture
def settled(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home as the one that a reader's settings name."""
    monkeypatch.setenv("MLPLATFORM_HOME", str(home))
    return home


@pytest.mark.slow
@pytest.mark.parametrize(("block", "text"), programs(*AFTER_A_RUN))
def test_python_that_opens_the_workspace_runs_after_a_run(settled: Path, block: CodeBlock, text: str) -> None:
    old, new = OTHERWISE.get(block.page, ("", ""))
    assert old in text
    names: dict[str, Any] = {"spark": None, "__name__": "__page__"}
    exec(compile(text.replace(old, new), block.name, "exec"), names)
    assert names["ws"].where
    names["ws"].close()

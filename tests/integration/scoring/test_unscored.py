"""Rows that the model cannot predict: set aside with a reason, the others scored; a broken model fails the stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import FeatureStoreError, StageError
from mlplatform.naming import CHALLENGER
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.pipeline import Pipeline
from mlplatform.scoring.unscored import MOST_ASKED
from mlplatform.workspace.local.workspace import LocalWorkspace
from mlplatform.workspace.shared import model_store
from tests.support.tiny_gate import MODEL, NAMESPACE
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

PREDICTIONS, UNSCORED = "dev.tiny.gold_predictions", "dev.tiny.gold_unscored"
FIRST, SECOND, THIRD = "2020-08-01", "2020-09-01", "2020-10-01"
BEFORE = "2020-07-31"  # the first rows that are due at SECOND
COMPUTE = ["ingest", "refine", "features"]


@dataclass
class Spoilt:
    """What a model does to some rows, told by their prices; and how often it is asked.

    Attributes:
        fails: It raises where one of them is in the batch.
        nan: It gives NaN for them.
        broken: It raises always.
        calls: How often it was asked.
    """

    fails: Sequence[float] = ()
    nan: Collection[float] = ()
    broken: bool = False
    calls: int = 0
    loaded: list[Any] = field(default_factory=list)

    def around(self, model: Any) -> Any:
        spoilt = self

        class Model:
            def predict(self, rows: pd.DataFrame, params: Any = None) -> Any:
                spoilt.calls += 1
                if spoilt.broken or rows["price"].isin(spoilt.fails).any():
                    raise ValueError("cannot do the price")
                values = np.array(model.predict(rows), dtype=float)
                values[rows["price"].isin(spoilt.nan).to_numpy()] = math.nan
                return values

        return Model()


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Spoilt:
    """Let every model that is loaded do so."""
    spoilt, load = Spoilt(), model_store.load_model
    monkeypatch.setattr(model_store, "load_model", lambda artifact: spoilt.around(load(artifact)))
    return spoilt


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), rows_a_month=300, gate={"margin": 0.3})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A champion who scored in August; September's rows are refined, and due."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST, [*COMPUTE, "train", "gate", "score"])
        run_tiny(ws, tiny.folder, SECOND, COMPUTE)
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


def due(ws: LocalWorkspace, as_of: str = SECOND) -> pa.Table:
    """Return the month's rows that are due, by price."""
    spine = ws.tables.to_arrow("dev.tiny.gold_spine", at_most=10**5)
    time, until = spine.column("signed_up_at"), pa.scalar(parse_as_of(as_of), pa.timestamp("us", "UTC"))
    since = pa.scalar(parse_as_of(FIRST if as_of == SECOND else SECOND), pa.timestamp("us", "UTC"))
    # A month's file comes when it is over, with the rows of its first day.
    return spine.filter(pc.and_(pc.greater_equal(time, since), pc.less(time, until)))


def prices(ws: LocalWorkspace, count: int, as_of: str = SECOND) -> tuple[list[float], list[str]]:
    """Return prices that few rows have, and whose rows they are."""
    rows = due(ws, as_of)
    counts = {item["values"]: item["counts"] for item in pc.value_counts(rows.column("price")).to_pylist()}
    chosen = sorted((price for price in counts if price is not None), key=lambda price: (counts[price], price))[:count]
    accounts = rows.filter(pc.is_in(rows.column("price"), value_set=pa.array(chosen))).column("account").to_pylist()
    return chosen, sorted(accounts)


def score(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = SECOND, **arguments: Any) -> Any:
    """Score, and return the stage's run."""
    pipeline = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(as_of))
    return next(run for run in pipeline.run(["score"], **arguments).stages if run.stage == "score")


def table(ws: LocalWorkspace, name: str, as_of: str = SECOND, alias: str = "champion") -> pa.Table:
    if not ws.tables.exists(name):
        return pa.table({"account": pa.array([], pa.string())})
    filters = [("as_of", "=", parse_as_of(as_of)), ("alias", "=", alias)]
    return ws.tables.to_arrow(name, at_most=10**5, filters=filters)


def accounts(ws: LocalWorkspace, name: str, as_of: str = SECOND, alias: str = "champion") -> list[str]:
    return sorted(table(ws, name, as_of, alias).column("account").to_pylist())


@pytest.mark.parametrize("kind", ["fails", "nan"])
def test_rows_that_cannot_be_predicted_are_set_aside_and_the_others_scored(
    ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt, kind: str
) -> None:
    bad, whose = prices(ws, 3)
    setattr(spoilt, kind, bad)
    run = score(ws, tiny)
    everyone = sorted(due(ws).column("account").to_pylist())
    assert accounts(ws, UNSCORED) == whose
    assert accounts(ws, PREDICTIONS) == [account for account in everyone if account not in whose]
    assert np.isfinite(table(ws, PREDICTIONS).column("prediction").to_numpy()).all()
    says = "cannot do the price" if kind == "fails" else "no finite number: nan"
    reasons = table(ws, UNSCORED).column("reason").to_pylist()
    assert all(says in reason for reason in reasons[:MOST_ASKED])
    result = run.result
    assert (result.rows_in, result.rows_out, result.rows_quarantined) == (
        len(everyone),
        len(everyone) - len(whose),
        len(whose),
    )
    assert run.details.unscored == len(whose)
    (note,) = [note for note in run.details.notes if "have no prediction" in note]
    assert note.startswith(f"{len(whose)} of {len(everyone)} row(s)")
    assert says in note
    recorded = STAGE_RUNS.read(ws, NAMESPACE)[-1]
    assert recorded.rows_quarantined == len(whose)
    assert recorded.details["unscored"] == len(whose)


def test_where_all_can_be_predicted_nothing_of_it_is_there(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    run = score(ws, tiny)
    assert not ws.tables.exists(UNSCORED)
    assert run.result.rows_quarantined is None
    assert "unscored" not in run.details.to_json()
    assert run.details.notes == []


def test_a_broken_model_fails_the_stage_with_its_own_error_in_few_calls(
    ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt
) -> None:
    spoilt.broken = True
    with pytest.raises(FeatureStoreError, match="cannot do the price"):
        score(ws, tiny)
    assert spoilt.calls <= 10
    assert accounts(ws, PREDICTIONS) == accounts(ws, UNSCORED) == []


@pytest.mark.parametrize("kind", ["fails", "nan"])
def test_more_than_a_few_rows_fail_the_stage_and_nothing_is_written(
    ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt, kind: str
) -> None:
    bad, _ = prices(ws, 60)
    setattr(spoilt, kind, bad)
    with pytest.raises((StageError, FeatureStoreError), match=r"cannot (do|predict)") as failed:
        score(ws, tiny)
    assert failed.value.hint
    assert accounts(ws, PREDICTIONS) == accounts(ws, UNSCORED) == []
    setattr(spoilt, kind, ())
    assert score(ws, tiny).result.rows_out == due(ws).num_rows


def test_again_at_the_same_time_changes_nothing(ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt) -> None:
    spoilt.fails, whose = prices(ws, 2)
    score(ws, tiny)
    before = accounts(ws, PREDICTIONS)
    score(ws, tiny)
    assert accounts(ws, PREDICTIONS) == before
    assert accounts(ws, UNSCORED) == whose


@pytest.mark.parametrize("name", [UNSCORED, PREDICTIONS])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_a_commit_the_next_run_has_each_row_once(
    ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    spoilt.fails, whose = prices(ws, 2)
    append: Callable[..., Any] = ws.tables.append

    def killed(table: Any, rows: Any, **arguments: Any) -> Any:
        done = append(table, rows, **arguments) if after or str(table) != name else None
        if str(table) == name:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patched:
        patched.setattr(ws.tables, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            score(ws, tiny)
    score(ws, tiny)
    everyone = due(ws).column("account").to_pylist()
    assert accounts(ws, UNSCORED) == whose
    assert accounts(ws, PREDICTIONS) == sorted(account for account in everyone if account not in whose)


def test_they_are_asked_again_only_when_somebody_looks_at_their_times(
    ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt
) -> None:
    spoilt.fails, whose = prices(ws, 2)
    score(ws, tiny)
    run_tiny(ws, tiny.folder, THIRD, COMPUTE)
    spoilt.fails = ()
    assert score(ws, tiny, THIRD).result.rows_out == due(ws, THIRD).num_rows
    assert not set(whose) & set(accounts(ws, PREDICTIONS, THIRD))
    score(ws, tiny, THIRD, since=parse_as_of(BEFORE))
    assert set(whose) <= set(accounts(ws, PREDICTIONS, THIRD))


def test_rows_that_still_fail_keep_nobody_from_scoring(ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt) -> None:
    """However many of the rows they are that a scoring looks at."""
    spoilt.fails, whose = prices(ws, 2)
    score(ws, tiny)
    recorded = table(ws, UNSCORED)
    run = score(ws, tiny, SECOND, since=parse_as_of(BEFORE))
    assert (run.result.rows_out, run.details.unscored) == (0, len(whose))
    assert table(ws, UNSCORED).equals(recorded)
    spoilt.fails = spoilt.fails[:1]  # and with every one that is mended, one less does
    assert score(ws, tiny, SECOND, since=parse_as_of(BEFORE)).result.rows_out > 0
    spoilt.fails = ()
    score(ws, tiny, SECOND, since=parse_as_of(BEFORE))
    assert accounts(ws, PREDICTIONS) == sorted(due(ws).column("account").to_pylist())


def test_the_challenger_in_the_shadow_has_its_own(ws: LocalWorkspace, tiny: TinyFolder, spoilt: Spoilt) -> None:
    run_tiny(ws, tiny.folder, SECOND, ["train"])
    assert CHALLENGER in ws.registry.aliases(MODEL)
    spoilt.fails, whose = prices(ws, 2)
    shadow = score(ws, tiny).details.shadow
    assert shadow.unscored == len(whose)
    assert shadow.rows == due(ws).num_rows - len(whose)
    assert accounts(ws, UNSCORED, alias="challenger") == whose == accounts(ws, UNSCORED)

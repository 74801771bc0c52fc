"""One logged model, scored by both: the same columns, features and predictions."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.parity import ours
from tests.parity.deviations import as_ours
from tests.parity.scoring_scenarios import scoring_scenario
from tests.support.cases import Case, load_cases
from tests.support.compare import Answer, assert_same
from tests.support.renaming import in_schema

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from mlplatform.protocols.workspace import Workspace
    from tests.parity.judge import Judge
    from tests.parity.models import OtherModel

_CASES = {case.name: case for case in load_cases() if case.mode == "score_batch"}
_ANSWERED = [case for case in _CASES.values() if case.expect.answer]
_REFUSED = [case for case in _CASES.values() if case.expect.error_class]
_TOLERANCE = 1e-9
# A tenth of the training sets: a scored model takes several times as long.
_SEEDS = range(int(os.environ.get("MLPLATFORM_PARITY_SCENARIOS", "70")) // 10)


@pytest.mark.parametrize("case", _ANSWERED, ids=lambda case: case.name)
def test_a_golden_case_is_scored_as_recorded(ws: Workspace, tmp_path: Path, case: Case) -> None:
    outcome = ours.run(ws, in_schema(case, f"golden_{case.name}"), tmp_path)

    assert outcome.failure is None, outcome.failure
    assert outcome.table is not None
    assert case.expect.answer is not None
    assert_same(outcome.table, case.expect.answer, any_column_order=case.expect.any_column_order)
    assert outcome.model_columns == case.expect.model_columns


@pytest.mark.parametrize("case", _REFUSED, ids=lambda case: case.name)
def test_a_golden_case_is_refused_at_the_same_step(ws: Workspace, tmp_path: Path, case: Case) -> None:
    outcome = ours.run(ws, in_schema(case, f"golden_{case.name}"), tmp_path)

    assert outcome.failure is not None, outcome.table
    assert outcome.failure.step == "score_batch"
    assert outcome.failure.is_value_error


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_random_model_is_scored_as_by_the_judge(judge: Judge, ws: Workspace, tmp_path: Path, seed: int) -> None:
    case = in_schema(scoring_scenario(seed), f"scoring{seed}")

    judged, mine = judge.answer(case), ours.run(ws, case, tmp_path)

    assert (mine.failure is None) == (judged.failure is None), f"ours: {mine.failure}\njudge: {judged.failure}"
    if mine.failure is not None:
        assert judged.failure is not None
        assert (mine.failure.step, mine.failure.is_value_error) == (judged.failure.step, True), (mine, judged)
        return
    assert mine.table is not None
    assert judged.table is not None
    assert_same(mine.table, as_ours(judged.table, case))
    assert mine.model_columns == judged.model_columns


def test_an_sklearn_model_predicts_the_same(judge: Judge, ws: Workspace, tmp_path: Path) -> None:
    case = _numeric(_CASES["score_batch_columns_and_values"])
    training = in_schema(case, "sklearn_fit")
    ours.prepare(ws, training)
    model = _fitted(ours.build(ws, training, training.training_spine).to_arrow())

    answer = judge.ask(case, model)
    mine = ours.run(ws, in_schema(case, "sklearn_score"), tmp_path, model)
    judged = answer()

    assert mine.failure is None, mine.failure
    assert judged.failure is None, judged.failure
    assert mine.table is not None
    assert judged.table is not None
    assert_same(mine.table.drop_columns(["prediction"]), judged.table.drop_columns(["prediction"]))
    pairs = list(zip(_predictions(mine.table), _predictions(judged.table), strict=True))
    assert pairs
    assert len({ours for ours, _ in pairs}) > 1, "a constant model would prove nothing"
    assert all(math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for ours, theirs in pairs), pairs


def _numeric(case: Case) -> Case:
    """Leave the columns out that scikit-learn cannot use."""
    return replace(case, name="sklearn", exclude_columns=(*case.exclude_columns, "extra"))


def _fitted(frame: pa.Table) -> OtherModel:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    from tests.parity.models import OtherModel

    data = frame.to_pandas()
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(data.drop(columns="y"), data["y"])
    # MLflow stores scikit-learn models with skops, which does not trust the imputer's dtype unless told to.
    return OtherModel(model, "mlflow.sklearn", {"skops_trusted_types": ["numpy.dtype"]})


def _predictions(table: pa.Table) -> list[float]:
    """Return the predictions in the order of the rows' canonical form, which both sides share."""
    answer = Answer.of(table)
    assert answer.columns[-1][0] == "prediction"
    return [row[-1] for row in answer.rows]

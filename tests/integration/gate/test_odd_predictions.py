"""Predictions that are no numbers, or no probabilities: training registers the version, and the gate refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.gate import decision_log
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.stage_runs import as_run
from mlplatform.pipeline import Pipeline
from mlplatform.training.stage import TrainDetails
from tests.support.odd_models import TRUSTED, Odd
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE, SECOND
from tests.support.tiny_use_case import Tiny, TinyTrainer

ODD: dict[str, dict[str, float]] = {"no numbers": {"lost_above": 0.8}, "no probabilities": {"factor": 1.6}}


def with_odd(params: Mapping[str, float]) -> type[Tiny]:
    class OddTrainer(TinyTrainer):
        trusted_types = TRUSTED
        default_params: ClassVar[Mapping[str, Any]] = params

        def estimator(self, given: Mapping[str, Any]) -> Any:
            from sklearn.compose import ColumnTransformer
            from sklearn.impute import SimpleImputer
            from sklearn.pipeline import Pipeline as Steps
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            numbers = make_pipeline(SimpleImputer(), StandardScaler())
            return Steps(
                [("columns", ColumnTransformer([("n", numbers, ["price", "seats"])])), ("model", Odd(**given))]
            )

        def search_space(self) -> dict[str, Any]:
            return {}

    class OddTiny(Tiny):
        trainer = OddTrainer

    return OddTiny


@pytest.mark.parametrize("kind", ODD)
def test_they_reach_the_gate_as_a_failed_check(gate_at, wide, kind):
    ws = gate_at("challenged")
    before = ws.registry.aliases(MODEL)
    use_case = with_odd(ODD[kind]).open("tiny", wide.folder, ws)
    summary = Pipeline(ws, use_case, parse_as_of(SECOND)).run(["train", "gate"])
    assert ws.registry.aliases(MODEL) == {CHAMPION: before[CHAMPION], CHALLENGER: 3}
    decision = decision_log.events(ws, NAMESPACE)[-1]
    last = decision.checks[-1]
    assert (decision.challenger_version, decision.outcome, decision.spending) == (3, "rejected", {})
    assert "error" not in decision.evaluation
    trained = as_run(STAGE_RUNS.newest(ws, NAMESPACE, 1, [("stage", "=", "train")])[0], TrainDetails).details
    metrics = ws.registry.run(ws.registry.get(MODEL, 3)).metrics
    if kind == "no numbers":
        assert (last["name"], last["status"]) == ("finite_predictions", "fail")
        assert "of challenger" in decision.reason
        assert trained.not_finite.startswith("Pipeline predicts NaN or infinity for ")
        assert trained.metrics["roc_auc"] is None
        assert metrics["holdout_not_finite"] > 0
        assert "holdout_roc_auc" not in metrics
        assert any("no metrics, and the gate refuses it" in note for note in summary.notes())
    else:
        assert (last["name"], last["status"]) == ("probabilities", "fail")
        assert "predictions lie outside of 0 to 1" in decision.reason
        assert trained.not_finite == ""
        assert "holdout_not_finite" not in metrics


# Beside a champion the same check refuses them in every run.
@pytest.mark.slow
def test_the_first_champion_is_not_made_of_them_either(gate_at, wide):
    ws = gate_at("trained")
    ws.registry.delete_alias(MODEL, CHALLENGER)
    use_case = with_odd(ODD["no numbers"]).open("tiny", wide.folder, ws)
    Pipeline(ws, use_case, parse_as_of(FIRST)).run(["train", "gate"])
    assert ws.registry.aliases(MODEL) == {CHALLENGER: 2}
    assert [row.outcome for row in decision_log.events(ws, NAMESPACE)] == ["rejected"]

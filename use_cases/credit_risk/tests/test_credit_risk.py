"""The credit-risk use case on its real data: what is known when, and how good the model honestly is.

Slow: loans of seven years are refined, and models are trained on tens of thousands of rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.naming import CHAMPION
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.statistics.metrics import roc_auc
from mlplatform.training.candidate import training_data
from mlplatform.training.fitting import predict
from mlplatform.training.label_frame import LabelFrame, known_labels

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace) -> UseCase:
    return discovery.open_use_case(ws, "credit_risk", Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def first(ws: LocalWorkspace, use_case: UseCase) -> RunSummary:
    """The whole pipeline as of 2006-01-01, in an empty workspace."""
    return Pipeline(ws, use_case, parse_as_of("2006-01-01")).run()


@pytest.fixture(scope="module")
def grown(ws: LocalWorkspace, use_case: UseCase, first: RunSummary) -> LocalWorkspace:
    """The same workspace with all that became known until 2010, and the champion of 2006."""
    Pipeline(ws, use_case, parse_as_of("2010-01-01")).run(["ingest", "refine", "features"])
    return ws


def labels(ws: LocalWorkspace, use_case: UseCase, as_of: str, after: str, until: str) -> LabelFrame:
    return known_labels(
        ws,
        use_case.namespace,
        use_case.label_spine(),
        parse_as_of(as_of),
        after=parse_as_of(f"{after}T00:00:00") if after else None,
        until=parse_as_of(until),
    )


def test_only_loans_whose_horizon_is_over_train(ws: LocalWorkspace, use_case: UseCase, first: RunSummary) -> None:
    (train,) = [stage for stage in first.stages if stage.stage == "train"]
    assert train.result.rows_in == 8285
    frame = known_labels(ws, use_case.namespace, use_case.label_spine(), parse_as_of("2006-01-01"))
    assert (frame.rows.num_rows, int(np.sum(frame.rows["charged_off"].to_numpy()))) == (8285, 103)
    latest = pc.max(frame.rows["approved_at"]).as_py()
    assert latest <= parse_as_of("2003-01-01")


def test_the_first_model_becomes_champion_and_scores_the_last_quarter(
    ws: LocalWorkspace, use_case: UseCase, first: RunSummary
) -> None:
    assert {stage.stage: stage.status for stage in first.stages}.items() >= {
        "ingest": "done",
        "refine": "done",
        "features": "done",
        "train": "done",
        "gate": "done",
        "score": "done",
    }.items()
    assert first.details("gate")["outcome"] == "promoted"
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 1}
    scored = ws.tables.to_arrow(use_case.namespace.gold("predictions"), at_most=10**6)
    assert pc.min(scored["approved_at"]).as_py() > parse_as_of("2005-10-01")
    assert pc.max(scored["approved_at"]).as_py() <= parse_as_of("2006-01-01")


def test_the_champion_of_2006_ranks_the_loans_approved_in_2006(grown: LocalWorkspace, use_case: UseCase) -> None:
    """The honest clock: a model frozen at the beginning of the year, on the year's loans, by labels known later."""
    frame = labels(grown, use_case, "2010-01-01", "2005-12-31", "2006-12-31")
    rows = frame.rows.drop_columns(["charged_off"])
    uri = f"models:/{use_case.model}@{CHAMPION}"
    scored = grown.fe.score_batch_arrow(model_uri=uri, df=rows, result_type="double")
    predictions, truth = (
        rows.sort_by([("approved_at", "ascending"), ("loan_id", "ascending")]) for rows in (scored, frame.rows)
    )
    assert predictions["loan_id"].equals(truth["loan_id"])
    assert truth.num_rows > 10_000
    assert roc_auc(truth["charged_off"].to_numpy(), predictions["prediction"].to_numpy()) >= 0.61


def test_a_backtest_ranks_well_and_not_too_well(grown: LocalWorkspace, use_case: UseCase) -> None:
    """Approvals until 2004 train, by what was known in 2009; those of 2005 and 2006 test. Far above 0.75 is a leak."""
    trainer, spine, settings = use_case.model_trainer(), use_case.label_spine(), use_case.settings
    older = labels(grown, use_case, "2009-01-01", "", "2004-12-31")
    newer = labels(grown, use_case, "2010-01-01", "2004-12-31", "2006-12-31")
    train, test = (training_data(grown, trainer, spine, frame, settings) for frame in (older, newer))
    assert train.times.max() < test.times.min()
    model = trainer.estimator(trainer.default_params).fit(train.inputs, train.labels)
    reached = roc_auc(test.labels, predict(model, test.inputs, "classification"))
    assert 0.675 <= reached < 0.75

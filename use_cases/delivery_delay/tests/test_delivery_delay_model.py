"""How good the delivery-delay model honestly is: trained on January to June, tested on July.

Slow: half a year of flights is refined and looked up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.pipeline import Pipeline
from mlplatform.statistics.metrics import mae, roc_auc
from mlplatform.training.candidate import training_data
from mlplatform.training.fitting import predict
from mlplatform.training.label_frame import known_labels
from mlplatform.workspace.local.workspace import LocalWorkspace

pytestmark = pytest.mark.slow

LATE = 15  # minutes
JULY, AUGUST, LABELS_IN = "2013-07-01T04:00", "2013-08-01T04:00", "2013-08-03"  # New York's midnights


def test_july_is_predicted_better_than_by_route_and_not_too_well(ws: LocalWorkspace) -> None:
    use_case = discovery.open_use_case(ws, "delivery_delay", Path(__file__).resolve().parents[2])
    Pipeline(ws, use_case, parse_as_of(LABELS_IN)).run(["ingest", "refine", "features"])
    trainer, spine, settings = use_case.model_trainer(), use_case.label_spine(), use_case.settings
    older = known_labels(ws, use_case.namespace, spine, parse_as_of(JULY))
    newer = known_labels(
        ws, use_case.namespace, spine, parse_as_of(LABELS_IN), after=parse_as_of(JULY), until=parse_as_of(AUGUST)
    )
    # Legs of the last hours before midnight were predicted before it; the data's README counts 28,293 in July.
    assert 28_000 < newer.rows.num_rows < 28_400
    train, test = (training_data(ws, trainer, spine, frame, settings) for frame in (older, newer))
    model = trainer.estimator(trainer.default_params).fit(train.inputs, train.labels)
    predicted = predict(model, test.inputs, "regression")

    routes = pd.Series(train.labels).groupby(older.rows["route"].to_numpy()).median()
    medians = newer.rows["route"].to_pandas().map(routes).fillna(np.median(train.labels))
    by_route = np.asarray(medians, dtype=np.float64)
    ours, baseline = mae(test.labels, predicted), mae(test.labels, by_route)
    ranks = roc_auc((test.labels > LATE).astype(float), predicted)
    print(f"MAE {ours:.2f} minutes, by route {baseline:.2f} ({ours / baseline:.4f}); AUC of late legs {ranks:.4f}")
    assert ours <= 0.95 * baseline
    assert 0.74 <= ranks <= 0.82

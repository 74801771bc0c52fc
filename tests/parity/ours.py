"""Our feature client, asked in the same way as the judge."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tests.parity.outcome import Outcome, StepFailed, step

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from mlplatform.protocols.feature_client import TrainingSet
    from mlplatform.protocols.workspace import Workspace
    from tests.parity.models import OtherModel
    from tests.support.cases import Case


def run(ws: Workspace, case: Case, scratch: Path, other: OtherModel | None = None) -> Outcome:
    """Answer one case in an open workspace, which keeps the case's tables afterwards.

    Args:
        ws: The workspace. No other case may have used the same table names.
        case: What to build, and to score in mode `score_batch`.
        scratch: A folder for the model's note of its columns.
        other: A model to log instead of the case's own.
    """
    try:
        prepare(ws, case)
        if case.mode == "training_set":
            training_set = build(ws, case, case.spine)
            with step("load_df"):
                return Outcome(table=training_set.to_arrow())
        return _score(ws, case, scratch, other)
    except StepFailed as failed:
        return Outcome(failure=failed.failure)


def prepare(ws: Workspace, case: Case) -> None:
    """Create the case's tables and register its functions."""
    with step("create_table"):
        for table in case.tables:
            ws.fe.create_table(
                name=table.name,
                primary_keys=table.all_keys,
                timeseries_column=table.timeseries_column,
                df=table.data,
            )
    with step("declare"):
        for function in case.functions:
            ws.functions.register(
                function.name, function.build(), parameters=list(function.parameters), returns=function.returns
            )


def build(ws: Workspace, case: Case, spine: pa.Table | None) -> TrainingSet:
    """Create the case's training set over a spine."""
    from mlplatform import FeatureFunction, FeatureLookup

    with step("declare"):
        features: list[Any] = [FeatureLookup(**lookup.arguments()) for lookup in case.lookups]
        features += [FeatureFunction(**binding.arguments()) for binding in case.bindings]
    with step("create_training_set"):
        return ws.fe.create_training_set(
            df=spine, feature_lookups=features, label=case.label, exclude_columns=list(case.exclude_columns)
        )


def _score(ws: Workspace, case: Case, scratch: Path, other: OtherModel | None) -> Outcome:
    from tests.parity.models import case_model, columns_noted

    training_set = build(ws, case, case.training_spine)
    name, columns_file = f"ml.models.{case.name}", scratch / f"columns_{case.name}.json"
    chosen = other or case_model(case, columns_file)
    with step("log_model"):
        ws.fe.log_model(
            model=chosen.model,
            artifact_path="model",
            flavor=importlib.import_module(chosen.flavor),
            training_set=training_set,
            registered_model_name=name,
            **chosen.arguments,
        )
    with step("score_batch"):
        scored = ws.fe.score_batch_arrow(model_uri=f"models:/{name}/1", df=case.spine, result_type="double")
    return Outcome(table=scored, model_columns=columns_noted(columns_file))

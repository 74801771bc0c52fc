"""Golden cases put to the Databricks workspace; these functions run beside it, in its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.parity.outcome import Failure, Outcome, Step
from tests.support.ask_ws import Asked, columns_noted, set_up

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.support.cases import Case


def answer(ws: DatabricksWorkspace, case: Case, scratch: Path) -> Outcome:
    """Answer a case: its training set, or its scored frame."""
    step: Step = "create_table"
    try:
        asked = set_up(ws, case)  # type: ignore[arg-type] - it takes any workspace
        if case.mode == "training_set":
            step = "create_training_set"
            training_set = asked.training_set(case.spine)
            step = "load_df"
            return Outcome(table=training_set.to_arrow())
        step = "log_model"
        return _scored(ws, asked, scratch)
    except ValueError as error:
        if type(error).__module__ != "mlplatform.errors":
            raise
        return Outcome(failure=Failure(step, type(error).__name__, str(error), is_value_error=True))


def _scored(ws: DatabricksWorkspace, asked: Asked, scratch: Path) -> Outcome:
    uri, noted = asked.log_model(scratch)
    table = ws.fe.score_batch_arrow(model_uri=uri, df=asked.case.spine)
    return Outcome(table=table, model_columns=columns_noted(noted))

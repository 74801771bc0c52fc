"""What a notebook of the cycle begins with: its widgets, the workspace, the use case, and a pipeline at one time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mlplatform.as_of import parse_as_of, plausible
from mlplatform.discovery import open_use_case
from mlplatform.naming import Namespace
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.workspace import Workspace
from mlplatform.use_case import UseCase
from mlplatform.workspace import open_workspace

WIDGETS: Mapping[str, str] = {"use_case": "credit_risk", "env": "dev", "catalog": "", "prefix": "", "as_of": ""}
"""The widgets of a notebook, with their defaults.

`catalog` is needed where it is not as config.yml says, `prefix` where a bundle's development mode puts one before
schemas and models (`dev_jo_`). `as_of` is the time up to which things are known, as in `2006-01-01`; empty: now.
"""


@dataclass(frozen=True)
class Cycle:
    """A use case in a workspace at one time, as the notebooks use it.

    Attributes:
        ws: The workspace, with the notebook's own Spark session; it is not to be closed.
        use_case: The use case.
        as_of: Nothing known later is looked at.
        pipeline: Runs the stages.
    """

    ws: Workspace
    use_case: UseCase
    as_of: datetime
    pipeline: Pipeline

    @property
    def names(self) -> Namespace:
        """The names of the use case's tables and model."""
        return self.use_case.namespace

    def run(self, *stages: str) -> RunSummary:
        """Run stages, in order; run again for the same time, they change nothing.

        Raises:
            PlatformError: What a stage raises.
        """
        return self.pipeline.run(list(stages))


def open_cycle(spark: Any, dbutils: Any) -> Cycle:
    """Show the widgets, and open what they name.

    A notebook cannot see its own `spark` and `dbutils` from a library, so that it hands them over.

    Args:
        spark: The notebook's session; it is used, and never stopped.
        dbutils: The notebook's utilities, for the widgets.

    Raises:
        UsageError: If a widget holds something that does not exist: a use case, an environment, a time.
    """
    for name, default in WIDGETS.items():
        dbutils.widgets.text(name, default)
    answers = {name: dbutils.widgets.get(name).strip() for name in WIDGETS}
    now = datetime.now(UTC)
    as_of = plausible(parse_as_of(answers["as_of"]), what="as_of", now=now) if answers["as_of"] else now
    ws = open_workspace(env=answers["env"], catalog=answers["catalog"], prefix=answers["prefix"], spark=spark)
    use_case = open_use_case(ws, answers["use_case"])
    return Cycle(ws, use_case, as_of, Pipeline(ws, use_case, as_of))


def stages_table(summary: RunSummary) -> pd.DataFrame:
    """Return what each stage of a run did: one row per stage, without its details."""
    return pd.DataFrame(summary.to_dict()["stages"]).drop(columns="details")

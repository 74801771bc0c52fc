"""Puts a case to a workspace of ours: its tables, functions, training set and model, and the answer it gives."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import pyarrow as pa

from mlplatform import FeatureFunction, FeatureLookup
from tests.parity.models import LinearPyfunc, columns_noted

if TYPE_CHECKING:
    from mlplatform.workspace.local.training_set import LocalTrainingSet
    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.cases import Case

_SCHEMAS = itertools.count()


@dataclass(frozen=True)
class Asked:
    """A case with its names moved into a schema of its own, so that cases do not meet."""

    ws: LocalWorkspace
    case: Case
    schema: str

    def name(self, name: str) -> str:
        """Return a case's name as it is called here."""
        return f"dev.{self.schema}.{name.rpartition('.')[2]}"

    def training_set(self, spine: pa.Table) -> LocalTrainingSet:
        """Make the training set of a spine."""
        features: list[Any] = [
            FeatureLookup(**lookup.arguments() | {"table_name": self.name(lookup.table_name)})
            for lookup in self.case.lookups
        ]
        features += [
            FeatureFunction(**binding.arguments() | {"udf_name": self.name(binding.udf_name)})
            for binding in self.case.bindings
        ]
        return self.ws.fe.create_training_set(
            df=spine,
            feature_lookups=features,
            label=self.case.label,
            exclude_columns=list(self.case.exclude_columns),
        )

    def log_model(self, folder: Path) -> tuple[str, Path]:
        """Log the case's model; return its URI and the file in which it notes the columns it is given."""
        assert self.case.model is not None
        assert self.case.training_spine is not None
        noted = folder / f"{self.schema}.json"
        info = self.ws.fe.log_model(
            model=LinearPyfunc(self.case.model, noted),
            artifact_path="model",
            flavor=mlflow.pyfunc,
            training_set=self.training_set(self.case.training_spine),
            registered_model_name=self.name("model"),
        )
        return f"models:/{self.name('model')}/{info.registered_model_version}", noted


def set_up(ws: LocalWorkspace, case: Case) -> Asked:
    """Make a case's tables and functions in a schema of their own."""
    asked = Asked(ws, case, f"case_{next(_SCHEMAS)}")
    for table in case.tables:
        ws.fe.create_table(
            name=asked.name(table.name),
            primary_keys=table.all_keys,
            df=table.data,
            timeseries_column=table.timeseries_column,
        )
    for function in case.functions:
        ws.functions.register(
            asked.name(function.name), function.build(), parameters=function.parameters, returns=function.returns
        )
    return asked


def without_null_keys(case: Case) -> Case:
    """Return the case with the rows of its tables that hold a null key left out: no table of ours can hold them."""
    tables = []
    for table in case.tables:
        keep = pa.array(
            [None not in row for row in zip(*(table.data.column(k).to_pylist() for k in table.all_keys), strict=True)]
        )
        tables.append(replace(table, data=table.data.filter(keep)))
    return replace(case, tables=tuple(tables))


__all__ = ["Asked", "columns_noted", "set_up", "without_null_keys"]

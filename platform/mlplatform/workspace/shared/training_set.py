"""What a training set is in any home: its spec, its labels, and which versions of its tables were read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import model_frame
from mlplatform.features.training_set import LookupPlan
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import RULE, Lineage, TableVersion
from mlplatform.types import spark_type

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import FrameLike

T = TypeVar("T", bound="SpineWithFeatures")


@dataclass(frozen=True)
class Declaration:
    """What a training set is declared as, checked against its spine, tables and functions.

    Attributes:
        features: Lookups and functions, in order.
        labels: The label columns.
        exclude_columns: Columns that are left out.
        spec: The feature spec that follows, without types.
        plan: How it is computed on the spine.
        functions: The registered functions, by name.
        extra_pip_requirements: What a named feature spec asks to go into the models trained on it.
        use_timeseries_filtering: Passed on to the real client.
        rows: Rows of the spine, where it came in memory; None: not counted.
    """

    features: Sequence[FeatureLookup | FeatureFunction]
    labels: Sequence[str]
    exclude_columns: Sequence[str]
    spec: FeatureSpec
    plan: LookupPlan
    functions: Mapping[str, FunctionInfo]
    extra_pip_requirements: tuple[str, ...] = ()
    use_timeseries_filtering: bool = False
    rows: int | None = None


class SpineWithFeatures(ABC):
    """A training set; see `mlplatform.protocols.feature_client.TrainingSet`. Homes say how its rows are computed."""

    def __init__(self, declaration: Declaration, spine: pa.Schema, recorded: Mapping[str, TableVersion]) -> None:
        """Record the tables' versions; use `ws.fe.create_training_set` instead.

        Args:
            declaration: What was declared.
            spine: The spine's columns, in normal types.
            recorded: The tables that are read, as they are now.
        """
        self._declaration = declaration
        self._spine = spine
        self._labels = tuple(declaration.labels)
        types = {field.name: spark_type(field.type) for field in declaration.plan.schema}
        self._spec = declaration.spec.with_types(types)
        self._recorded = dict(recorded)
        self._loaded = dict(recorded)

    @property
    def feature_spec(self) -> FeatureSpec:
        """What travels with the model: columns, sources, keys, functions."""
        return self._spec

    @property
    def extra_pip_requirements(self) -> tuple[str, ...]:
        """What a named feature spec asks to go into the models trained on it."""
        return self._declaration.extra_pip_requirements

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns."""
        return self._labels

    @property
    def label_types(self) -> dict[str, str]:
        """Spark type by label."""
        return {name: spark_type(self._spine.field(name).type) for name in self._labels}

    @property
    def recorded_versions(self) -> dict[str, int]:
        """The Delta version of each table when the training set was made."""
        return {name: table.version for name, table in sorted(self._recorded.items())}

    @property
    def lineage(self) -> Lineage:
        """The tables, at the versions that were loaded last (or else recorded), and the functions."""
        return Lineage(
            tables=tuple(table for _, table in sorted(self._loaded.items())),
            functions=self._spec.functions,
            columns=tuple(self._spec.included),
            labels=self._labels,
            frame_rule=RULE,
            rows=self._declaration.rows,
        )

    @abstractmethod
    def example(self) -> pd.DataFrame:
        """Return the spine's first row, with the columns that the model takes from it."""

    @abstractmethod
    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame, read at the tables' newest versions, or at the recorded ones.

        Args:
            as_recorded: Read each table at the version it had when the training set was made.

        Raises:
            FeatureStoreError: If a spine time is null, or a recorded table is gone.
        """

    @abstractmethod
    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow; arguments and errors are those of `load_df`."""

    @abstractmethod
    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches; arguments and errors are those of `load_df`."""

    @abstractmethod
    def to_rows(self, *, as_recorded: bool = False) -> FrameLike:
        """Return the rows as what passes through no memory; arguments and errors are those of `load_df`."""

    def to_pandas(self, *, as_recorded: bool = False) -> pd.DataFrame:
        """Return the rows as pandas, as a model is given them (see `features.model_frame`); labels as they are.

        Args:
            as_recorded: As `load_df`.

        Raises:
            FeatureStoreError: As `load_df`; or if a column cannot be given to a model as it is.
        """
        rows = self.to_arrow(as_recorded=as_recorded)
        frame = model_frame(rows.drop_columns(list(self._labels)))
        for label in self._labels:
            frame[label] = rows.column(label).to_pandas()
        return frame

    def _check_recorded(self, ids: Mapping[str, str]) -> None:
        """Refuse tables that are not those recorded.

        Args:
            ids: The tables' ids, as they are now.

        Raises:
            FeatureStoreError: If one was dropped and made again.
        """
        for name, table in self._recorded.items():
            if ids[name] != table.table_id:
                raise FeatureStoreError(
                    f"{name} was dropped and made again since the training set was recorded.",
                    hint="What it held then is gone; make the training set again.",
                )


def own_training_set(training_set: Any, kind: type[T]) -> T:
    """Return what the same home's `create_training_set` returned, and refuse anything else.

    Raises:
        FeatureStoreError: If it is something else.
    """
    if not isinstance(training_set, kind):
        raise FeatureStoreError(
            "log_model needs the training set that the model was fitted on; "
            f"training_set is a {type(training_set).__name__}.",
            hint="Pass what create_training_set returned.",
        )
    return training_set

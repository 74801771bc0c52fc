"""What scoring a frame takes in any home: what is looked up, which columns are cast, and what comes out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_classes import ClassPlaces
from mlplatform.features.training_set import PREDICTION, LookupPlan, check_score_frame, make_plan
from mlplatform.protocols.feature_client import MATCHED
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import RULE
from mlplatform.types import TIMESTAMP, arrow_type, is_number, spark_type

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo

UNMATCHED_TABLES = pa.list_(pa.field("element", pa.string()))  # as Delta names it, so that both declarations are alike
"""The type of the column `features_unmatched`."""

PROBABILITIES_TYPE = pa.list_(pa.field("element", pa.float64()))
"""The type of the probabilities of several classes."""

# How scikit-learn's warning begins that a column without values was left out.
_LEFT_OUT = "Skipping features without any observed values"


@dataclass(frozen=True)
class ScoringPlan:
    """How one frame is scored by one model.

    Attributes:
        spec: The model's feature spec.
        frame: The frame's columns, in normal types.
        tables: What is known about the feature tables.
        lookups: What is looked up and computed.
        casts: The types that columns are cast to before the model is given them.
        prediction: The type of the prediction.
        rule: How the model's columns become pandas, see `features.model_frame`.
        matched: For each lookup, the name of the column that says whether it found a row; may be empty.
        classes: Where the model has the probabilities of several classes; None: what it gives is the prediction.
    """

    spec: FeatureSpec
    frame: pa.Schema
    tables: Mapping[str, TableInfo]
    lookups: LookupPlan
    casts: Mapping[str, pa.DataType]
    prediction: pa.DataType
    rule: int = RULE
    matched: tuple[str, ...] = ()
    classes: ClassPlaces | None = None

    @property
    def inputs(self) -> list[str]:
        """The columns that the model is given, in order."""
        return self.spec.included

    @property
    def columns(self) -> list[str]:
        """The frame's columns, then the inputs that it lacks."""
        return [*self.frame.names, *(name for name in self.inputs if name not in self.frame.names)]

    @property
    def schema(self) -> pa.Schema:
        """What comes out: the columns, the matches, and the prediction."""
        return pa.schema(
            [
                *(self.lookups.schema.field(name).with_nullable(True) for name in self.columns),
                *(pa.field(name, pa.bool_()) for name in self.matched),
                pa.field(PREDICTION, self.prediction),
            ]
        )


def plan_scoring(
    spec: FeatureSpec,
    frame: pa.Schema,
    result_type: str,
    *,
    tables: Mapping[str, TableInfo],
    functions: Mapping[str, FunctionInfo],
    matches: bool = False,
    rule: int = RULE,
    classes: ClassPlaces | None = None,
) -> ScoringPlan:
    """Plan the scoring of a frame, and refuse what cannot be scored.

    Args:
        spec: The model's feature spec.
        frame: The frame's schema, in normal types.
        result_type: Spark type of the prediction.
        tables: What is known about the feature tables.
        functions: The registered functions.
        matches: Whether the result says which lookups found a row.
        rule: How the model's columns become pandas, see `features.model_frame`.
        classes: As in the plan.

    Raises:
        FeatureStoreError: As `check_score_frame`, `make_plan` and `input_types`; or if `result_type` is not a type.
    """
    check_score_frame(spec, frame.names)
    prediction = PROBABILITIES_TYPE if classes is not None else arrow_type(result_type)
    lookups = make_plan(spec, frame, outputs=spec.included, tables=tables, functions=functions)
    return ScoringPlan(
        spec=spec,
        frame=frame,
        tables=tables,
        lookups=lookups,
        casts=input_types(spec, lookups.schema),
        prediction=prediction,
        rule=rule,
        matched=tuple(match_names(lookups)) if matches else (),
        classes=classes,
    )


def match_names(plan: LookupPlan) -> list[str]:
    """Return the name of the column, for each join of a plan, that says whether it found a row."""
    names: list[str] = []
    for item in plan.joins:
        name = f"{MATCHED}{item.table}"
        # The same table may be looked up by another key, too.
        names.append(name if name not in names else f"{name}#{len(names)}")
    return names


def bare_name(match: str) -> str:
    """Return the bare name of the feature table that a match is about.

    Examples:
        >>> bare_name("matched:dev.tiny.features_region")
        'features_region'
    """
    return match.removeprefix(MATCHED).rpartition(".")[2]


def input_types(spec: FeatureSpec, schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the types that columns must be cast to, for the model to get what it was fitted on.

    Args:
        spec: The model's feature spec.
        schema: The columns as they are.

    Raises:
        FeatureStoreError: If a column is of another kind than the one that the model was fitted on.
    """
    times = {name for column in spec.features for name in column.timestamp_lookup_key}
    casts = {}
    for column in spec.columns:
        name = column.output_name
        if not column.include or not column.data_type:
            continue
        trained, actual = arrow_type(column.data_type), schema.field(name).type
        if trained.equals(actual) or (name in times and pa.types.is_date(actual) and trained.equals(TIMESTAMP)):
            continue  # The real client records a DATE that it looks up by as a timestamp.
        if not (is_number(trained) and is_number(actual)):
            raise FeatureStoreError(
                f"Column {name!r} of the frame to score is {spark_type(actual)}; the model was fitted on "
                f"{column.data_type}.",
                hint=f"Cast it to {column.data_type}.",
            )
        casts[name] = trained
    return casts


@contextmanager
def without_left_out() -> Iterator[None]:
    """Keep scikit-learn from warning, at every batch, of columns that a model leaves out: the run record names them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_LEFT_OUT)
        yield

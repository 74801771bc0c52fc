"""What scoring a frame takes in any home: which columns the model needs cast, and what tells of found rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.training_set import Plan
from mlplatform.protocols.feature_client import MATCHED
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.types import TIMESTAMP, arrow_type, is_number, spark_type

# How scikit-learn's warning begins that a column without values was left out.
_LEFT_OUT = "Skipping features without any observed values"


def match_names(plan: Plan) -> list[str]:
    """Return the name of the column, for each join of a plan, that says whether it found a row."""
    names: list[str] = []
    for item in plan.joins:
        name = f"{MATCHED}{item.table}"
        # The same table may be looked up by another key, too.
        names.append(name if name not in names else f"{name}#{len(names)}")
    return names


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

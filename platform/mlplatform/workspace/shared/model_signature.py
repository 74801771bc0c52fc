"""The MLflow signature of a model with a feature spec: what must come with the frame, and what may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureSpec, SourceColumn
from mlplatform.types import TYPES, arrow_type, spark_type

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def make_signature(
    spec: FeatureSpec, labels: Mapping[str, str], *, output_schema: Any = None, given: Any = None
) -> ModelSignature:
    """Return the signature, as the real client derives it.

    Columns of the spine are required, looked-up and computed ones are optional. A feature of a type that MLflow does
    not know (a decimal, say) is left out: it cannot be handed over when serving.

    Args:
        spec: The feature spec, with types.
        labels: Spark type by label; what the model puts out, unless told otherwise.
        output_schema: MLflow's schema of the outputs.
        given: A signature of the caller's own: its outputs are taken, and its inputs where ours cannot be derived.

    Raises:
        FeatureStoreError: If no inputs or outputs can be derived.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    outputs = output_schema or (given.outputs if given is not None else None)
    if outputs is None:
        if not labels:
            raise FeatureStoreError(
                "The model's signature is unknown: its training set has no label.",
                hint="Pass output_schema=mlflow.types.Schema(...), or signature=... .",
            )
        outputs = Schema([_column(name, kind, required=True) for name, kind in labels.items()])
    unknown = [item for item in spec.sources if _mlflow_type(item.data_type or "") is None]
    if unknown:
        if given is not None and given.inputs is not None:
            return ModelSignature(inputs=given.inputs, outputs=outputs)
        raise FeatureStoreError(
            f"The model's signature cannot hold the column {unknown[0].output_name!r} of type {unknown[0].data_type}.",
            hint="Cast it, exclude it, or pass signature=... .",
        )
    inputs = [
        _column(item.output_name, str(item.data_type), required=isinstance(item, SourceColumn))
        for item in sorted(spec.columns, key=lambda item: not isinstance(item, SourceColumn))
        if _mlflow_type(item.data_type or "") is not None
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=outputs)


def _column(name: str, kind: str, *, required: bool) -> Any:
    from mlflow.types import ColSpec

    kinds = _mlflow_type(kind)
    if kinds is None:
        raise FeatureStoreError(
            f"The model's signature cannot hold the label {name!r} of type {kind}.", hint="Pass output_schema=... ."
        )
    return ColSpec(type=kinds, name=name, required=required)


def _mlflow_type(kind: str) -> Any:
    from mlflow.types import DataType

    if kind in TYPES:
        name = TYPES[kind].signature
        return None if name is None else DataType[name]
    return _nested(arrow_type(kind)) if "<" in kind else None


def _nested(kind: pa.DataType) -> Any:
    from mlflow.types.schema import Array, Map, Object, Property

    if pa.types.is_list(kind):
        inner = _mlflow_type(spark_type(kind.value_type))
        return None if inner is None else Array(inner)
    if pa.types.is_map(kind):
        inner = _mlflow_type(spark_type(kind.item_type)) if pa.types.is_string(kind.key_type) else None
        return None if inner is None else Map(inner)
    assert isinstance(kind, pa.StructType)
    kinds = [(field.name, _mlflow_type(spark_type(field.type))) for field in kind]
    if any(inner is None for _, inner in kinds):
        return None
    return Object([Property(name, inner, required=False) for name, inner in kinds])

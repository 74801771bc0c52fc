"""The feature spec's file: ours reads back as written, the real package reads ours, and we read the real one's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, FunctionColumn, SourceColumn, SpecTable

SPEC = FeatureSpec(
    columns=(
        SourceColumn("id", include=False, data_type="bigint", topological_ordering=0),
        SourceColumn("x", data_type="double", topological_ordering=1),
        FeatureColumn(
            "amount",
            table_name="dev.x.f",
            feature_name="a",
            lookup_key=("id",),
            timestamp_lookup_key=("ts",),
            default_value="-1",
            data_type="bigint",
            topological_ordering=2,
        ),
        FeatureColumn("w", table_name="dev.x.p", feature_name="w", lookup_key=("id", "x"), data_type="array<double>"),
        FunctionColumn("ratio", udf_name="dev.x.g", input_bindings={"q": "x", "p": "amount"}, data_type="double"),
        FunctionColumn("now", udf_name="dev.x.h", data_type="string", topological_ordering=4),
    ),
    tables=(SpecTable("dev.x.f", "id-1", 86_400.000001), SpecTable("dev.x.p", "id-2")),
    functions=("dev.x.g", "dev.x.h"),
    workspace_id=7,
    client_version="mlplatform-0",
)


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    file = SPEC.save(tmp_path)
    assert FeatureSpec.load(tmp_path) == SPEC
    assert FeatureSpec.load(file) == SPEC


def test_the_file_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    content = yaml.safe_load(SPEC.save(tmp_path).read_text(encoding="utf-8"))
    assert content["serialization_version"] == 11
    assert content["input_columns"][0] == {
        "id": {"data_type": "bigint", "include": False, "topological_ordering": 0, "source": "training_data"}
    }
    amount = content["input_columns"][2]["amount"]
    assert amount["source"] == "feature_store"
    assert amount["default_value"] == "-1"
    assert "include" not in amount
    assert content["input_tables"] == [
        {"dev.x.f": {"table_id": "id-1", "lookback_window": 86_400.000001}},
        {"dev.x.p": {"table_id": "id-2"}},
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no input_columns"),
        ("input_columns: []", "no input_columns"),
        ("[1, 2", "cannot be read"),
        ("input_columns: [{a: {source: elsewhere}}]", "unknown source 'elsewhere'"),
        ("input_columns: [{a: {source: feature_store}}]", "no feature spec"),
        ("input_columns: [a]", "no feature spec"),
        ("input_columns: [{a: {source: training_data}}]\nfeatures: [x]", "declarative"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "feature_spec.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(FeatureStoreError, match=says):
        FeatureSpec.load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match=r"feature_spec\.yaml cannot be read"):
        FeatureSpec.load(tmp_path)

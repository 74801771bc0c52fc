"""A model's record of where its features come from: none, and one that cannot be read, are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.errors import FeatureStoreError, RegistryError
from mlplatform.protocols.lineage import FILE_NAME, Lineage

MODEL = "models:/dev.x.model/1"


def test_a_model_without_a_record_has_none(tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match="carries no record"):
        Lineage.load(tmp_path, model_uri=MODEL)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"tables": 1, "functions": [], "columns": [], "labels": []}'])
def test_a_damaged_record_is_not_taken_for_none(tmp_path: Path, content: str) -> None:
    # Maintenance keeps nothing for a model without a record: of a damaged one it must not remove what it names.
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")
    with pytest.raises(RegistryError, match="cannot be read"):
        Lineage.load(tmp_path, model_uri=MODEL)

"""Folders with unusual names: a workspace works there, or says that it cannot."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mlplatform import FeatureLookup, open_workspace
from mlplatform.errors import ConfigError


@pytest.mark.parametrize("name", ["with space", "ü", "it's", "a#b", "a+b"])
def test_tables_are_found_again(tmp_path: Path, name: str) -> None:
    with open_workspace(root=tmp_path / name) as ws:
        ws.fe.create_table(name="dev.x.f", primary_keys="k", df=pa.table({"k": [1], "a": [1.0]}))
        ws.fe.write_table(name="dev.x.f", df=pa.table({"k": [1, 2], "a": [2.0, 3.0]}))
        lookup = FeatureLookup("dev.x.f", "id")
        result = ws.fe.create_training_set(df=pa.table({"id": [1, 2]}), feature_lookups=[lookup], label=None).to_arrow()
        assert result.column("a").to_pylist() == [2.0, 3.0]


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "a%20b"])
def test_what_the_engines_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="misread"):
        open_workspace(root=tmp_path / name)
    assert not (tmp_path / name).exists()

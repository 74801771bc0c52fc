"""A table is dropped at once, whenever the process that drops it is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from tests.support.racers import tables as opened

SCHEMA = pa.schema([pa.field("id", pa.int64())])
NAME = "dev.x.t"


def test_a_kill_while_a_table_is_dropped_leaves_none_and_the_rest_is_swept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = opened(tmp_path)
    tables.create(NAME, SCHEMA)
    tables.append(NAME, pa.table({"id": [1]}, schema=SCHEMA))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            tables.drop(NAME)
    (left,) = (tmp_path / "tables" / ".dropped").iterdir()
    assert not tables.exists(NAME)
    assert tables.list("dev", "x") == []
    assert tables.create(NAME, SCHEMA).version == 0
    opened(tmp_path)
    assert left.exists()  # another process may be at it
    os.utime(left, (1, 1))
    opened(tmp_path)
    assert not left.exists()
    assert tables.list("dev", "x") == ["t"]


def test_a_folder_without_a_log_is_no_table(tmp_path: Path) -> None:
    tables = opened(tmp_path)
    (tables.path(NAME) / "_delta_log").mkdir(parents=True)
    assert tables.list("dev", "x") == []
    with pytest.raises(TableError, match="does not exist"):
        tables.drop(NAME)

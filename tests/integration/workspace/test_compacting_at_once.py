"""Two processes that put small files of one table together at once: no row is there twice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlplatform.workspace.local import delta
from mlplatform.workspace.local.maintenance import LocalMaintenance
from tests.support import racers
from tests.support.racers import rows, tables

NAME = "dev.races.table"
FILES, AT_ONCE = 12, 3
# Both would long have opened the same version.
LOOKED_AT_SECONDS = 0.3


def test_it_is_done_by_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tables(tmp_path)
    opened.create(NAME, racers.SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    for number in range(FILES):
        opened.append(NAME, rows(1, [number]))
    before = opened.to_arrow(NAME, at_most=1000).sort_by("id")
    open_table = delta.open_table

    def slowly(*arguments: Any, **named: Any) -> Any:
        table = open_table(*arguments, **named)
        time.sleep(LOOKED_AT_SECONDS)
        return table

    monkeypatch.setattr(delta, "open_table", slowly)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = [pool.submit(LocalMaintenance(tables(tmp_path)).compact, NAME) for _ in range(AT_ONCE)]
        replaced = sorted(item.result() for item in done)
    assert replaced == [0] * (AT_ONCE - 1) + [FILES]
    assert tables(tmp_path).to_arrow(NAME, at_most=1000).sort_by("id").equals(before)

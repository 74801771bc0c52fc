"""What is new in a silver table, where its times are none that Python knows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.naming import ObjectName
from mlplatform.refine import freshness
from mlplatform.refine.silver import BATCH
from mlplatform.types import TIMESTAMP
from tests.support.racers import tables

NAME = ObjectName.parse("dev.x.silver_t")
DAY = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([("known_at", TIMESTAMP), (BATCH, pa.int64()), (AVAILABLE_AT, TIMESTAMP)])
MICROSECONDS = int(DAY.timestamp()) * 10**6
YEAR_0 = -62_167_219_200_000_000


class Holding:
    """A workspace, as far as what is new in a table is concerned."""

    def __init__(self, frames: Any) -> None:
        self.frames = frames


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([MICROSECONDS], freshness._NewRows(2, DAY, none_seen=False)),
        ([MICROSECONDS, YEAR_0], freshness._NewRows(2, None, none_seen=True)),
    ],
)
def test_a_new_row_of_the_year_0_has_all_computed(
    tmp_path: Path, times: list[int], expected: freshness._NewRows
) -> None:
    made = tables(tmp_path)
    made.create(NAME, SCHEMA, timeseries_column="known_at")
    for batch, known_at in ((1, [MICROSECONDS]), (2, times)):
        columns = [
            pa.array(known_at).cast(TIMESTAMP),
            pa.array([batch] * len(known_at)),
            pa.array([DAY] * len(known_at)),
        ]
        made.append(
            NAME,
            pa.table([column.cast(kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA.names),
        )
    context: Any = SimpleNamespace(ws=Holding(made.frames), as_of=DAY)
    assert freshness._new_rows(context, NAME, made.describe(NAME), 1, DAY) == expected

"""JSON in the platform's own tables that somebody else wrote: our error, which names table and column."""

from __future__ import annotations

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import TableError
from mlplatform.ops.records import STAGE_RUNS, StageRecord

RECORD = StageRecord(
    run_id="r",
    use_case="tiny",
    stage="ingest",
    as_of=parse_as_of("2020-01-01"),
    status="done",
    started_at=parse_as_of("2020-01-01"),
    seconds=1.0,
    platform_version="0.1.0",
)


def test_what_the_platform_wrote_is_read() -> None:
    assert STAGE_RUNS.decode(STAGE_RUNS.encode(RECORD)) == RECORD


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "[" * 20_000 + "]" * 20_000, '{"a": ' * 20_000, "{", "nothing", "\x00", "3"]
)
def test_what_is_no_json_or_is_nested_beyond_all_use_is_named(text: str) -> None:
    row = STAGE_RUNS.encode(RECORD) | {"details": text}
    record = STAGE_RUNS.decode(row)  # of a long history most is never looked into
    with pytest.raises(TableError, match="stage_runs holds no JSON in details") as caught:
        dict(record.details)
    assert caught.value.hint
    assert len(caught.value.message) < 300

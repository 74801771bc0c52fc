"""Every golden case, against the workspace of the `ws` fixture: what the real client was recorded to do.

Some cases record what our contract replaces; they are tested for our rule, below, each by name.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.workspace.local import parquet_rows
from tests.support.ask_ws import columns_noted, set_up, without_null_keys
from tests.support.cases import CASES, load_case, load_cases
from tests.support.compare import Answer, assert_same

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.cases import Case

# Our rule instead of real's, from the contract.
NULL_KEYS = "pit_null_keys_match_null"  # "real's default join matches null to null; ours: no match"
NULL_TIME = "spine_null_time_dropped"  # "real's default join DROPS the row; ours: an error, with the count"
DATE_KEY = "pit_date_time_key"  # "real returns the spine's date as timestamp; ours: it stays a date"
OURS = {NULL_KEYS, NULL_TIME, DATE_KEY}

ALL = load_cases()
ANSWERS = [case for case in ALL if case.expect.answer is not None and case.name not in OURS]
ERRORS = [case for case in ALL if case.expect.error_class is not None]


def _id(case: Case) -> str:
    return f"{case.name}{' (surprising)' if case.surprising else ''}"


def _expected(case: Case) -> Answer:
    """Return our answer where the case has one of its own for us, else the real client's."""
    answer = case.ours or case.expect.answer
    assert answer is not None
    return answer


def test_every_case_is_tested() -> None:
    assert len(ANSWERS) + len(ERRORS) + len(OURS) == len(ALL) >= 43


@pytest.mark.parametrize("case", [case for case in ANSWERS if case.mode == "training_set"], ids=_id)
def test_training_set(ws: LocalWorkspace, case: Case) -> None:
    training_set = set_up(ws, case).training_set(case.spine)
    assert_same(training_set.to_arrow(), _expected(case), any_column_order=case.expect.any_column_order)


@pytest.mark.parametrize("case", [case for case in ANSWERS if case.mode == "training_set"], ids=_id)
def test_training_set_in_spark(ws: LocalWorkspace, case: Case) -> None:
    """The same rows, names and types reach Spark, whose frame is what both workspaces give."""
    training_set = set_up(ws, case).training_set(case.spine)
    frame = training_set.load_df()
    assert [field.dataType.simpleString() for field in frame.schema.fields] == [
        kind for _, kind in Answer.of(training_set.to_arrow()).columns
    ]
    if case.name != "pit_far_timestamps":  # Spark Connect's own Arrow conversion is not ours to test at year 1.
        assert_same(frame.toArrow(), _expected(case), any_column_order=case.expect.any_column_order)


@pytest.mark.parametrize("case", [case for case in ANSWERS if case.mode == "score_batch"], ids=_id)
def test_score_batch(ws: LocalWorkspace, case: Case, tmp_path: Path) -> None:
    asked = set_up(ws, case)
    uri, noted = asked.log_model(tmp_path)
    assert_same(ws.fe.score_batch_arrow(model_uri=uri, df=case.spine), _expected(case))
    assert columns_noted(noted) == case.expect.model_columns
    assert_same(ws.fe.score_batch(model_uri=uri, df=case.spine).toArrow(), _expected(case))


@pytest.mark.parametrize("case", [case for case in ANSWERS if case.mode == "training_set"], ids=_id)
def test_rows_that_memory_does_not_hold_find_the_same(
    ws: LocalWorkspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "IN_MEMORY_BYTES", 0)
    training_set = set_up(ws, case).training_set(ws.frames.of(case.spine))
    batches = list(training_set.to_batches())
    assert_same(pa.Table.from_batches(batches), _expected(case), any_column_order=case.expect.any_column_order)


@pytest.mark.parametrize("case", [case for case in ANSWERS if case.mode == "score_batch"], ids=_id)
def test_frames_that_memory_does_not_hold_are_scored_the_same(
    ws: LocalWorkspace, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, _ = set_up(ws, case).log_model(tmp_path)
    monkeypatch.setattr(parquet_rows, "IN_MEMORY_BYTES", 0)
    assert_same(ws.fe.score_batch_arrow(model_uri=uri, df=ws.frames.of(case.spine)), _expected(case))


@pytest.mark.parametrize("case", ERRORS, ids=_id)
def test_error(ws: LocalWorkspace, case: Case, tmp_path: Path) -> None:
    """Refused with a ValueError of ours, before any data is returned, naming what real's message names."""
    asked = set_up(ws, case)
    if case.mode == "training_set":
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
            asked.training_set(case.spine)
    else:
        uri, _ = asked.log_model(tmp_path)
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
            ws.fe.score_batch_arrow(model_uri=uri, df=case.spine)
    assert type(refused.value).__module__ == "mlplatform.errors"
    for name in re.findall(r"'(\w+)'", case.real_message or ""):
        if name not in {"LONG", "INTEGER", "double", "float"}:  # types, which we do not quote
            assert repr(name) in str(refused.value)


def test_null_keys_match_nothing(ws: LocalWorkspace) -> None:
    case = load_case(CASES / f"{NULL_KEYS}.json")
    with pytest.raises(ValueError, match="Null in key column"):
        set_up(ws, case)
    case = without_null_keys(case)
    result = set_up(ws, case).training_set(case.spine).to_arrow()
    assert result.num_rows == case.spine.num_rows
    lookup = case.lookups[0]
    null = result.filter(pc.is_null(result.column(lookup.lookup_key[0])))
    features = [name for name in result.column_names if name not in case.spine.column_names]
    assert null.num_rows
    assert features
    assert all(null.column(name).null_count == null.num_rows for name in features)


def test_null_spine_time_is_an_error_with_the_count(ws: LocalWorkspace) -> None:
    case = load_case(CASES / f"{NULL_TIME}.json")
    time = case.lookups[0].timestamp_lookup_key
    count = case.spine.column(time).null_count
    asked = set_up(ws, case)
    with pytest.raises(ValueError, match=rf"^{count} of {case.spine.num_rows} row"):
        asked.training_set(case.spine).to_arrow()
    kept = case.spine.filter(pc.is_valid(case.spine.column(time)))
    assert case.expect.answer is not None
    assert_same(asked.training_set(kept).to_arrow(), case.expect.answer)


def test_a_date_stays_a_date(ws: LocalWorkspace) -> None:
    case = load_case(CASES / f"{DATE_KEY}.json")
    result = set_up(ws, case).training_set(case.spine).to_arrow()
    time = case.lookups[0].timestamp_lookup_key
    assert result.schema.field(time).type == pa.date32()
    place = result.column_names.index(time)
    real = result.set_column(place, time, result.column(time).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    assert case.expect.answer is not None
    assert_same(real, case.expect.answer)


@pytest.mark.parametrize("lookback", [False, True], ids=["any age", "lookback 0"])
def test_null_spine_time_with_lookback_zero(ws: LocalWorkspace, lookback: bool) -> None:
    import datetime as dt

    case = load_case(CASES / f"{NULL_TIME}.json")
    lookups = tuple(replace(item, lookback=dt.timedelta(0) if lookback else None) for item in case.lookups)
    asked = set_up(ws, replace(case, lookups=lookups))
    with pytest.raises(ValueError, match="have no time"):
        asked.training_set(case.spine).to_arrow()

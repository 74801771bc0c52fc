"""The golden cases, and our own rules, through the real client behind our face on JVM Spark and the stand-in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform import FeatureLookup
from mlplatform.errors import FeatureStoreError, TableError
from tests.support.ask_ws import columns_noted, set_up, without_null_keys
from tests.support.cases import CASES, load_case, load_cases
from tests.support.compare import Answer, assert_same

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.support.cases import Case

# Our rule instead of real's; each has a test of its own below.
_NULL_KEYS = "pit_null_keys_match_null"
_NULL_TIME = "spine_null_time_dropped"
_DATE_KEY = "pit_date_time_key"
_OURS = {_NULL_KEYS, _NULL_TIME, _DATE_KEY}

_ALL = [*load_cases(), *load_cases(CASES / "ours_differs")]
_ANSWERED = [case for case in _ALL if case.expect.answer is not None and case.name not in _OURS]
_REFUSED = [case for case in _ALL if case.expect.error_class is not None]


def _expected(case: Case) -> Answer:
    answer = case.ours or case.expect.answer
    assert answer is not None
    return answer


def test_every_case_is_tested() -> None:
    assert len(_ANSWERED) + len(_REFUSED) + len(_OURS) == len(_ALL)


@pytest.mark.parametrize(
    "case", [case for case in _ANSWERED if case.mode == "training_set"], ids=lambda case: str(case.name)
)
def test_training_set(databricks: DatabricksWorkspace, case: Case) -> None:
    result = set_up(databricks, case).training_set(case.spine).to_arrow()
    assert_same(result, _expected(case), any_column_order=case.expect.any_column_order)


@pytest.mark.parametrize(
    "case", [case for case in _ANSWERED if case.mode == "score_batch"], ids=lambda case: str(case.name)
)
def test_score_batch(databricks: DatabricksWorkspace, case: Case, tmp_path: Path) -> None:
    uri, noted = set_up(databricks, case).log_model(tmp_path)
    assert_same(databricks.fe.score_batch_arrow(model_uri=uri, df=case.spine), _expected(case))
    assert columns_noted(noted) == case.expect.model_columns


@pytest.mark.parametrize("case", _REFUSED, ids=lambda case: str(case.name))
def test_error(databricks: DatabricksWorkspace, case: Case, tmp_path: Path) -> None:
    """Refused by us, before the real client is asked."""
    asked = set_up(databricks, case)
    if case.mode == "training_set":
        with pytest.raises(FeatureStoreError) as refused:
            asked.training_set(case.spine)
    else:
        uri, _ = asked.log_model(tmp_path)
        with pytest.raises(FeatureStoreError) as refused:
            databricks.fe.score_batch_arrow(model_uri=uri, df=case.spine)
    assert "failed with" not in refused.value.message


def test_null_keys_match_nothing(databricks: DatabricksWorkspace) -> None:
    case = load_case(CASES / f"{_NULL_KEYS}.json")
    with pytest.raises(TableError, match="Null in key column"):
        set_up(databricks, case)
    case = without_null_keys(case)
    result = set_up(databricks, case).training_set(case.spine).to_arrow()
    assert result.num_rows == case.spine.num_rows
    null = result.filter(pc.is_null(result.column(case.lookups[0].lookup_key[0])))
    outputs = [name for name in result.column_names if name not in case.spine.column_names]
    assert null.num_rows
    assert all(null.column(name).null_count == null.num_rows for name in outputs)


@pytest.mark.parametrize("in_spark", [False, True], ids=["arrow", "spark"])
def test_a_null_spine_time_is_an_error_with_the_count(databricks: DatabricksWorkspace, in_spark: bool) -> None:
    case = load_case(CASES / f"{_NULL_TIME}.json")
    asked = set_up(databricks, case)
    spine = databricks.spark.createDataFrame(case.spine) if in_spark else case.spine
    count = case.spine.column(case.lookups[0].timestamp_lookup_key).null_count
    with pytest.raises(FeatureStoreError, match=rf"^{count} of {case.spine.num_rows} row"):
        asked.training_set(spine).load_df()
    kept = case.spine.filter(pc.is_valid(case.spine.column(case.lookups[0].timestamp_lookup_key)))
    assert_same(asked.training_set(kept).to_arrow(), _expected(case))


def test_a_date_stays_a_date(databricks: DatabricksWorkspace) -> None:
    case = load_case(CASES / f"{_DATE_KEY}.json")
    time = case.lookups[0].timestamp_lookup_key
    training_set = set_up(databricks, case).training_set(case.spine)
    assert dict(training_set.load_df().dtypes)[time] == "date"
    result = training_set.to_arrow()
    place = result.column_names.index(time)
    real = result.set_column(place, time, result.column(time).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    assert_same(real, _expected(case))


def test_a_timestamp_without_zone_is_refused_with_the_way_out(databricks: DatabricksWorkspace) -> None:
    spine = databricks.spark.sql("SELECT 1L AS k, TIMESTAMP_NTZ'2024-01-01 00:00:00' AS at")
    with pytest.raises(FeatureStoreError, match=r"'at'.*\n.*cast\('timestamp'\)") as refused:
        databricks.fe.create_training_set(df=spine, feature_lookups=[], label=None)
    assert "without time zone" in refused.value.message


def test_one_feature_under_two_names_is_a_clear_error(databricks: DatabricksWorkspace) -> None:
    databricks.fe.create_table(name="dev.twins.f", primary_keys="k", df=pa.table({"k": [1], "f": [1.0]}))
    lookups = [
        FeatureLookup("dev.twins.f", "k", feature_names="f", rename_outputs={"f": name}) for name in ("one", "two")
    ]
    with pytest.raises(FeatureStoreError, match="two names: 'one' and 'two'"):
        databricks.fe.create_training_set(df=pa.table({"k": [1]}), feature_lookups=lookups, label=None)


def test_a_dot_in_a_column_of_the_spine_is_a_clear_error(databricks: DatabricksWorkspace) -> None:
    now = pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], pa.timestamp("us", "UTC"))
    databricks.fe.create_table(
        name="dev.dots.f", primary_keys=["k", "t"], timeseries_column="t", df=pa.table({"k": [1], "t": now, "f": [1.0]})
    )
    spine = pa.table({"k": [1], "t": now, "a.b": [1]})
    with pytest.raises(FeatureStoreError, match=r"'a\.b'.*a dot"):
        databricks.fe.create_training_set(
            df=spine, feature_lookups=[FeatureLookup("dev.dots.f", "k", timestamp_lookup_key="t")], label=None
        )

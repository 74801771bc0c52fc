"""The golden cases, and our own rules, through the real client behind our face on JVM Spark and the stand-in."""

from __future__ import annotations

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
def test_training_set(features: DatabricksWorkspace, case: Case) -> None:
    result = set_up(features, case).training_set(case.spine).to_arrow()
    assert_same(result, _expected(case), any_column_order=case.expect.any_column_order)


@pytest.mark.parametrize(
    "case", [case for case in _ANSWERED if case.mode == "score_batch"], ids=lambda case: str(case.name)
)
def test_score_batch(features: DatabricksWorkspace, case: Case, tmp_path: Path) -> None:
    uri, noted = set_up(features, case).log_model(tmp_path)
    assert_same(features.fe.score_batch_arrow(model_uri=uri, df=case.spine), _expected(case))
    assert columns_noted(noted) == case.expect.model_columns


@pytest.mark.parametrize("case", _REFUSED, ids=lambda case: str(case.name))
def test_error(features: DatabricksWorkspace, case: Case, tmp_path: Path) -> None:
    """Refused by us, before the real client is asked."""
    asked = set_up(features, case)
    if case.mode == "training_set":
        with pytest.raises(FeatureStoreError) as refused:
            asked.training_set(case.spine)
    else:
        uri, _ = asked.log_model(tmp_path)
        with pytest.raises(FeatureStoreError) as refused:
            features.fe.score_batch_arrow(model_uri=uri, df=case.spine)
    assert "failed with" not in refused.value.message


def test_null_keys_match_nothing(features: DatabricksWorkspace) -> None:
    case = load_case(CASES / f"{_NULL_KEYS}.json")
    with pytest.raises(TableError, match="Null in key column"):
        set_up(features, case)
    case = without_null_keys(case)
    result = set_up(features, case).training_set(case.spine).to_arrow()
    assert result.num_rows == case.spine.num_rows
    null = result.filter(pc.is_null(result.column(case.lookups[0].lookup_key[0])))
    outputs = [name for name in result.column_names if name not in case.spine.column_names]
    assert null.num_rows
    assert all(null.column(name).null_count == null.num_rows for name in outputs)


@pytest.mark.parametrize("in_spark", [False, True], ids=["arrow", "spark"])
def test_a_null_spine_time_is_an_error_with_the_count(features: DatabricksWorkspace, in_spark: bool) -> None:
    case = load_case(CASES / f"{_NULL_TIME}.json")
    asked = set_up(features, case)
    spine = features.spark.createDataFrame(case.spine) if in_spark else case.spine
    count = case.spine.column(case.lookups[0].timestamp_lookup_key).null_count
    with pytest.raises(FeatureStoreError, match=rf"^{count} of {case.spine.num_rows} row"):
        asked.training_set(spine).load_df()
    kept = case.spine.filter(pc.is_valid(case.spine.column(case.lookups[0].timestamp_lookup_key)))
    assert_same(asked.training_set(kept).to_arrow(), _expected(case))


def test_a_date_stays_a_date(features: DatabricksWorkspace) -> None:
    case = load_case(CASES / f"{_DATE_KEY}.json")
    time = case.lookups[0].timestamp_lookup_key
    training_set = set_up(features, case).training_set(case.spine)
    assert dict(training_set.load_df().dtypes)[time] == "date"
    result = training_set.to_arrow()
    place = result.column_names.index(time)
    real = result.set_column(place, time, result.column(time).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    assert_same(real, _expected(case))


def test_a_timestamp_without_zone_is_refused_with_the_way_out(features: DatabricksWorkspace) -> None:
    spine = features.spark.sql("SELECT 1L AS k, TIMESTAMP_NTZ'2024-01-01 00:00:00' AS at")
    with pytest.raises(FeatureStoreError, match=r"'at'.*\n.*cast\('timestamp'\)") as refused:
        features.fe.create_training_set(df=spine, feature_lookups=[], label=None)
    assert "without time zone" in refused.value.message


def test_one_feature_under_two_names_is_a_clear_error(features: DatabricksWorkspace) -> None:
    features.fe.create_table(name="dev.twins.f", primary_keys="k", df=pa.table({"k": [1], "f": [1.0]}))
    lookups = [
        FeatureLookup("dev.twins.f", "k", feature_names="f", rename_outputs={"f": name}) for name in ("one", "two")
    ]
    with pytest.raises(FeatureStoreError, match="two names: 'one' and 'two'"):
        features.fe.create_training_set(df=pa.table({"k": [1]}), feature_lookups=lookups, label=None)


def test_as_recorded_reproduces_after_later_writes(features: DatabricksWorkspace) -> None:
    name = "dev.recorded.f"
    features.fe.create_table(name=name, primary_keys="k", df=pa.table({"k": [1, 2], "f": [1.0, 2.0]}))
    training_set = features.fe.create_training_set(
        df=pa.table({"k": [1, 2]}), feature_lookups=[FeatureLookup(name, "k")], label=None
    )
    recorded = training_set.recorded_versions[name]
    features.fe.write_table(name=name, df=pa.table({"k": [2, 3], "f": [20.0, 30.0]}))

    assert _values(training_set.to_arrow()) == [1.0, 20.0]
    assert training_set.lineage.tables[0].version == features.tables.version(name) > recorded
    assert _values(training_set.to_arrow(as_recorded=True)) == [1.0, 2.0]

    features.fe.drop_table(name=name)
    features.fe.create_table(name=name, primary_keys="k", df=pa.table({"k": [1], "f": [9.0]}))
    with pytest.raises(FeatureStoreError, match="dropped and made again"):
        training_set.load_df(as_recorded=True)


def _values(table: pa.Table) -> list[float]:
    return [float(value) for value in table.sort_by("k").column("f").to_pylist()]


@pytest.mark.parametrize("in_spark", [False, True], ids=["arrow", "spark"])
def test_a_batch_with_bad_keys_is_refused_and_nothing_written(features: DatabricksWorkspace, in_spark: bool) -> None:
    def frame(keys: list[int | None]) -> object:
        table = pa.table({"k": pa.array(keys, pa.int64()), "f": [float(place) for place in range(len(keys))]})
        return features.spark.createDataFrame(table) if in_spark else table

    name = f"dev.keys_{in_spark}.f".lower()
    for keys, message in (([1, None, None], r"k \(2 row\(s\)\)"), ([1, 1, 1, 2], r"1 key\(s\).*2 row\(s\) too many")):
        with pytest.raises(TableError, match=message):
            features.fe.create_table(name=name, primary_keys="k", df=frame(keys))
        assert not features.tables.exists(name)
    made = features.fe.create_table(name=name, primary_keys="k", df=frame([1, 2]))
    with pytest.raises(TableError, match="too many"):
        features.fe.write_table(name=name, df=frame([3, 3]))
    assert features.tables.version(name) == made.version


def test_another_declaration_is_an_error_and_the_same_one_merges(features: DatabricksWorkspace) -> None:
    name, rows = "dev.declared.f", pa.table({"k": [1], "f": [1.0]})
    features.fe.create_table(name=name, primary_keys="k", df=rows, description="Some", tags={"team": "a"})
    with pytest.raises(FeatureStoreError, match="another declaration"):
        features.fe.create_table(name=name, primary_keys=["k", "f"], df=rows)
    again = features.fe.create_table(name=name, primary_keys="k", df=pa.table({"k": [2], "f": [2.0]}))
    assert (again.description, dict(again.tags), again.primary_keys) == ("Some", {"team": "a"}, ("k",))
    assert features.fe.read_table(name=name).count() == 2
    features.fe.write_table(name=name, df=pa.table({"k": [2], "g": ["new"]}))
    assert features.tables.to_arrow(name).sort_by("k").to_pylist() == [
        {"k": 1, "f": 1.0, "g": None},
        {"k": 2, "f": 2.0, "g": "new"},
    ]

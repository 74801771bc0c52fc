"""The columns of a rolling feature table follow from its keys, windows, measures and values."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from mlplatform import Column, RollingFeatureTable, SilverTable, Source
from mlplatform.errors import ConfigError


class VisitsSource(Source, files="*.csv", columns=("guest", "at", "spent")):
    """Visits."""


class Visits(SilverTable, source=VisitsSource, keys=("guest",), timeseries=True, known_at="at"):
    """Visits."""

    columns = (Column("guest", "string", "Who came", sql="trim(guest)"), Column("at", "timestamp", "When"))


class _Visits(RollingFeatureTable, keys=("guest",), grid="1 day"):
    """Visits of a guest."""

    measures = (Column("visits", "bigint", "Visits"), "spent")
    values = (
        Column("trend", "double", "{first} by {last} of {table}", sql="visits_{first} / nullif(visits_{last}, 0)"),
        Column("mean_{window}", "double", "Mean {within}", sql="spent_{window} / visits_{window}"),
    )

    def events(self, ws: Any) -> Any:
        return ws.read(Visits)


class GuestFeatures(_Visits, windows=("1 day", "4 weeks", None)):
    """Guests."""


def test_columns_are_keys_time_sums_and_values_window_by_window() -> None:
    assert [(column.name, column.type) for column in GuestFeatures.columns] == [
        ("guest", "string"),
        ("known_at", "timestamp"),
        ("visits_1d", "bigint"),
        ("visits_4w", "bigint"),
        ("visits_ever", "bigint"),
        ("mean_1d", "double"),
        ("mean_4w", "double"),
        ("mean_ever", "double"),
        ("trend", "double"),
    ]
    by_name = {column.name: column for column in GuestFeatures.columns}
    assert (by_name["guest"].comment, by_name["guest"].nullable, by_name["guest"].sql) == ("Who came", False, None)
    assert by_name["visits_4w"].comment == "Visits within 4 weeks"
    assert by_name["mean_ever"].comment == "Mean so far"
    assert by_name["trend"].comment == "1d by ever of guest"
    assert by_name["trend"].sql == "visits_1d / nullif(visits_ever, 0)"


@pytest.mark.parametrize(
    ("windows", "suffixes"),
    [
        (("15 minutes", "1 hour"), ["15min", "1h"]),
        (("1 month", "1 quarter", "2 years"), ["1m", "1q", "2y"]),
        ({"year": "12 months", "all": None}, ["year", "all"]),
    ],
)
def test_a_suffix_is_derived_or_given(windows: Any, suffixes: list[str]) -> None:
    table: Any = type("Some", (_Visits,), {}, windows=windows)
    assert [column.name for column in table.columns if column.name.startswith("visits_")] == [
        f"visits_{suffix}" for suffix in suffixes
    ]


def test_two_windows_of_one_suffix_are_refused() -> None:
    table: Any = type("Twice", (_Visits,), {}, windows=("1 day", "1 days"))
    with pytest.raises(ConfigError, match="Twice: two windows end with 1d"):
        _ = table.columns


def test_a_key_that_is_not_read_by_class_is_declared() -> None:
    class ByName(_Visits, windows=("1 day",)):
        def events(self, ws: Any) -> Any:
            return ws.read("silver_visits")

    with pytest.raises(ConfigError, match=r"ByName: the key guest .*\(none\)") as caught:
        _ = ByName.columns
    assert "key_columns" in caught.value.hint

    class Declared(ByName):
        key_columns = (Column("guest", "string", "Who"), Column("known_at", "timestamp", "When"))

    assert [column.name for column in Declared.columns[:3]] == ["guest", "known_at", "visits_1d"]


def test_an_unknown_word_in_braces_is_refused_with_those_there_are() -> None:
    class Wrong(_Visits, windows=("1 day",)):
        values = (Column("mean_{widow}", "double", "Mean"),)

    with pytest.raises(ConfigError, match=r"Wrong.values: mean_\{widow\}") as caught:
        _ = Wrong.columns
    assert "table, first, last" in caught.value.hint


def test_a_declared_column_that_nothing_gives_is_refused() -> None:
    class Declared(_Visits, windows=("1 day",)):
        columns: ClassVar[tuple[Column, ...]] = (
            Column("guest", "string", "Who"),
            Column("known_at", "timestamp", "When"),
            Column("visit_1d", "bigint", "Visits"),
        )

    with pytest.raises(ConfigError, match="Declared: the column visit_1d is no sum") as caught:
        Declared().features(None)  # type: ignore[arg-type]  (refused before it is looked at)
    assert "Did you mean visits_1d" in caught.value.hint

"""Inputs are inferred from what the code reads, wherever it can be followed; where it cannot, the error says so."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform import Column, FeatureTable, LabelSpine, RollingFeatureTable, SilverTable, Source
from mlplatform.errors import ConfigError

OTHER = "silver_other"
name = "silver_of_this_module"


class Landed(Source, files="*.csv", columns=("leg", "at")):
    """What lands."""


class Legs(SilverTable, source=Landed, keys=("leg",), known_at="at"):
    """Legs."""

    columns = (Column("leg", "string", "Leg"), Column("at", "timestamp", "When"))


class Arrivals(Legs):
    """Arrivals."""

    name = "arrived"


def of_module(view: Any) -> Any:
    return view.read(Legs)


class Table(FeatureTable):
    """A feature table; each test overrides what it computes with."""

    keys = ("leg",)
    timeseries_column = "at"
    columns = Legs.columns
    source = Arrivals

    def helper(self, ws: Any) -> Any:
        return ws.read("silver_helper")

    @staticmethod
    def apart(number: int, ws: Any) -> Any:
        return number, ws.read("silver_apart")


class ByClassAndName(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        del as_of, since
        if ws.as_of:
            return ws.read(Legs).join(ws.read("silver_arrived")).join(ws.read(Legs))
        return [ws.read(OTHER), ws.spark]


class Followed(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        nested = lambda: ws.read(self.source)  # noqa: E731  (as authors write it)
        return of_module(ws), self.helper(ws=ws), self.apart(1, ws), nested(), as_of, since


class Above(ByClassAndName):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return super().compute(ws, as_of, since).join(ws.read("silver_more"))


class Rolling(RollingFeatureTable, keys=("leg",), grid="1 day", windows=("1 day",), measures=("n",)):
    def events(self, ws: Any) -> Any:
        return ws.read(Arrivals)


class Spine(LabelSpine, table=Legs, label="late"):
    def labels(self, ws: Any) -> Any:
        return ws.read(Arrivals)


@pytest.mark.parametrize(
    ("table", "inputs"),
    [
        (ByClassAndName, ("silver_legs", "silver_arrived", "silver_other")),
        (Followed, ("silver_arrived", "silver_legs", "silver_helper", "silver_apart")),
        (Above, ("silver_legs", "silver_arrived", "silver_other", "silver_more")),
        (Rolling, ("silver_arrived",)),
        (Spine, ("silver_legs", "silver_arrived")),
        (type("AsItStands", (FeatureTable,), {}, table=Legs), ("silver_legs",)),
    ],
)
def test_what_is_read_is_an_input(table: type[FeatureTable], inputs: tuple[str, ...]) -> None:
    assert table.inputs == inputs


class Computed(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return [ws.read(name) for name in ("silver_a", "silver_b")], as_of, since


class Kept(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        view = ws
        return view.read(Legs), as_of, since


class HandedOn(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return print(ws), as_of, since


class NotCalled(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return list(map(ws.read, (as_of, since)))


class ByNestedParameter(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        def one(name: str) -> Any:
            return ws.read(name)

        return [one(each) for each in ("silver_a", "silver_b")], as_of, since


class ByNestedVariable(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        def both() -> Any:
            for name in ("silver_a", "silver_b"):
                yield ws.read(name)

        return both(), as_of, since


class ByNestedFunction(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        def all_of() -> Any:
            def of_module(view: Any) -> Any:
                return view.read("silver_a")

            return of_module(ws)

        return all_of(), as_of, since


class AfterOthers(Table):
    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return self.apart(*(1,), ws), as_of, since


class AmongKeywords(Table):
    def keywords(self, **given: Any) -> Any:
        return given["view"].read("silver_a")

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        return self.keywords(view=ws), as_of, since


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (ByNestedParameter, r"compute\(\) reads name"),
        (ByNestedVariable, r"compute\(\) reads name"),
        (ByNestedFunction, r"compute\(\) hands ws to of_module\(\)"),
        (AfterOthers, r"compute\(\) hands ws to self.apart\(\) after \*\(1,\)"),
        (AmongKeywords, r"keywords\(\) takes the workspace among \*\*given"),
        (Computed, r"compute\(\) reads name"),
        (Kept, r"compute\(\) uses ws in a way that cannot be followed"),
        (HandedOn, r"compute\(\) hands ws to print\(\)"),
        (NotCalled, r"compute\(\) takes ws.read without calling it"),
    ],
)
def test_what_cannot_be_inferred_is_an_error_that_says_so(table: type[FeatureTable], why: str) -> None:
    with pytest.raises(ConfigError, match=rf"inputs of {table.__name__} cannot be inferred: .*{why}") as caught:
        table.inputs  # noqa: B018  (reading it is what fails)
    assert "test_inputs.py" in caught.value.message
    assert f"{table.__name__}.inputs = (" in caught.value.hint


def test_declared_inputs_win() -> None:
    class Declared(Computed):
        inputs = ("silver_a", "silver_b")

    assert Declared.inputs == ("silver_a", "silver_b")


def test_without_its_source_nothing_is_inferred() -> None:
    names: dict[str, Any] = {"Table": Table}
    exec("class Typed(Table):\n    def compute(self, ws, as_of, since):\n        return ws.read('silver_a')\n", names)
    with pytest.raises(ConfigError, match=r"source of Typed.compute\(\) cannot be read"):
        names["Typed"].inputs  # noqa: B018  (reading it is what fails)

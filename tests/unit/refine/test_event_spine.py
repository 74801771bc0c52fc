"""What a spine of dated events may declare, and into which steps a horizon is cut."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform import Column, EventSpine, SilverTable
from mlplatform.as_of import Duration
from mlplatform.errors import ConfigError, TableError
from mlplatform.refine.event_spine import event_rows, steps_of
from mlplatform.refine.gold_refining import gold_tables

KEY = Column("loan", "string", "Number of the loan")
APPROVED = Column("approved_at", "timestamp", "When it was approved")


class Loans(SilverTable):
    """Loans."""

    keys = ("loan",)
    known_at = "approved_at"
    columns = (KEY, APPROVED, Column("amount", "double", "In dollars"))


class Outcomes(SilverTable):
    """Outcomes."""

    keys = ("loan",)
    columns = (
        KEY,
        Column("known_at", "timestamp", "When it was known"),
        Column("charged_off_at", "timestamp", "When it was charged off"),
        Column("charged_off_on", "date", "The day"),
    )


class Defaults(EventSpine, table=Loans, label="defaulted", event_table=Outcomes, event_at="charged_off_at"):
    """Loans, and whether they default."""


def test_a_spine_of_events_has_a_table_more_and_reads_both() -> None:
    assert Defaults.inputs == ("silver_loans", "silver_outcomes")
    spine = Defaults(settings=None)  # type: ignore[arg-type]
    assert [gold.name for gold in gold_tables(spine)] == ["spine", "labels", "events"]
    events = gold_tables(spine)[-1]
    assert (events.known_at, events.schema.field("event_at").nullable) == ("event_known_at", True)
    assert events.schema.names == ["loan", "approved_at", "event_at", "event_known_at", "event_step"]


def test_inputs_are_those_of_events_that_say_themselves_where_they_are() -> None:
    class Own(EventSpine, table=Loans, label="defaulted", event_at="gone_at"):
        """Loans, and whether they default."""

        def events(self, ws: Any) -> Any:
            return ws.read("silver_gone")

    assert Own.inputs == ("silver_loans", "silver_gone")


@pytest.mark.parametrize(
    ("declared", "message", "hint"),
    [
        ({"event_at": "charged_of_at"}, "none of its columns in Outcomes", "Did you mean charged_off_at"),
        ({"event_at": "charged_off_on"}, "is date in Outcomes", "timestamp column"),
        ({"event_at": ""}, "not when they happened", "event_at = "),
    ],
)
def test_a_column_that_cannot_date_events_is_refused(declared: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        type("Wrong", (EventSpine,), {"table": Loans, "label": "x", "event_table": Outcomes, **declared})
    assert hint in caught.value.hint


def test_a_table_by_other_keys_is_refused_with_the_way_out() -> None:
    class ByLender(Outcomes, keys=("lender",)):
        """Outcomes by lender."""

        columns = (*Outcomes.columns, Column("lender", "string", "The lender"))

    with pytest.raises(ConfigError, match="ByLender has the key lender") as caught:
        type("Wrong", (Defaults,), {"event_table": ByLender})
    assert "Override events()" in caught.value.hint


def test_a_spine_that_does_not_say_where_its_events_are_is_refused() -> None:
    class Nowhere(EventSpine, table=Loans, label="defaulted", event_at="charged_off_at", inputs=("silver_loans",)):
        """Loans."""

    with pytest.raises(ConfigError, match="does not say where its events are") as caught:
        Nowhere(settings=None).labels(ws=_Reads())  # type: ignore[arg-type]
    assert "event_table" in caught.value.hint


class _Reads:
    def read(self, table: Any) -> Any:
        del table
        return self

    def select(self, *columns: Any) -> Any:
        del columns
        return self


def test_names_that_the_table_of_events_has_itself_are_no_keys() -> None:
    columns = (KEY, Column("event_at", "timestamp", "When it was approved"))
    with pytest.raises(ConfigError, match="cannot be called 'event_at'"):
        type(
            "Wrong",
            (EventSpine,),
            {"key_columns": columns, "columns": (), "label": "x", "event_at": "charged_off_at", "inputs": ()},
        )


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        (["loan", "charged_off_at"], "gives no column approved_at", ""),
        (["loan", "approved_at", "charged_of_at"], "gives no column charged_off_at", "Did you mean charged_of_at"),
        (["loan", "approved_at", "charged_off_at"], "does not say when events became known", "_available_at"),
    ],
)
def test_events_that_lack_something_are_refused(columns: list[str], message: str, hint: str) -> None:
    class Frame:
        pass

    frame = Frame()
    frame.columns = columns  # type: ignore[attr-defined]
    with pytest.raises(TableError, match=message) as caught:
        event_rows(Defaults(settings=None), frame)  # type: ignore[arg-type]
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("horizon", "steps"),
    [("36 months", 36), ("1 year", 12), ("10 years", 120), ("11 years", 36), ("3 months", 36), ("14 days", 36)],
)
def test_a_horizon_of_years_is_cut_into_months(horizon: str, steps: int) -> None:
    assert steps_of(Duration.parse(horizon)) == steps

"""What a class need not declare: derived where it does not, the declaration wherever one is, errors that lead out."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform import Column, FeatureTable, SilverTable, Source
from mlplatform.derived_attributes import derived, is_derived, named_after_class
from mlplatform.errors import ConfigError


class Base:
    name: str = named_after_class("Kind")
    length: int = derived(lambda cls: len(cls.name))


def test_each_class_gets_its_own_value_and_a_declaration_goes_on_to_subclasses() -> None:
    class FirstKind(Base):
        pass

    class Declared(FirstKind):
        name = "declared"

    class Below(Declared):
        pass

    assert [cls.name for cls in (FirstKind, Declared, Below)] == ["first", "declared", "declared"]
    assert [cls.length for cls in (FirstKind, Declared)] == [5, 8]
    assert [is_derived(cls, "name") for cls in (FirstKind, Declared, Below)] == [True, False, False]


class LoansSource(Source, files="loans_*.csv", columns=("loan", "approved")):
    """Loans."""


class Loans(SilverTable, source=LoansSource, keys=("loan",), known_at="approved"):
    """Loans."""

    columns = (Column("loan", "string", "Number"), Column("approved", "timestamp", "Day"))


class LoanFeatures(FeatureTable, table=Loans):
    """Loans as they stand."""


def test_tables_are_named_as_their_classes() -> None:
    assert (LoansSource.name, Loans.name, LoanFeatures.name) == ("loans", "loans", "loan")


def test_what_stands_in_brackets_is_declared_and_a_word_that_there_is_not_is_refused_with_the_nearest() -> None:
    assert (Loans.source, Loans.keys) == (LoansSource, ("loan",))
    with pytest.raises(ConfigError, match="declares konwn_at, which is unknown") as caught:

        class Misspelt(Loans, konwn_at="approved"):
            pass

    assert "Did you mean known_at" in caught.value.hint


def test_brackets_are_checked_as_the_body_is() -> None:
    with pytest.raises(ConfigError, match=r"Wrong\.available is 'sometimes'"):
        type("Wrong", (LoansSource,), {}, available="sometimes")


@pytest.mark.parametrize("attribute", ["keys", "timeseries_column", "columns"])
def test_what_cannot_be_derived_is_asked_for(attribute: str) -> None:
    class Bare(FeatureTable):
        def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
            return ws, as_of, since

    with pytest.raises(ConfigError, match=f"Bare declares no {attribute}") as caught:
        getattr(Bare, attribute)
    assert "Declare it" in caught.value.hint


def test_a_source_says_where_its_files_are() -> None:
    with pytest.raises(ConfigError, match="Somewhere declares no files"):
        type("Somewhere", (Source,), {"columns": ("a",)}).files  # noqa: B018  (reading it is what fails)

"""What a class need not declare: derived from the class itself; declared all the same, the declaration wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Derived:
    """A class attribute that is computed for each class when it is first read.

    A subclass that assigns the attribute declares it: its value takes this one's place, for its own subclasses too.

    Examples:
        >>> class Table:
        ...     name = Derived(lambda cls: snake_case(cls.__name__))
        >>> class RawEvents(Table):
        ...     pass
        >>> class Events(Table):
        ...     name = "declared"
        >>> RawEvents.name, RawEvents().name, Events.name
        ('raw_events', 'raw_events', 'declared')
    """

    def __init__(self, derive: Callable[[Any], Any]) -> None:
        """Take the function from the class to the value; it raises where nothing can be derived."""
        self._derive = derive
        self._values: WeakKeyDictionary[type, Any] = WeakKeyDictionary()

    def __get__(self, instance: object, owner: type) -> Any:
        """Return the value of a class."""
        if owner not in self._values:
            self._values[owner] = self._derive(owner)
        return self._values[owner]


def derived(derive: Callable[[Any], Any]) -> Any:
    """Return an attribute that is derived from its class; typed as whatever the attribute is annotated with.

    Args:
        derive: From the class to the value.
    """
    return Derived(derive)


def is_derived(cls: type, attribute: str) -> bool:
    """Tell whether neither a class nor one of its bases declares an attribute that can be derived."""
    for base in cls.__mro__:
        if attribute in vars(base):
            return isinstance(vars(base)[attribute], Derived)
    return True


def named_after_class(kind: str = "") -> Any:
    """Return a name that is the class's in snake case, without the word of its kind at the end.

    Args:
        kind: That word, as in `Source`; none: the whole name counts.

    Examples:
        >>> class Source:
        ...     name = named_after_class("Source")
        >>> class LoansSource(Source):
        ...     pass
        >>> LoansSource.name
        'loans'
    """
    return Derived(lambda cls: snake_case(cls.__name__.removesuffix(kind) or cls.__name__))


def snake_case(name: str) -> str:
    """Return a class's name as tables are named.

    Examples:
        >>> snake_case("LenderHistory"), snake_case("HTTPLogs"), snake_case("Loans2005")
        ('lender_history', 'http_logs', 'loans2005')
    """
    return _WORD_STARTS.sub("_", name.lstrip("_")).lower()

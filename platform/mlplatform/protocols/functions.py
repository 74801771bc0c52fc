"""Python functions registered by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName


@runtime_checkable
class Functions(Protocol):
    """Python functions registered by three-level name, usable as feature functions."""

    def register(
        self,
        name: ObjectName | str,
        fn: Callable[..., Any],
        *,
        parameters: Sequence[tuple[str, str]],
        returns: str,
    ) -> None:
        """Register a function of scalars, with Spark type names; again under the same name replaces it."""
        ...

    def get(self, name: ObjectName | str) -> FunctionInfo:
        """Return a registered function.

        Raises:
            FeatureStoreError: If no function has that name; similar names are suggested.
        """
        ...


@dataclass(frozen=True)
class FunctionInfo:
    """A registered function: its lower-cased name, parameters (name, Spark type), return type, and the callable."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    fn: Callable[..., Any]

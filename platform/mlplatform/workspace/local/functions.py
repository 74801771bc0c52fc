"""Python functions by three-level name, for use as feature functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlplatform.errors import FunctionError, did_you_mean
from mlplatform.naming import ObjectName
from mlplatform.workspace.protocols import FunctionInfo


class LocalFunctions:
    """Functions of the local workspace; see `mlplatform.workspace.protocols.Functions`.

    They live as long as the workspace is open: a use case registers its own whenever it is loaded.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[str, FunctionInfo] = {}

    def register(
        self,
        name: ObjectName | str,
        fn: Callable[..., Any],
        *,
        parameters: Sequence[tuple[str, str]],
        returns: str,
    ) -> None:
        """Register a function of scalars."""
        key = str(ObjectName.parse(name)).lower()
        self._known[key] = FunctionInfo(name=key, parameters=tuple(parameters), returns=returns, fn=fn)

    def get(self, name: ObjectName | str) -> FunctionInfo:
        """Return a registered function."""
        key = str(name).lower()
        if key not in self._known:
            raise FunctionError(f"Function {name} is not registered.", hint=did_you_mean(key, self._known))
        return self._known[key]

"""What the workspaces of both homes are: opened in a place, and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from mlplatform.workspace.shared.place import Place


class SharedWorkspace(Place, ABC):
    """The base of both homes' workspaces; see `mlplatform.protocols.workspace.Workspace`."""

    home: str

    @property
    def where(self) -> str:
        """Where it is, for messages."""
        return f"the {self.home} workspace"

    @abstractmethod
    def close(self) -> None:
        """Stop what was started."""

    def __enter__(self) -> Self:
        """Use as a context manager; closes at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

"""A generated file: how the existing one differs from it, and writing it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

MARK = "# Generated"
"""How every generated file begins: one without it is somebody's own, and left alone."""


@dataclass(frozen=True)
class GeneratedFile:
    """A file of the bundle, as it should be.

    Attributes:
        root: The folder of the project.
        name: Where the file stands below it.
        text: What should stand in it; empty when the file should not be there.
        use_case: The use case that it belongs to; empty when it belongs to all.
    """

    root: Path
    name: str
    text: str
    use_case: str = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / self.name

    def difference(self) -> str:
        """Return what would have to change in the file, as a unified diff; empty when nothing does."""
        existing = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        lines = difflib.unified_diff(
            existing.splitlines(keepends=True),
            self.text.splitlines(keepends=True),
            f"{self.name} (existing)",
            f"{self.name} (generated)",
        )
        return "".join(lines)

    def write(self) -> bool:
        """Write the file, or remove it; return whether that changed anything."""
        if not self.difference():
            return False
        if self.text:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.text, encoding="utf-8")
        else:
            self.path.unlink()
        return True

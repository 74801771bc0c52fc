"""What looking features up reads, and where it may keep files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.protocols.functions import FunctionInfo


@dataclass(frozen=True)
class Sources:
    """What a plan reads, and where it may spill.

    Attributes:
        tables: The opened version of each table of the plan.
        functions: The functions of the plan.
        scratch: Where files of this looking up may be kept; removed when it ends.
        spill: Where DuckDB spills what does not fit in memory; None: there, too. One folder has one DuckDB that stays.
        memory_limit: DuckDB's limit, as in `4GB`.
    """

    tables: Mapping[str, DeltaTable]
    functions: Mapping[str, FunctionInfo]
    scratch: Path
    memory_limit: str | None = None
    spill: Path | None = None

    @property
    def database(self) -> Path:
        """The folder of the DuckDB that computes."""
        return self.spill or self.scratch

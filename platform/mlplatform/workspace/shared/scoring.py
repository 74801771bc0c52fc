"""What a home scores: a frame as it holds one, a checked model, the feature tables as it opens them, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pyarrow as pa

from mlplatform.features.scoring import ScoringPlan
from mlplatform.protocols.feature_client import ReasonCodes, RowsDone
from mlplatform.workspace.shared.model_store import ModelArtifact

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo


class Frame(Protocol):
    """Rows as a home holds them."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns, in normal types."""
        ...


class OpenTable(Protocol):
    """A feature table as a home looks it up."""

    @property
    def info(self) -> TableInfo:
        """What is known about it."""
        ...

    @property
    def table_id(self) -> str:
        """Another one when the table is dropped and made again."""
        ...


FrameT = TypeVar("FrameT", bound=Frame)
TableT = TypeVar("TableT", bound=OpenTable)


@dataclass(frozen=True)
class Environment:
    """Where a model is scored; see `score_batch`."""

    env_manager: str = "local"
    params: Mapping[str, Any] | None = None
    prebuilt_env_uri: str | None = None


@dataclass(frozen=True)
class ScoredFrame:
    """What is wanted of a scored frame; see `score_frame`.

    Attributes:
        keys: Columns of the frame that come out, too.
        reasons: Which reason codes.
        batch_rows: Rows that the model is given at once, at most.
        done: Told how many rows have been scored.
        may_fail: On how many rows of a batch the model may fail, of `features.by_halves`: they get NaN.
    """

    keys: tuple[str, ...]
    reasons: ReasonCodes | None
    batch_rows: int | None
    done: RowsDone
    may_fail: Callable[[int], int]


@dataclass(frozen=True)
class BatchScoring(Generic[FrameT, TableT]):
    """A frame, and a model whose files have been checked; nothing in them has been loaded.

    Attributes:
        plan: How the frame is scored.
        frame: The rows.
        model: The model's files.
        tables: The feature tables.
        functions: The registered functions.
        environment: Where it is scored.
        scratch: A folder for temporary files, removed when the scoring ends.
    """

    plan: ScoringPlan
    frame: FrameT
    model: ModelArtifact
    tables: Mapping[str, TableT]
    functions: Mapping[str, FunctionInfo]
    environment: Environment
    scratch: Path


def infos(tables: Mapping[str, OpenTable]) -> dict[str, TableInfo]:
    """Return what is known about opened tables."""
    return {name: table.info for name, table in tables.items()}

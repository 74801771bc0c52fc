"""What a stage did: rows, tables, and typed details that are kept as JSON in its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

from mlplatform.protocols.frames import Collected

Moment = Annotated[datetime, PlainSerializer(lambda moment: moment.isoformat(), return_type=str, when_used="json")]
"""A time in details; kept as ISO 8601."""


class CollectedRows(BaseModel):
    """What a stage collected into its process; everything else stayed in the engine.

    Attributes:
        rows: How many rows, of all collectings together.
        size: Their bytes, as Arrow.
        largest: What the largest collecting brought, in words.
        largest_rows: Its rows.
        at_most: Its bound.
    """

    rows: int
    size: int
    largest: str
    largest_rows: int
    at_most: int


class Details(BaseModel):
    """What a stage says of itself beside rows and tables: kept as JSON in its record, and read back as this.

    A stage declares a subclass. Only what was set is kept, so that the absence of a key says that it does not apply;
    keys that this version does not know are left alone.

    Attributes:
        tables: Bare name of each table that the stage brought up to date -> Delta's id of it.
        notes: What whoever looks at the run should know, as sentences.
        collected: What came into the process; None where nothing did.
    """

    model_config = ConfigDict(extra="ignore", validate_assignment=False)

    # Written for the next run only; not part of what a run shows.
    internal: ClassVar[frozenset[str]] = frozenset({"tables", "collected"})

    tables: dict[str, str] = {}
    notes: list[str] = []
    collected: CollectedRows | None = None

    def say_collected(self, collected: Collected) -> None:
        """Record what was collected while the stage ran."""
        largest = collected.largest
        if largest is not None:
            self.collected = CollectedRows(
                rows=collected.rows,
                size=collected.size,
                largest=largest.what,
                largest_rows=largest.rows,
                at_most=largest.at_most,
            )

    def note(self, text: str) -> None:
        """Say something aloud: in the run's record, in what `run` prints, and in `status`."""
        self.notes = [*self.notes, text]

    def to_json(self) -> dict[str, Any]:
        """Return what was set, as plain data."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)

    def answer(self) -> dict[str, Any]:
        """Return what was set, as plain data, without what it took to find out: the same question, the same answer."""
        return {key: value for key, value in self.to_json().items() if key != "collected"}

    def shown(self) -> dict[str, Any]:
        """Return what was set, as plain data, without what only the next run reads."""
        return {key: value for key, value in self.to_json().items() if key not in self.internal}


D = TypeVar("D", bound=Details)


@dataclass
class StageResult(Generic[D]):
    """What a stage did.

    Attributes:
        details: What else is worth recording.
        inputs: Table -> Delta version that was read.
        outputs: Table -> Delta version after the stage.
        rows_in: Rows that came in; None where counting makes no sense.
        rows_out: Rows that went on.
        rows_quarantined: Rows that were quarantined; in = out + quarantined.
        skipped: Why nothing was to be done; empty when something was.
    """

    details: D
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    rows_in: int | None = None
    rows_out: int | None = None
    rows_quarantined: int | None = None
    skipped: str = ""

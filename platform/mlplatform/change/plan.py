"""A plan: what an edit does to tables and live models, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlplatform.change.answers import Answer
from mlplatform.change.declared import DeclaredTable
from mlplatform.change.differences import Difference, Kind, Measured, gravest

NOTHING = "Nothing declared differs from what exists."
_WIDTH = 20


@dataclass(frozen=True)
class Reading:
    """A live version that reads what changes.

    Attributes:
        version: The version, with its aliases.
        number: Its number.
        columns: What it reads of it, and changes.
        answer: What it says of the change; None where it was not asked.
        breaks: Whether the change breaks it.
    """

    version: str
    number: int
    columns: tuple[str, ...]
    answer: Answer | None
    breaks: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        answer = self.answer
        return {
            "version": self.number,
            "shown_as": self.version,
            "columns": list(self.columns),
            "predictions": answer.moved.to_json() if answer is not None and answer.moved is not None else None,
            "not_asked": answer.why_not if answer is not None else "",
            "breaking": self.breaks,
        }


@dataclass
class PlannedChange:
    """What becomes of one table, or of functions or lookups.

    Attributes:
        name: Bare name of the table; `functions` or `lookups`.
        table: Its declaration; None of `functions`, `lookups`, and of a table that is not declared any more.
        differences: How the declaration differs from what exists; none: not at all.
        measured: How the rows differ; None where nothing was computed.
        readings: The live versions that read what changes.
        moves: Whether its rows or columns become others, so that what is computed from it may, too.
    """

    name: str
    table: DeclaredTable | None = None
    differences: list[Difference] = field(default_factory=list)
    measured: Measured | None = None
    readings: list[Reading] = field(default_factory=list)
    moves: bool = False

    @property
    def bare(self) -> str:
        """Its bare name as it is declared."""
        return self.table.bare if self.table is not None else self.name

    @property
    def kind(self) -> Kind | None:
        """What the gravest difference does; None without any."""
        return gravest([item.kind for item in self.differences])

    @property
    def changes_values(self) -> bool:
        """Whether rows that the table holds become others; new columns alone change none."""
        return self.moves and self.kind is not None and self.kind.gravity >= Kind.RECOMPUTE.gravity

    @property
    def broken(self) -> list[Reading]:
        """The live versions that it breaks."""
        return [reading for reading in self.readings if reading.breaks]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "differences": [
                {"subject": item.subject, "mark": item.mark, "kind": item.kind, "text": item.text}
                for item in self.differences
            ],
            "measured": self.measured.to_json() if self.measured is not None else None,
            "read_by": [reading.to_json() for reading in self.readings],
        }

    def lines(self) -> Iterator[str]:
        """Yield what a plan shows of it."""
        head = self.name.ljust(_WIDTH)
        subjects = max((len(item.subject) for item in self.differences), default=0)
        for item in self.differences:
            shown = "" if item.mark == "=" else item.subject.ljust(subjects)
            text = f"{item.kind}: {item.text}" if item.mark == "=" else f"{shown}  {item.text}"
            yield f"{head} {item.mark} {text}"
            head = " " * _WIDTH
        for reading in self.readings:
            columns = ", ".join(reading.columns)
            answer = f"  → {reading.answer}" if reading.answer is not None else ""
            yield f"  read by  model {reading.version}  {columns}{answer}".rstrip()
        if self.kind is Kind.BREAKING:
            broken = ", ".join(f"v{reading.number}" for reading in self.broken)
            yield f"  verdict  BREAKING{f' for {broken}' if broken else ''}"
        elif self.kind is not None and self.kind is not Kind.TEXT:
            yield f"  verdict  {self.kind}"


@dataclass(frozen=True)
class KeptTable:
    """A table that a version took the place of, or whose definition is gone.

    Attributes:
        name: Its bare name.
        read_by: The live versions that read it: it is computed on for them; empty: none does.
    """

    name: str
    read_by: str

    def __str__(self) -> str:
        """Return what a plan shows of it."""
        if self.read_by:
            return f"{self.name.ljust(_WIDTH)} = kept: computed on, by the code on record, for {self.read_by}"
        return f"{self.name.ljust(_WIDTH)} = not written any more; maintenance removes it after a time"


@dataclass
class ChangePlan:
    """What an edit does.

    Attributes:
        use_case: The use case's name.
        as_of: What was known by then was looked at.
        changes: What differs, in the order of the cycle.
        unchanged: Bare names of the tables that are as they are declared.
        undeclared: Tables that were written for definitions that are gone; they are never deleted.
        kept: Tables that models in use go on reading, or did, while a version or nothing took their place.
        notes: What could not be looked at.
        unknown: Those of the notes that say of which models in use it is not known what they read.
    """

    use_case: str
    as_of: datetime
    changes: list[PlannedChange] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    undeclared: list[str] = field(default_factory=list)
    kept: list[KeptTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind | None:
        """What the gravest change does; None without any."""
        return gravest([change.kind for change in self.changes if change.kind is not None])

    @property
    def is_breaking(self) -> bool:
        """Whether something breaking waits: also where values change, and it is not known what a model in use reads."""
        moves = self.kind is not None and self.kind.gravity >= Kind.RECOMPUTE.gravity
        return self.kind is Kind.BREAKING or (moves and bool(self.unknown))

    def change(self, name: str) -> PlannedChange | None:
        """Return what becomes of a table; None where nothing does."""
        return next((item for item in self.changes if item.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "use_case": self.use_case,
            "as_of": self.as_of.isoformat(),
            "kind": self.kind,
            "breaking": self.is_breaking,
            "changes": [change.to_json() for change in self.changes],
            "unchanged": self.unchanged,
            "undeclared": self.undeclared,
            "kept": [{"name": item.name, "read_by": item.read_by} for item in self.kept],
            "notes": self.notes,
        }

    def lines(self) -> Iterator[str]:
        """Yield what a plan shows."""
        for change in self.changes:
            yield from change.lines()
        if not self.changes:
            yield NOTHING
        yield from map(str, self.kept)
        for name in self.undeclared:
            yield f"{name.ljust(_WIDTH)} - not declared any more; what it holds stays until somebody drops it"
        for note in self.notes:
            yield f"Note: {note}"

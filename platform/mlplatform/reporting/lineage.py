"""Lineage and changes for the report: tables at their versions -> model version -> predictions; decided edits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlplatform.naming import Namespace
from mlplatform.ops.records import ChangeRecord, StageRecord
from mlplatform.ops.stage_runs import as_run
from mlplatform.recalibration.details import STAGE as RECALIBRATE
from mlplatform.recalibration.details import RecalibrationDetails
from mlplatform.reporting.formats import plural
from mlplatform.reporting.outcomes import VersionRows
from mlplatform.training.stage import NAME as TRAIN
from mlplatform.training.stage import TrainDetails


@dataclass(frozen=True)
class VersionLineage:
    """Where a model version comes from, and what it predicted.

    Attributes:
        version: The version.
        as_of: When it was made, in data time; None: not by a run on record, as one that was adopted.
        made: What it was made of, in words.
        tables: Table -> Delta version that it was made from; tables of the use case's own schema by their bare names.
        dataset_version: Fingerprint of inputs and labels; empty where there is none on record.
        predicted: What it predicted as champion; None: nothing yet.
    """

    version: int
    as_of: datetime | None
    made: str
    tables: tuple[tuple[str, int], ...] = ()
    dataset_version: str = ""
    predicted: VersionRows | None = None


@dataclass(frozen=True)
class DecidedEdit:
    """An edit of a use case that was decided about.

    Attributes:
        change_id: Its id.
        recorded_at: When, by the wall clock.
        as_of: Up to when tables were brought.
        kind: What its gravest difference does: `text only`, `additive`, `recompute`, `breaking`.
        by: Who ran the command; empty where that is unknown.
        reason: Why; empty where none was needed.
        lines: What it did, table by table: the table, what differed, and who read it.
        versions: Declared name -> version that is written from then on.
        given_up: What models in use read, and nothing computes on any more.
    """

    change_id: str
    recorded_at: datetime
    as_of: datetime
    kind: str
    by: str = ""
    reason: str = ""
    lines: tuple[tuple[str, str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    given_up: tuple[str, ...] = ()


def lineage_of(
    stages: Iterable[StageRecord], predicted: Iterable[VersionRows], namespace: Namespace
) -> tuple[VersionLineage, ...]:
    """Return where each version comes from, ascending.

    Args:
        stages: Records of the cycle, oldest first.
        predicted: What versions predicted.
        namespace: The use case's.
    """
    by_version = {item.version: item for item in predicted}
    found: dict[int, VersionLineage] = {}
    for record in stages:
        made = _made(record)
        # What is run again finds the version there, and may read its tables at later Delta versions.
        if made is None or made.version in found:
            continue
        version, words, digest, features = made.version, made.words, made.digest, made.tables
        tables = tuple((_bare(name, namespace), number) for name, number in {**record.inputs, **features}.items())
        found[version] = VersionLineage(version, record.as_of, words, tables, digest, by_version.get(version))
    for version, rows in by_version.items():
        if version not in found:
            found[version] = VersionLineage(version, None, "not made by a run that is on record", predicted=rows)
    return tuple(found[version] for version in sorted(found))


@dataclass(frozen=True)
class _Made:
    version: int
    words: str
    digest: str
    tables: Mapping[str, int]


def _made(record: StageRecord) -> _Made | None:
    """Return which version a stage made, and of what; None: none."""
    if record.stage == TRAIN:
        trained = as_run(record, TrainDetails).details
        if trained.version is None:
            return None
        rows = f"trained on {plural(trained.training_rows, 'labelled row')}"
        more = f", a sample of {trained.known_rows:,}" if trained.known_rows > trained.training_rows else ""
        return _Made(trained.version, rows + more, trained.dataset_version, trained.feature_tables)
    if record.stage == RECALIBRATE:
        moved = as_run(record, RecalibrationDetails).details
        if moved.version is None or moved.dry_run:
            return None
        words = f"recalibrated from version {moved.origin}, whose features it reads"
        return _Made(moved.version, words, moved.dataset_version, {})
    return None


def _bare(name: str, namespace: Namespace) -> str:
    model = namespace.model
    return name.removeprefix(f"{model.catalog}.{model.schema}.")


def edits_of(changes: Iterable[ChangeRecord]) -> tuple[DecidedEdit, ...]:
    """Return the edits that were decided about, the newest first.

    Args:
        changes: As recorded, oldest first.
    """
    return tuple(
        DecidedEdit(
            change_id=change.change_id,
            recorded_at=change.recorded_at,
            as_of=change.as_of,
            kind=change.kind,
            by=change.decided_by or "",
            reason=change.reason or "",
            lines=tuple(line for planned in change.plan.get("changes", ()) for line in _lines(planned)),
            versions=tuple(sorted(change.versions.items())),
            given_up=tuple(change.given_up),
        )
        for change in reversed(list(changes))
    )


def _lines(planned: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield table, difference and readers of what a plan says of one table; what an older record lacks is left out."""
    readers = ", ".join(str(item.get("shown_as", "")) for item in planned.get("read_by", ()))
    for item in planned.get("differences", ()):
        subject = "" if item.get("mark") == "=" else f"{item.get('subject', '')}: "
        yield str(planned.get("name", "")), f"{subject}{item.get('text', '')} ({item.get('kind', '')})", readers

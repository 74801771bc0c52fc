"""The label frame: spine rows whose label was known by a time, sorted so that the same data gives the same frame.

The engine counts, joins and draws; at most so many rows are collected as a training or a gate takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

import narwhals as nw
import pyarrow as pa

from mlplatform.as_of import Duration, parse_as_of, shown
from mlplatform.config.training import TrainingSettings
from mlplatform.errors import LabelError
from mlplatform.naming import Namespace
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine

_MOST_SHOWN = 5


@dataclass(frozen=True)
class LabelFrame:
    """Spine rows with their known labels: all of them, or a sample.

    Attributes:
        rows: Keys, prediction time, spine columns, label, `label_known_at`; sorted by prediction time and keys. Of
            several classes the label is the number of its class, as `double`.
        versions: Table -> Delta version of what it was read from.
        known_rows: How many labelled rows were known; more than the frame has, where it is a sample.
        as_of: Labels known by then are in it.
        sampled: Whether it was drawn from more rows, whatever was left out of it since.
    """

    rows: pa.Table
    versions: dict[str, int]
    known_rows: int
    as_of: datetime
    sampled: bool = False

    @property
    def digest(self) -> str:
        """Fingerprint of the rows: the same rows give the same text, whatever the tables' versions."""
        return table_digest(self.rows)

    @property
    def is_sample(self) -> bool:
        """Whether more rows were known than it has."""
        return self.known_rows > self.rows.num_rows

    def __str__(self) -> str:
        """Return how many labelled rows of how many it has."""
        return f"{self.rows.num_rows} labelled rows{f' of {self.known_rows}' if self.is_sample else ''}"


@dataclass(frozen=True)
class ClassCounts:
    """How many labels there are; of a classification, how many of each class (of a regression they say nothing)."""

    rows: int
    of_classes: tuple[int, ...]

    @property
    def rarer(self) -> int:
        """Rows of the rarest class."""
        return min(self.of_classes)


@dataclass(frozen=True)
class KnownLabels:
    """The labels known by a time, where they are: counted, joined and drawn by the engine, at pinned versions.

    Use `KnownLabels.at`.

    Attributes:
        ws: The workspace.
        namespace: The use case's.
        spine: The use case's label spine.
        as_of: The time.
        known: Conditions on when a label was known.
        window: Conditions on the prediction time.
        versions: Table -> Delta version.
        apart: Stretches of prediction times, the start excluded, whose rows are left out.
    """

    ws: Workspace
    namespace: Namespace
    spine: LabelSpine
    as_of: datetime
    known: tuple[Filter, ...]
    window: tuple[Filter, ...]
    versions: dict[str, int]
    apart: tuple[tuple[datetime, datetime], ...] = ()

    @classmethod
    def at(
        cls,
        ws: Workspace,
        namespace: Namespace,
        spine: LabelSpine,
        as_of: datetime,
        *,
        after: datetime | None = None,
        until: datetime | None = None,
    ) -> KnownLabels:
        """Return the labels known by `as_of`; see `known_labels`."""
        window: list[Filter] = []
        if after is not None:
            window.append((spine.prediction_time, ">", after))
        if until is not None:
            window.append((spine.prediction_time, "<=", until))
        versions = {str(name): ws.tables.version(name) for name in (namespace.gold(LABELS), namespace.gold(SPINE))}
        return cls(ws, namespace, spine, as_of, ((LABEL_KNOWN_AT, "<=", as_of),), tuple(window), versions)

    def newer_than(self, moment: datetime) -> KnownLabels:
        """Return those of them that were not known by a moment."""
        return replace(self, known=(*self.known, (LABEL_KNOWN_AT, ">", moment)))

    def without(self, start: datetime, end: datetime) -> KnownLabels:
        """Return them without those of prediction times after `start`, up to `end`."""
        return replace(self, apart=(*self.apart, (start, end)))

    def count(self, newer_than: datetime) -> tuple[int, ClassCounts]:
        """Count them, and those of them that were not known by a moment, in one aggregate."""
        label, newer = nw.col(self.spine.label).cast(nw.Float64()), nw.col(LABEL_KNOWN_AT) > newer_than
        classes = range(max(2, len(self.spine.settings.kind_of_task.classes)))
        parts = {"rows": newer} | {f"class_{place}": newer & (label == place) for place in classes}
        counted = self._labels().select(
            nw.len().alias("all"), *(part.cast(nw.Int64()).sum().alias(name) for name, part in parts.items())
        )
        (counts,) = self.ws.frames.collect(counted, at_most=1, what="the number of known labels").to_pylist()
        newer_rows, *of_classes = (int(counts[name] or 0) for name in parts)
        return counts["all"], ClassCounts(newer_rows, tuple(of_classes))

    def frame(self, *, at_most: int, seed: int, rows: int | None = None) -> LabelFrame:
        """Return them with their spine rows; of more than `at_most`, a sample.

        The sample is a function of keys and seed alone: the order of the rows, files and homes make no difference, and
        a smaller one is a part of a larger one. Each row is as likely as another, whatever its label.

        Args:
            at_most: How many rows.
            seed: Of the sample.
            rows: How many labels are known, where they have been counted.

        Raises:
            LabelError: If no label was known yet, or one is none of the declared classes.
        """
        known_rows = self.ws.frames.count(self._labels()) if rows is None else rows
        if not known_rows:
            after = [value for _, operator, value in self.window if operator == ">"]
            since = f" for predictions after {shown(after[0])}" if after else ""
            raise LabelError(
                f"No label of {self.namespace.use_case} is known at {shown(self.as_of)}{since}.",
                hint=f"A label is known {self.spine.settings.label.horizon} after its prediction: choose a later "
                "--as-of.",
            )
        keys, labels = list(self.spine.primary_keys), self._labels()
        if known_rows > at_most:
            labels = self.ws.frames.sample(labels, keys=keys, at_most=at_most, seed=seed)
        facts = self._read(SPINE, (self.spine.prediction_time, "<=", self.as_of), *self.window)
        columns = [*facts.collect_schema().names(), self.spine.label, LABEL_KNOWN_AT]
        joined = facts.join(labels, on=keys, how="inner").select(*columns)
        table = self.ws.frames.collect(joined, at_most=at_most, what="labelled rows of the spine")
        if table.column(self.spine.label).null_count:
            raise self._not_of_the_classes()
        return LabelFrame(
            rows=table.sort_by(self.spine.order).combine_chunks(),
            versions=self.versions,
            known_rows=known_rows if known_rows > at_most else table.num_rows,
            as_of=self.as_of,
            sampled=known_rows > at_most,
        )

    def _labels(self) -> Frame:
        columns = [*self.spine.primary_keys, self.spine.label, LABEL_KNOWN_AT]
        labels = self._read(LABELS, *self.known, *self.window).select(*columns)
        task = self.spine.settings.kind_of_task
        if task.is_multiclass:
            labels = labels.with_columns(class_number(self.spine.label, task.classes).alias(self.spine.label))
        return labels

    def _not_of_the_classes(self) -> LabelError:
        label, classes = self.spine.label, self.spine.settings.kind_of_task.classes
        labels = self._read(LABELS, *self.known, *self.window).select(label)
        others = labels.filter(class_number(label, classes).is_null()).unique()
        found = self.ws.frames.collect(others.head(_MOST_SHOWN), at_most=_MOST_SHOWN, what="labels of other classes")
        shown_labels = ", ".join(sorted(map(str, found.column(label).to_pylist())))
        return LabelError(
            f"Labels of {self.namespace.use_case} are none of label.classes ({', '.join(classes)}): {shown_labels}.",
            hint="Add them at the end of label.classes, or let an expectation of the table quarantine such rows.",
        )

    def _read(self, table: str, *filters: Filter) -> Frame:
        name, time = self.namespace.gold(table), nw.col(self.spine.prediction_time)
        rows = self.ws.frames.read(name, version=self.versions[str(name)], filters=filters)
        for start, end in self.apart:
            rows = rows.filter((time <= start) | (time > end))
        return rows


def known_labels(
    ws: Workspace,
    namespace: Namespace,
    spine: LabelSpine,
    as_of: datetime,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> LabelFrame:
    """Return the rows whose label was known by `as_of`; of more than `training.max_rows`, the sample of a training.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        as_of: The time.
        after: Only predictions later than this.
        until: Only predictions up to this.

    Raises:
        LabelError: If no label was known yet.
    """
    options = spine.settings.training
    known = KnownLabels.at(ws, namespace, spine, as_of, after=after, until=until)
    return known.frame(at_most=options.max_rows, seed=options.seed)


def training_start(options: TrainingSettings, as_of: datetime) -> datetime | None:
    """Return the time after which spine rows are trained on, by `training.since` and `training.window`; None: all."""
    after = parse_as_of(options.since) if options.since else None
    if options.window:
        start = Duration.parse(options.window).before(as_of)
        after = max(after, start) if after else start
    return after


def table_digest(rows: pa.Table) -> str:
    """Return a fingerprint of a table's names, types and values, in row order."""
    total = hashlib.sha256()
    sink = pa.BufferOutputStream()
    compact = rows.combine_chunks().replace_schema_metadata(None)
    schema = pa.schema([pa.field(field.name, field.type) for field in compact.schema])
    # One batch, freshly taken: slices and chunking must not show in the bytes.
    whole = pa.table([column.combine_chunks() for column in compact.columns], schema=schema)
    whole = whole.take(pa.array(range(whole.num_rows), pa.int64()))
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(whole)
    total.update(sink.getvalue())
    return total.hexdigest()[:16]

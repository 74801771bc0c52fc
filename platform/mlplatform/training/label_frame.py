"""The label frame: spine rows whose label was known by a time, sorted so that the same data gives the same frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from mlplatform.as_of import Duration, parse_as_of, shown
from mlplatform.config.settings import TrainingSettings
from mlplatform.errors import LabelError
from mlplatform.naming import Namespace
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine


@dataclass(frozen=True)
class LabelFrame:
    """Spine rows with their known labels.

    Attributes:
        rows: Keys, prediction time, spine columns, label, `label_known_at`; sorted by prediction time and keys.
        versions: Table -> Delta version of what it was read from.
    """

    rows: pa.Table
    versions: dict[str, int]

    @property
    def digest(self) -> str:
        """Fingerprint of the rows: the same rows give the same text, whatever the tables' versions."""
        return table_digest(self.rows)


def sample(frame: LabelFrame, rows: int, seed: int) -> LabelFrame:
    """Return a random sample of a label frame, in the frame's order; the whole frame when it has no more rows.

    Args:
        frame: The frame.
        rows: Size of the sample.
        seed: The same seed and frame give the same sample.
    """
    if frame.rows.num_rows <= rows:
        return frame
    import numpy as np

    chosen = np.sort(np.random.default_rng(seed).choice(frame.rows.num_rows, rows, replace=False))
    return LabelFrame(rows=frame.rows.take(chosen).combine_chunks(), versions=frame.versions)


def known_labels(
    ws: Workspace,
    namespace: Namespace,
    spine: LabelSpine,
    as_of: datetime,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> LabelFrame:
    """Return the rows whose label was known by `as_of`.

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
    labels, rows = namespace.gold(LABELS), namespace.gold(SPINE)
    time = spine.prediction_time
    window: list[Filter] = []
    if after is not None:
        window.append((time, ">", after))
    if until is not None:
        window.append((time, "<=", until))
    versions = {str(name): ws.tables.version(name) for name in (labels, rows)}
    known_rows = ws.tables.to_arrow(
        labels, at_most=10**9, version=versions[str(labels)], filters=[(LABEL_KNOWN_AT, "<=", as_of), *window]
    )
    if not known_rows.num_rows:
        since = f" for predictions after {shown(after)}" if after else ""
        raise LabelError(
            f"No label of {namespace.use_case} is known at {shown(as_of)}{since}.",
            hint=f"A label is known {spine.settings.label.horizon} after its prediction: choose a later --as-of.",
        )
    facts = ws.tables.to_arrow(rows, at_most=10**9, version=versions[str(rows)], filters=[(time, "<=", as_of), *window])
    joined = facts.join(known_rows, keys=list(spine.primary_keys), join_type="inner")
    columns = [*facts.column_names, spine.label, LABEL_KNOWN_AT]
    return LabelFrame(rows=joined.select(columns).sort_by(spine.order).combine_chunks(), versions=versions)


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

"""Gold and features: the tables hold the rows that their inputs give now, computed whole once more beside them.

Rows are told by their keys. Values are not compared: a sum of floating-point numbers depends on the order, and a file
that changed shows by its checksum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import narwhals as nw

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.features.adopted import first_computed
from mlplatform.features.computing import compute
from mlplatform.features.stage import NAME as FEATURES
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import Filter
from mlplatform.refine.as_of_view import view_at
from mlplatform.refine.gold_refining import gold_tables
from mlplatform.refine.silver_refining import NAME as REFINE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GOLD, FEATURE = "gold: rows that silver gives", "features: rows that silver gives"


def look(subject: Subject) -> Iterator[Finding]:
    """Look at the spine, the labels, and each feature table."""
    context, names = subject.context, subject.context.namespace
    spine = subject.use_case.label_spine()
    silver = [name for name in spine.inputs if name.startswith("silver_")]
    for gold in gold_tables(spine):
        table = names.gold(gold.name)
        if subject.holds(REFINE, table):
            view = view_at(context, allowed=spine.inputs)
            rows = gold.rows(view, None)
            way_out = silver[:1]
            yield _compare(
                subject,
                GOLD,
                table,
                rows,
                spine.primary_keys,
                [(gold.known_at, "<=", context.as_of)],
                way_out,
            )
    for cls in subject.use_case.features:
        feature, table = cls(), names.features(cls.name)
        if not subject.holds(FEATURES, table):
            continue
        view, first = view_at(context, allowed=cls.inputs), first_computed(context, table)
        within: list[Filter] = [(cls.timeseries_column, "<=", context.as_of)]
        if first is not None:
            within.append((cls.timeseries_column, ">=", first))
        rows = compute(feature, view, first)
        yield _compare(subject, FEATURE, table, rows, cls.primary_keys, within, [f"features_{cls.name}"])


def _compare(
    subject: Subject,
    check: str,
    table: ObjectName,
    computed: DataFrame,
    keys: Sequence[str],
    within: Sequence[Filter],
    rebuilt: Sequence[str],
) -> Finding:
    """Compare the keys of a table with those of its rows computed anew."""
    frames, columns = subject.ws.frames, list(keys)
    with frames.staged(computed) as rows:
        held = frames.read(table, columns=columns, filters=within)
        kinds = held.collect_schema()
        expected = rows.select(*(nw.col(key).cast(kinds[key]) for key in columns))
        missing = frames.count(expected.join(held, on=columns, how="anti"))
        more = frames.count(held.join(expected, on=columns, how="anti"))
        several = held.group_by(columns).agg(nw.len().alias("__rows")).filter(nw.col("__rows") > 1)
        repeated, total = frames.count(several), frames.count(held)
    told = [
        f"{count} {what}"
        for count, what in (
            (missing, "row(s) are missing"),
            (more, "row(s) are in it that its inputs do not give"),
            (repeated, "key(s) are in it more than once"),
        )
        if count
    ]
    if told:
        listed = " ".join(f"--table {name}" for name in rebuilt)
        way_out = f"mlplatform rebuild {subject.name} {listed} --as-of {subject.at}"
        return Finding(check, str(table), "problem", f"{', '.join(told)}; it has {total}.", way_out)
    return Finding(check, str(table), "ok", f"{total} row(s), as its inputs give.")

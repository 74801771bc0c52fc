"""Every feature of a use case: where it is, of what type, how old, how often null, and which model versions read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw

from mlplatform.errors import FeatureStoreError, MissingVersionError
from mlplatform.features.spec_lookups import spec_of
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace
from mlplatform.protocols.workspace import Workspace
from mlplatform.types import spark_type

_NOT_COMPUTED = "not computed yet"


@dataclass(frozen=True)
class ListedFeature:
    """One feature.

    Attributes:
        use_case: The use case that computes it.
        feature: The column.
        table: The table's full name.
        type: Its Spark type; empty where it is not declared and the table does not exist.
        description: The column's, else the table's.
        owner: Who is asked about the use case.
        keys: What it is looked up by.
        newest: The newest known-at time in the table; None without any, or without a timeseries column.
        rows: Rows of the table; None where they were not counted.
        null_share: Share of rows without a value; None where it was not counted, or there is no row.
        read_by: Aliases whose versions read it, each with its version, such as `champion (v3)`.
    """

    use_case: str
    feature: str
    table: str
    type: str
    description: str
    owner: str
    keys: tuple[str, ...]
    newest: datetime | None = None
    rows: int | None = None
    null_share: float | None = None
    read_by: tuple[str, ...] = ()

    def matches(self, text: str) -> bool:
        """Tell whether a text is in the feature's name, table, description or owner, whatever the case."""
        wanted = text.casefold()
        return any(wanted in part.casefold() for part in (self.feature, self.table, self.description, self.owner))


def list_features(
    ws: Workspace, namespace: Namespace, tables: Mapping[str, FeatureTable], owner: str, *, counts: bool = True
) -> list[ListedFeature]:
    """Return the features of a use case, by table, in the order of their columns.

    Args:
        ws: The workspace.
        namespace: The use case's.
        tables: Its feature tables by name.
        owner: Who is asked about it.
        counts: Count rows and nulls, which reads the tables.

    Raises:
        TableError: If a table cannot be read.
        RegistryError: If the registry cannot be read.
    """
    readers = _readers(ws, namespace)
    return [
        item for table in tables.values() for item in _of_table(ws, namespace, table, owner, readers, counts=counts)
    ]


def _of_table(
    ws: Workspace,
    namespace: Namespace,
    table: FeatureTable,
    owner: str,
    readers: Mapping[tuple[str, str], tuple[str, ...]],
    *,
    counts: bool,
) -> list[ListedFeature]:
    name = namespace.features(table.name)
    declared = {column.name: column for column in table.columns}
    if not ws.tables.exists(name):
        return [
            ListedFeature(
                namespace.use_case,
                column.name,
                str(name),
                column.type,
                f"{column.comment} ({_NOT_COMPUTED})",
                owner,
                table.primary_keys,
            )
            for column in declared.values()
            if column.name not in table.primary_keys
        ]
    info = ws.tables.describe(name)
    rows, nulls = _counted(ws, str(name), info.features) if counts else (None, {})
    newest = ws.tables.largest(name, info.timeseries_column) if info.timeseries_column else None
    return [
        ListedFeature(
            use_case=namespace.use_case,
            feature=feature,
            table=str(name),
            type=spark_type(info.schema.field(feature).type),
            description=(declared[feature].comment if feature in declared else "") or info.description,
            owner=owner,
            keys=info.primary_keys,
            newest=newest,
            rows=rows,
            null_share=nulls[feature] / rows if rows else None,
            read_by=readers.get((str(name), feature), ()),
        )
        for feature in info.features
    ]


def _counted(ws: Workspace, name: str, features: list[str]) -> tuple[int, dict[str, int]]:
    """Return how many rows a table has, and of each feature how many nulls."""
    asked = [nw.len().alias("__rows"), *(nw.col(feature).is_null().sum().alias(feature) for feature in features)]
    frame = ws.frames.read(name).select(*asked)
    (row,) = ws.frames.collect(frame, at_most=1, what=f"rows and nulls of {name}").to_pylist()
    return row["__rows"], {feature: int(row[feature] or 0) for feature in features}


def _readers(ws: Workspace, namespace: Namespace) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (table, feature) -> the aliases whose versions read it."""
    found: dict[tuple[str, str], list[str]] = {}
    for alias, number in sorted(ws.registry.aliases(namespace.model).items()):
        try:
            spec = spec_of(ws, ws.registry.get(namespace.model, number))
        except (FeatureStoreError, MissingVersionError):
            continue  # a model without lookups reads no feature table
        for column in spec.features:
            found.setdefault((column.table_name, column.feature_name), []).append(f"{alias} (v{number})")
    return {place: tuple(dict.fromkeys(names)) for place, names in found.items()}

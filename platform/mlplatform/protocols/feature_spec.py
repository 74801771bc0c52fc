"""The feature spec: what a model needs looked up and computed; it travels with the model as `feature_spec.yaml`.

The file is the real client's, at serialization version 11: `FeatureSpec.load` of either side reads the other's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from mlplatform.config.yaml_file import read_yaml
from mlplatform.errors import ConfigError, FeatureStoreError, shortened

FILE_NAME = "feature_spec.yaml"
SERIALIZATION_VERSION = 11
# A spec is written by a program, and may name thousands of features; a thousand years is no lookback.
_LARGEST, _LONGEST_LOOKBACK = 50_000_000, 1000 * 366 * 86_400.0

_TRAINING_DATA, _FEATURE_STORE, _ON_DEMAND = "training_data", "feature_store", "on_demand_feature"


@dataclass(frozen=True)
class SourceColumn:
    """A column that comes with the spine."""

    output_name: str
    include: bool = True
    data_type: str | None = None
    topological_ordering: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is computed from: none."""
        return ()


@dataclass(frozen=True)
class FeatureColumn:
    """A column that is looked up in a feature table."""

    output_name: str
    table_name: str
    feature_name: str
    lookup_key: tuple[str, ...]
    timestamp_lookup_key: tuple[str, ...] = ()
    default_value: str | None = None
    include: bool = True
    data_type: str | None = None
    topological_ordering: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is looked up by."""
        return (*self.lookup_key, *self.timestamp_lookup_key)


@dataclass(frozen=True)
class FunctionColumn:
    """A column that a function computes."""

    output_name: str
    udf_name: str
    input_bindings: dict[str, str] = field(default_factory=dict)
    include: bool = True
    data_type: str | None = None
    topological_ordering: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns bound to its parameters."""
        return tuple(self.input_bindings.values())


SpecColumn = SourceColumn | FeatureColumn | FunctionColumn


@dataclass(frozen=True)
class SpecTable:
    """A table that the spec reads; the lookback is in seconds."""

    table_name: str
    table_id: str = ""
    lookback_window: float | None = None


@dataclass(frozen=True)
class FeatureSpec:
    """Columns in order (spine, lookups, functions), and the tables and functions behind them.

    Attributes:
        columns: Every column that the model gets, or that one of those is computed from.
        tables: The tables, sorted by name.
        functions: The functions' names, sorted.
        workspace_id: The Databricks workspace; 0 at home.
        client_version: What wrote the spec.
        serialization_version: The layout of the file.
    """

    columns: tuple[SpecColumn, ...]
    tables: tuple[SpecTable, ...] = ()
    functions: tuple[str, ...] = ()
    workspace_id: int = 0
    client_version: str = ""
    serialization_version: int = SERIALIZATION_VERSION

    @property
    def sources(self) -> list[SourceColumn]:
        """The columns that come with the spine."""
        return [column for column in self.columns if isinstance(column, SourceColumn)]

    @property
    def features(self) -> list[FeatureColumn]:
        """The columns that are looked up."""
        return [column for column in self.columns if isinstance(column, FeatureColumn)]

    @property
    def computed(self) -> list[FunctionColumn]:
        """The columns that functions compute."""
        return [column for column in self.columns if isinstance(column, FunctionColumn)]

    @property
    def included(self) -> list[str]:
        """The columns that the model gets, in order."""
        return [column.output_name for column in self.columns if column.include]

    def lookback(self, table: str) -> float | None:
        """Return the lookback of a table in seconds, or None."""
        return next((item.lookback_window for item in self.tables if item.table_name == table), None)

    def with_types(self, types: dict[str, str]) -> FeatureSpec:
        """Return the spec with the columns' types filled in."""
        columns = tuple(replace(column, data_type=types[column.output_name]) for column in self.columns)
        return replace(self, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        content: dict[str, Any] = {"input_columns": [_column_to_dict(column) for column in self.columns]}
        if self.tables:
            content["input_tables"] = [_table_to_dict(table) for table in self.tables]
        if self.functions:
            content["input_functions"] = [{name: {}} for name in self.functions]
        # 64-bit integers are strings in the JSON form of a protocol buffer, which the file follows.
        content["workspace_id"] = str(self.workspace_id)
        content["feature_store_client_version"] = self.client_version
        content["serialization_version"] = self.serialization_version
        return content

    def save(self, path: str | Path) -> Path:
        """Write `feature_spec.yaml` into a folder.

        Returns:
            The file.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE_NAME
        file.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
        return file

    @classmethod
    def load(cls, path: str | Path) -> FeatureSpec:
        """Read `feature_spec.yaml` from a folder (or the file itself), ours or the real client's.

        Raises:
            FeatureStoreError: If there is no such file, or it is no feature spec.
        """
        file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
        try:
            content = read_yaml(file, what="input_columns", expected="input_columns", largest=_LARGEST).content
        except (OSError, ConfigError) as error:
            said = error.message if isinstance(error, ConfigError) else error
            raise FeatureStoreError(
                f"{file} cannot be read as a feature spec: {said}", hint="Models are logged with ws.fe.log_model."
            ) from None
        return cls.from_dict(content, of=str(file))

    @classmethod
    def from_dict(cls, content: Any, *, of: str = FILE_NAME) -> FeatureSpec:
        """Build the spec from the content of the file.

        Raises:
            FeatureStoreError: If it is no feature spec that we understand; the place is named.
        """
        if not isinstance(content, dict) or not content.get("input_columns"):
            raise FeatureStoreError(f"{of} has no input_columns.", hint="It is no feature spec, or a broken one.")
        if "features" in content or "data_sources" in content:
            raise FeatureStoreError(
                f"{of} holds declarative features.", hint="Only FeatureLookup and FeatureFunction are supported."
            )
        try:
            return cls(
                columns=tuple(_column(*_single(item)) for item in content["input_columns"]),
                tables=tuple(_table(*_single(item)) for item in content.get("input_tables") or []),
                functions=tuple(_single(item)[0] for item in content.get("input_functions") or []),
                workspace_id=int(content.get("workspace_id") or 0),
                client_version=str(content.get("feature_store_client_version") or ""),
                serialization_version=int(content.get("serialization_version") or 1),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, FeatureStoreError):
                raise
            raise FeatureStoreError(f"{of} is no feature spec: {error!r}", hint="Log the model again.") from None


def _single(item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ((name, attributes),) = item.items()
    return str(name), dict(attributes or {})


def _column_to_dict(column: SpecColumn) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if isinstance(column, FeatureColumn):
        source = _FEATURE_STORE
        attributes["table_name"] = column.table_name
        attributes["feature_name"] = column.feature_name
        attributes["lookup_key"] = list(column.lookup_key)
        if column.timestamp_lookup_key:
            attributes["timestamp_lookup_key"] = list(column.timestamp_lookup_key)
        if column.default_value is not None:
            attributes["default_value"] = column.default_value
    elif isinstance(column, FunctionColumn):
        source = _ON_DEMAND
        attributes["udf_name"] = column.udf_name
        if column.input_bindings:
            attributes["input_bindings"] = dict(column.input_bindings)
    else:
        source = _TRAINING_DATA
    if column.data_type is not None:
        attributes["data_type"] = column.data_type
    if not column.include:
        attributes["include"] = False
    if column.topological_ordering is not None:
        attributes["topological_ordering"] = column.topological_ordering
    attributes["source"] = source
    return {column.output_name: attributes}


def _column(name: str, attributes: dict[str, Any]) -> SpecColumn:
    ordering = attributes.get("topological_ordering")
    common: dict[str, Any] = {
        "output_name": name,
        "include": bool(attributes.get("include", True)),
        "data_type": attributes.get("data_type"),
        "topological_ordering": None if ordering is None else int(ordering),
    }
    source = attributes.get("source")
    if source == _TRAINING_DATA:
        return SourceColumn(**common)
    if source == _FEATURE_STORE:
        default = attributes.get("default_value")
        return FeatureColumn(
            **common,
            table_name=attributes["table_name"],
            feature_name=attributes["feature_name"],
            lookup_key=tuple(attributes["lookup_key"]),
            timestamp_lookup_key=tuple(attributes.get("timestamp_lookup_key") or ()),
            default_value=None if default in {None, ""} else str(default),
        )
    if source == _ON_DEMAND:
        return FunctionColumn(
            **common, udf_name=attributes["udf_name"], input_bindings=dict(attributes.get("input_bindings") or {})
        )
    raise FeatureStoreError(f"Column {name!r} has the unknown source {source!r}.", hint="Was the file edited?")


def _table_to_dict(table: SpecTable) -> dict[str, Any]:
    attributes: dict[str, Any] = {"table_id": table.table_id}
    if table.lookback_window is not None:
        attributes["lookback_window"] = table.lookback_window
    return {table.table_name: attributes}


def _table(name: str, attributes: dict[str, Any]) -> SpecTable:
    lookback = attributes.get("lookback_window")
    seconds = None if lookback is None else float(lookback)
    if seconds is not None and not 0 <= seconds <= _LONGEST_LOOKBACK:  # NaN is neither
        raise FeatureStoreError(
            f"Table {name!r} has the lookback window {shortened(lookback)}: no number of seconds from zero on.",
            hint="Was the file edited?",
        )
    return SpecTable(name, str(attributes.get("table_id") or ""), seconds)

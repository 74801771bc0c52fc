"""What a use case declares, as values that can be compared with what a workspace holds."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from mlplatform.code_digest import code_digest
from mlplatform.features import stage as features_stage
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.stored_table import declared_schema
from mlplatform.features.table import FeatureTable
from mlplatform.ingest.source import Source
from mlplatform.naming import Namespace, ObjectName
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.protocols.table_checks import keyed_schema
from mlplatform.protocols.tables import TableInfo
from mlplatform.refine import gold_refining
from mlplatform.refine.gold_refining import GoldTable, gold_tables, spine_digest
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.spine import LabelSpine

MODEL_CODE = "model code"
"""Under which the digest of what models hold is on record; no name of a table or function."""
Part = Source | SilverTable | GoldTable | FeatureTable


@dataclass(frozen=True)
class DeclaredTable:
    """A table that a use case declares.

    Attributes:
        name: The table, in the version that is written.
        bare: Its bare name as it is declared, which code reads it by.
        part: What declares it.
        stage: The stage that writes it, and records by which code.
        schema: Its columns, as it is created with them.
        primary_keys: The columns that identify a row; empty for a table without keys.
        timeseries_column: The column that says when a row was known, or None.
        description: Its comment.
        code: Digest of the code and settings that compute it; empty where none do.
        inputs: Bare names, as declared, of the tables that it is computed from.
    """

    name: ObjectName
    bare: str
    part: Part
    stage: str
    schema: pa.Schema
    primary_keys: tuple[str, ...] = ()
    timeseries_column: str | None = None
    description: str = ""
    code: str = ""
    inputs: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """All that decides which columns and values it holds, as text; comments and descriptions do not."""
        columns = [f"{field.name} {field.type} {field.nullable}" for field in self.schema]
        return "\n".join([*columns, *self.primary_keys, str(self.timeseries_column), self.code, *self.inputs])

    @property
    def features(self) -> list[str]:
        """The columns that are no keys."""
        return [name for name in self.schema.names if name not in self.primary_keys]

    def beside(self, existing: TableInfo) -> DeclaredTable:
        """Return it as the next run holds it against the table that exists.

        Args:
            existing: The table.
        """
        if not isinstance(self.part, FeatureTable):
            return self
        schema = declared_schema(self.part, existing)
        return replace(self, schema=keyed_schema(self.name, schema, self.primary_keys, self.timeseries_column))


@dataclass(frozen=True)
class Declarations:
    """All that a use case declares of its data.

    Attributes:
        sources: Where data lands.
        silver: Cleaned, typed tables.
        spine: Whom to predict for, when, and the label.
        features: Feature tables.
        functions: Feature functions.
        lookups: What the next training looks up and computes.
        exclude_columns: Columns that the next model does not get.
        trusted_types: Types beyond the platform's own allow-list that a model may hold.
    """

    sources: tuple[type[Source], ...]
    silver: tuple[type[SilverTable], ...]
    spine: LabelSpine
    features: tuple[type[FeatureTable], ...]
    functions: tuple[FeatureFunctionSpec, ...]
    lookups: Sequence[FeatureLookup | FeatureFunction]
    exclude_columns: tuple[str, ...] = ()
    trusted_types: tuple[str, ...] = ()

    @property
    def model_code(self) -> str:
        """Digest of the use case's own classes that stored models hold, as a transformer; empty: they hold none."""
        package = type(self.spine).__module__.rpartition(".")[0]
        own = [name for name in self.trusted_types if package and name.startswith(f"{package}.")]
        found = [item for item in map(_imported, own) if item is not None]
        return code_digest(*found, platform=False) if found else ""

    def digest(self, names: Namespace) -> str:
        """Return the digest of all that decides what tables and functions hold and give.

        Args:
            names: The use case's.
        """
        tables = [f"{table.name.name}\n{table.content}" for table in self.tables(names)]
        functions = [f"{names.table(item.name).name}\n{function_digest(item)}" for item in self.functions]
        parts = [*tables, *sorted(functions), *filter(None, [self.model_code])]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:16]

    def tables(self, names: Namespace) -> Iterator[DeclaredTable]:
        """Yield the declared tables, each after those that it is computed from.

        Args:
            names: The use case's.
        """
        for source in (source_type() for source_type in self.sources):
            yield DeclaredTable(
                name=names.bronze(source.name),
                bare=f"bronze_{source.name}",
                part=source,
                stage="ingest",
                schema=source.bronze_schema(),
                description=source.description,
            )
        for silver in (silver_type() for silver_type in self.silver):
            yield DeclaredTable(
                name=names.silver(silver.name),
                bare=f"silver_{silver.name}",
                part=silver,
                stage=gold_refining.NAME,
                schema=keyed_schema(silver.name, silver.schema(), silver.primary_keys, silver.known_at),
                primary_keys=silver.primary_keys,
                timeseries_column=silver.known_at,
                description=silver.description,
                code=silver.digest(),
                inputs=(f"bronze_{silver.source.name}",),
            )
        for gold in gold_tables(self.spine):
            yield DeclaredTable(
                name=names.gold(gold.name),
                bare=f"gold_{gold.name}",
                part=gold,
                stage=gold_refining.NAME,
                schema=keyed_schema(gold.name, gold.schema, self.spine.primary_keys, gold.known_at),
                primary_keys=self.spine.primary_keys,
                timeseries_column=gold.known_at,
                description=gold.description,
                code=spine_digest(self.spine),
                inputs=tuple(self.spine.inputs),
            )
        for table in (table_type() for table_type in self.features):
            yield DeclaredTable(
                name=names.features(table.name),
                bare=f"features_{table.name}",
                part=table,
                stage=features_stage.NAME,
                schema=keyed_schema(table.name, table.schema(), table.primary_keys, table.timeseries_column),
                primary_keys=table.primary_keys,
                timeseries_column=table.timeseries_column,
                description=table.description,
                code=code_digest(type(table)),
                inputs=tuple(table.inputs),
            )


def function_digest(function: FeatureFunctionSpec) -> str:
    """Return the digest of a feature function's code, parameters and result."""
    return code_digest(function.fn, settings=f"{function.parameters} {function.returns}", platform=False)


def codes_of(
    names: Namespace,
    silver: Iterable[type[SilverTable]],
    features: Iterable[type[FeatureTable]],
    functions: Iterable[FeatureFunctionSpec],
) -> dict[str, str]:
    """Return the digest of the code of each silver and feature table, and of each function, by its bare name.

    It is the use case's own code: another version of the platform gives the same digests. Functions are named in lower
    case, as they are registered.

    Args:
        names: The use case's.
        silver: Silver tables.
        features: Feature tables.
        functions: Feature functions.
    """
    codes = {names.silver(table.name).name: code_digest(table, platform=False) for table in silver}
    codes |= {names.features(table.name).name: code_digest(table, platform=False) for table in features}
    return codes | {names.table(item.name).name.lower(): function_digest(item) for item in functions}


def _imported(name: str) -> type | None:
    """Return a class by its full name; None where nothing of that name can be imported."""
    module, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last, None) if module else None
    except ImportError:
        return None
    return found if isinstance(found, type) else None

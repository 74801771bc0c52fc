"""What a workspace holds of a use case: its tables, by which code they were written, and what live models read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mlplatform.change.declared import DeclaredTable
from mlplatform.errors import FeatureStoreError
from mlplatform.features.adopted import first_computed
from mlplatform.features.spec_lookups import spec_of
from mlplatform.features.table import FeatureTable
from mlplatform.ingest.source import Source
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, ObjectName
from mlplatform.ops import changes, markers
from mlplatform.ops.context import StageContext
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.tables import TableInfo
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.freshness import ComputedDetails
from mlplatform.refine.gold_refining import GoldTable
from mlplatform.refine.silver import SilverTable, record_keys
from mlplatform.refine.spine import SPINE

LIVE = (CHAMPION, CHALLENGER, PREVIOUS_CHAMPION)
DEFINITION = "definition"
"""The subject of a difference: a definition is gone."""
_WRITTEN = ("bronze_", "silver_", "quarantine_", "features_")


@dataclass(frozen=True)
class Recorded:
    """What is on record of how a table was written.

    Attributes:
        code: Digest of the code; None: not recorded, or the table is not the one that was recorded.
        as_of: Up to which time it was computed; None where that is not recorded.
        batches: Bare name of each silver input -> the newest batch of it that was seen.
        since: The first moment that was computed: rows before it were adopted; None: all were computed.
    """

    code: str | None = None
    as_of: datetime | None = None
    batches: Mapping[str, int] | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class LiveVersion:
    """A model version behind an alias, and what it reads.

    Attributes:
        version: The version.
        aliases: Its aliases, the champion's first.
        spec: Its feature spec.
        spine: Full name of the use case's spine, which the model's other columns come from.
    """

    version: ModelVersion
    aliases: tuple[str, ...]
    spec: FeatureSpec
    spine: str

    @property
    def number(self) -> int:
        """The version's number."""
        return self.version.version

    def __str__(self) -> str:
        """Return the version with its aliases, as in `v8 @champion`."""
        return " ".join([f"v{self.number}", *(f"@{alias}" for alias in self.aliases)])

    def reads(self, table: ObjectName | str) -> tuple[str, ...]:
        """Return the columns of a table that the version is given, or that what it is given is computed from."""
        if str(table) == self.spine:
            return tuple(column.output_name for column in self.spec.sources)
        columns = (column.feature_name for column in self.spec.features if column.table_name == str(table))
        return tuple(dict.fromkeys(columns))

    @property
    def computes_with(self) -> tuple[str, ...]:
        """The full names of the functions that compute what the version is given."""
        return tuple(dict.fromkeys(column.udf_name for column in self.spec.computed))


def find(context: StageContext, name: ObjectName) -> TableInfo | None:
    """Return what is known about a table, its keys being what identifies a record; None if it does not exist."""
    if not context.ws.tables.exists(name):
        return None
    info = context.ws.tables.describe(name)
    return replace(info, primary_keys=record_keys(info.primary_keys))


def recorded(context: StageContext, table: DeclaredTable, info: TableInfo) -> Recorded:
    """Return what is on record of how an existing table was written."""
    part, name = table.part, table.name
    if not isinstance(part, SilverTable | GoldTable | FeatureTable) or markers.lost(context, table.stage, name, info):
        return Recorded()
    if isinstance(part, SilverTable):
        refining = markers.last(context, table.stage, name, RefineDetails)
        refined = refining.details.refined.get(name.name) if refining is not None else None
        return Recorded(refined.code) if refined is not None else Recorded()
    run = markers.last(context, table.stage, name, ComputedDetails)
    marker = run.details.computed.get(name.name) if run is not None else None
    if marker is None:
        return Recorded()
    since = first_computed(context, name) if isinstance(part, FeatureTable) else None
    return Recorded(marker.code, marker.as_of, marker.batches, since)


def live_versions(context: StageContext) -> tuple[list[LiveVersion], list[str]]:
    """Return the versions that have an alias, each once, and what kept one from being looked at.

    Raises:
        RegistryError: If the registry cannot be read: never taken for "no version is live".
    """
    registry, found, notes = context.ws.registry, [], []
    aliases = registry.aliases(context.model)
    for number in dict.fromkeys(aliases[alias] for alias in LIVE if alias in aliases):
        version = registry.get(context.model, number)
        named = tuple(alias for alias in LIVE if aliases.get(alias) == number)
        try:
            spec = spec_of(context.ws, version)
        except FeatureStoreError as error:
            notes.append(f"What version {number} ({', '.join(named)}) reads is not known: {error.message}")
            continue
        found.append(LiveVersion(version, named, spec, str(context.namespace.gold(SPINE))))
    return found, notes


def left_out(context: StageContext) -> dict[str, set[str]]:
    """Return the columns of each table that the newest change on record names as not declared any more.

    They stay in their tables, so that each plan finds them; each record names all of them.
    """
    found: dict[str, set[str]] = {}
    newest = changes.newest(context.ws, context.namespace)
    for change in newest.plan.get("changes", ()) if newest is not None else ():
        gone = {item["subject"] for item in change["differences"] if item["mark"] == "-"}
        found.setdefault(change["name"], set()).update(gone)
    return found


def let_go(context: StageContext) -> set[str]:
    """Return the tables and functions, by their bare names, of which somebody decided that they are not declared.

    A version took their place, or the newest change on record names their definition as gone or as kept.
    """
    names = changes.replaced(context.ws, context.namespace)
    newest = changes.newest(context.ws, context.namespace)
    plan = newest.plan if newest is not None else {}
    names |= {item["name"] for item in plan.get("kept", ())}
    for change in plan.get("changes", ()):
        if any((item["mark"], item["subject"]) == ("-", DEFINITION) for item in change["differences"]):
            names |= {change["name"], *(column for reading in change["read_by"] for column in reading["columns"])}
    return {name.lower() for name in names}


def undeclared(context: StageContext, declared: list[DeclaredTable]) -> list[ObjectName]:
    """Return the tables that the use case's stages wrote for definitions that it does not have any more."""
    names = context.namespace
    covered = {table.name.name for table in declared}
    covered |= {names.quarantine(table.part.name).name for table in declared if isinstance(table.part, Source)}
    covered |= {
        names.silver_quarantine(table.part.name).name for table in declared if isinstance(table.part, SilverTable)
    }
    covered |= {f"quarantine_{table.part.name}" for table in declared if isinstance(table.part, SilverTable)}
    schema = names.exactly(SPINE).schema
    held = context.ws.tables.list(names.catalog, schema)
    return [names.exactly(name) for name in held if name.startswith(_WRITTEN) and name not in covered]

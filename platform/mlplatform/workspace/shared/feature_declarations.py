"""From what somebody asks for to what is declared: of a training set, and of a feature spec that is kept by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.declaration import declare, looked_up, split
from mlplatform.features.named_spec import NamedSpec, inferred_sources, spelled_out
from mlplatform.features.training_set import make_plan
from mlplatform.naming import ObjectName
from mlplatform.workspace.shared.feature_specs import FeatureSpecs, SpecDeclaration
from mlplatform.workspace.shared.scoring import OpenTable, infos
from mlplatform.workspace.shared.training_set import Declaration

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup


@dataclass(frozen=True)
class WantedFeatures:
    """The features that somebody asks for, before anything is known of their tables and functions.

    Attributes:
        lookups: The lookups, in order.
        functions: The functions, in order.
        labels: The label columns.
        exclude_columns: Columns that are left out.
        extra_pip_requirements: What a named feature spec asks to go into the models.
    """

    lookups: Sequence[FeatureLookup]
    functions: Sequence[FeatureFunction]
    labels: Sequence[str] = ()
    exclude_columns: Sequence[str] = ()
    extra_pip_requirements: tuple[str, ...] = ()

    @property
    def table_names(self) -> Iterable[str]:
        """The tables that are looked up in."""
        return [lookup.table_name for lookup in self.lookups]

    @property
    def features(self) -> list[FeatureLookup | FeatureFunction]:
        """The lookups, then the functions."""
        return [*self.lookups, *self.functions]


def wanted_features(
    specs: FeatureSpecs,
    *,
    feature_lookups: Sequence[FeatureLookup | FeatureFunction] | None,
    feature_spec: str | None,
    features: Sequence[Any] | None,
    label: str | Sequence[str] | None,
    exclude_columns: Sequence[str] | None,
) -> WantedFeatures:
    """Return what a training set is asked to hold; see `create_training_set` of the feature client.

    Raises:
        FeatureStoreError: If it is asked for in two ways, there is no such feature spec, or something else is in the
            list.
    """
    if features is not None or (feature_lookups is not None and feature_spec is not None):
        raise FeatureStoreError(
            "A training set is made from feature_lookups or from a feature_spec, not from both or from features.",
            hint="Declare FeatureLookup and FeatureFunction, or name what create_feature_spec made.",
        )
    labels = [label] if isinstance(label, str) else list(label or ())
    excluded = [exclude_columns] if isinstance(exclude_columns, str) else list(exclude_columns or ())
    if feature_spec is None:
        return WantedFeatures(*split(feature_lookups), labels, excluded)
    named = specs.get(ObjectName.parse(feature_spec))
    return WantedFeatures(
        *split(named.features()), labels, [*excluded, *named.excluded()], named.extra_pip_requirements
    )


def training_set_declaration(
    wanted: WantedFeatures,
    spine: pa.Schema,
    tables: Mapping[str, OpenTable],
    registered: Mapping[str, FunctionInfo],
    *,
    use_timeseries_filtering: bool,
    rows: int | None,
) -> Declaration:
    """Return what a training set is declared as.

    Args:
        wanted: What is asked for.
        spine: The spine's columns, in normal types.
        tables: The tables that are looked up in.
        registered: The registered functions, by name.
        use_timeseries_filtering: Passed on to the real client.
        rows: Rows of the spine, where it came in memory; None: not counted.

    Raises:
        FeatureStoreError: If the declaration does not fit the spine, the tables or the functions.
    """
    spec = declare(
        spine.names,
        wanted.lookups,
        wanted.functions,
        labels=wanted.labels,
        exclude_columns=set(wanted.exclude_columns),
        tables=infos(tables),
        table_ids=_ids(tables),
        registered=registered,
    )
    outputs = [column.output_name for column in spec.columns]
    return Declaration(
        features=wanted.features,
        labels=wanted.labels,
        exclude_columns=wanted.exclude_columns,
        spec=spec,
        plan=make_plan(spec, spine, outputs=outputs, tables=infos(tables), functions=registered),
        functions=registered,
        extra_pip_requirements=wanted.extra_pip_requirements,
        use_timeseries_filtering=use_timeseries_filtering,
        rows=rows,
    )


def spec_declaration(
    name: ObjectName,
    wanted: WantedFeatures,
    tables: Mapping[str, OpenTable],
    registered: Mapping[str, FunctionInfo],
) -> SpecDeclaration:
    """Return what a feature spec is declared as: the columns that a spine has to bring follow from its features.

    Args:
        name: Its name.
        wanted: What is asked for.
        tables: The tables that are looked up in.
        registered: The registered functions, by name.

    Raises:
        FeatureStoreError: If the features do not fit tables or functions.
    """
    known = infos(tables)
    spelt_out = [spelled_out(lookup, looked_up(lookup, known[lookup.table_name])) for lookup in wanted.lookups]
    spec = declare(
        inferred_sources(spelt_out, wanted.functions),
        wanted.lookups,
        wanted.functions,
        labels=[],
        exclude_columns=set(wanted.exclude_columns),
        tables=known,
        table_ids=_ids(tables),
        registered=registered,
    )
    declared = NamedSpec(spec, wanted.extra_pip_requirements)
    return SpecDeclaration(name, wanted.features, wanted.exclude_columns, known, declared)


def _ids(tables: Mapping[str, OpenTable]) -> dict[str, str]:
    return {name: table.table_id for name, table in tables.items()}

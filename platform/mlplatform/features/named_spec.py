"""A feature spec that is kept under a name: from the declarations that make it, and back to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, FunctionColumn, SourceColumn, SpecColumn
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup


@dataclass(frozen=True)
class NamedSpec:
    """A feature spec with what else is kept with it.

    Attributes:
        spec: The spec.
        extra_pip_requirements: What its functions need; goes into the models that are trained on it.
    """

    spec: FeatureSpec
    extra_pip_requirements: tuple[str, ...] = ()

    def features(self) -> list[FeatureLookup | FeatureFunction]:
        """Return the lookups and functions that it was made of; columns of one lookup come as one lookup."""
        features: list[FeatureLookup | FeatureFunction] = []
        for source, columns in groupby(self.spec.columns, key=_source):
            if source is None:
                features.extend(
                    FeatureFunction(
                        udf_name=it.udf_name, input_bindings=dict(it.input_bindings), output_name=it.output_name
                    )
                    for it in columns
                    if isinstance(it, FunctionColumn)
                )
            else:
                features.append(self._lookup([it for it in columns if isinstance(it, FeatureColumn)]))
        return features

    def excluded(self) -> list[str]:
        """Return the columns that it leaves out of the result."""
        return [column.output_name for column in self.spec.columns if not column.include]

    def same_as(self, other: NamedSpec) -> bool:
        """Tell whether both say the same: which features, from where, and what is left out."""
        return self._content() == other._content()

    def _lookup(self, columns: Sequence[FeatureColumn]) -> FeatureLookup:
        first = columns[0]
        window = _microseconds(self.spec.lookback(first.table_name))
        return FeatureLookup(
            first.table_name,
            list(first.lookup_key),
            feature_names=[it.feature_name for it in columns],
            rename_outputs={it.feature_name: it.output_name for it in columns if it.output_name != it.feature_name},
            timestamp_lookup_key=list(first.timestamp_lookup_key) or None,
            lookback_window=None if window is None else timedelta(microseconds=window),
            default_values={it.output_name: it.default_value for it in columns if it.default_value is not None},
        )

    def _content(self) -> tuple[object, ...]:
        # What is left out and feeds nothing says nothing; not every writer keeps it.
        consumed = {name for it in self.spec.columns for name in it.inputs}
        columns = [
            (it.output_name, it.include, it.table_name, it.feature_name, it.lookup_key, it.timestamp_lookup_key,
             it.default_value)
            if isinstance(it, FeatureColumn)
            else (it.output_name, it.include, it.udf_name, tuple(sorted(it.input_bindings.items())))
            for it in self.spec.columns
            if not isinstance(it, SourceColumn) and (it.include or it.output_name in consumed)
        ]  # fmt: skip
        lookbacks = {it.table_name: _microseconds(it.lookback_window) for it in self.spec.tables}
        return columns, lookbacks, self.extra_pip_requirements


def inferred_sources(lookups: Iterable[FeatureLookup], functions: Iterable[FeatureFunction]) -> list[str]:
    """Return the columns that a spine has to bring, in the order in which they are first needed."""
    lookups, functions = list(lookups), list(functions)
    outputs = {name for it in lookups for name in (it.rename_outputs.get(n, n) for n in it.feature_names)}
    outputs |= {it.output_name or it.udf_name for it in functions}
    needed = [name for it in lookups for name in (*it.lookup_key, it.timestamp_lookup_key) if name]
    needed += [name for it in functions for name in it.input_bindings.values()]
    return [name for name in dict.fromkeys(needed) if name not in outputs]


def spelled_out(lookup: FeatureLookup, names: Sequence[str]) -> FeatureLookup:
    """Return the lookup with its features by name, where it says "all"."""
    return FeatureLookup(
        lookup.table_name,
        lookup.lookup_key,
        feature_names=list(names),
        rename_outputs=lookup.rename_outputs or None,
        timestamp_lookup_key=lookup.timestamp_lookup_key,
    )


def check_same(name: str, existing: NamedSpec, declared: NamedSpec) -> None:
    """Refuse to declare otherwise what exists under a name.

    Raises:
        FeatureStoreError: If they differ.
    """
    if not existing.same_as(declared):
        raise FeatureStoreError(
            f"There is a feature spec {name} already, and it says something else.",
            hint="Models may have been trained on it: take another name, or delete it by ws.fe.delete_feature_spec.",
        )


def _source(column: SpecColumn) -> tuple[object, ...] | None:
    if isinstance(column, FeatureColumn):
        return column.table_name, column.lookup_key, column.timestamp_lookup_key
    return None


def _microseconds(seconds: float | None) -> int | None:
    # The service keeps seconds as a double, and is handed half a microsecond more.
    return None if seconds is None else round(seconds * 1e6 - 0.25)

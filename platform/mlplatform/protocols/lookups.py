"""What a use case declares: which features to look up by which keys, and which functions to compute."""

from __future__ import annotations

import logging
import math
import numbers
from datetime import timedelta
from typing import Any

from mlplatform.errors import FeatureStoreError, did_you_mean

LOG = logging.getLogger(__name__)


class FeatureLookup:
    """Features of one table, looked up by keys of the spine; the constructor is the real client's.

    Examples:
        >>> FeatureLookup("dev.credit_risk.features_lender", "lender_id", feature_names="loans_12m",
        ...               timestamp_lookup_key="approved_at")
        FeatureLookup('dev.credit_risk.features_lender', lookup_key=['lender_id'], timestamp_lookup_key='approved_at')
    """

    def __init__(
        self,
        table_name: str,
        lookup_key: str | list[str],
        *,
        feature_names: str | list[str] | None = None,
        rename_outputs: dict[str, str] | None = None,
        timestamp_lookup_key: str | list[str] | None = None,
        lookback_window: timedelta | None = None,
        default_values: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Declare a lookup.

        Args:
            table_name: The feature table, by its three-level name.
            lookup_key: Columns of the spine (or outputs of other lookups or functions), matched to the table's primary
                keys by position, the timeseries column left out.
            feature_names: What to look up; None or empty: every column that is no key, alphabetically.
            rename_outputs: Output name by feature name.
            timestamp_lookup_key: The spine's time column; needed for a table with a timeseries column.
            lookback_window: How old a row may be, inclusive; zero takes rows of exactly the spine's time.
            default_values: Value by RENAMED feature name that replaces nulls and NaN in the end; None and '' are
                ignored.
            **kwargs: `feature_name` and `output_name`, the deprecated singular forms.

        Raises:
            FeatureStoreError: If an argument is not what it should be.
        """
        feature_name, output_name = kwargs.pop("feature_name", None), kwargs.pop("output_name", None)
        if kwargs:
            raise TypeError(f"FeatureLookup got unexpected keyword argument(s): {sorted(kwargs)}")
        self._table_name = str(table_name)
        self._lookup_key = _names(lookup_key, "lookup_key", self._table_name)
        if not self._lookup_key:
            raise FeatureStoreError(
                f"The lookup of {self._table_name} has no lookup_key.", hint="Name the key columns."
            )
        names = _names(feature_names, "feature_names", self._table_name)
        if feature_name is not None:
            if names:
                raise FeatureStoreError(
                    f"The lookup of {self._table_name} has both feature_names and feature_name.",
                    hint="Use feature_names alone; feature_name is deprecated.",
                )
            names = _names(feature_name, "feature_name", self._table_name)
        self._feature_names = names
        self._rename_outputs: dict[str, str] = dict(_mapping(rename_outputs, "rename_outputs", self._table_name))
        if output_name is not None and len(names) == 1:
            if self._rename_outputs:
                raise FeatureStoreError(
                    f"The lookup of {self._table_name} has both rename_outputs and output_name.",
                    hint="Use rename_outputs alone; output_name is deprecated.",
                )
            self._rename_outputs[names[0]] = output_name
        if feature_name is not None or output_name is not None:
            LOG.warning("feature_name and output_name are deprecated; use feature_names and rename_outputs.")
        self._timestamp_lookup_key = self._check_time(timestamp_lookup_key)
        self._lookback_window = self._check_lookback(lookback_window)
        self._default_values = self._check_defaults(default_values)

    @property
    def table_name(self) -> str:
        """The feature table."""
        return self._table_name

    @property
    def lookup_key(self) -> list[str]:
        """The columns that identify the entity, by the position of the table's keys."""
        return list(self._lookup_key)

    @property
    def feature_names(self) -> list[str]:
        """The features asked for; empty for all."""
        return list(self._feature_names)

    @property
    def rename_outputs(self) -> dict[str, str]:
        """Output name by feature name."""
        return dict(self._rename_outputs)

    @property
    def timestamp_lookup_key(self) -> str | None:
        """The spine's time column, if any."""
        return self._timestamp_lookup_key

    @property
    def lookback_window(self) -> timedelta | None:
        """How old a row may be, inclusive."""
        return self._lookback_window

    @property
    def default_values(self) -> dict[str, Any]:
        """Default by output name."""
        return dict(self._default_values)

    def output_name(self, feature: str) -> str:
        """Return the name under which a feature comes out."""
        return self._rename_outputs.get(feature, feature)

    def __repr__(self) -> str:
        """Return the table and keys."""
        time = f", timestamp_lookup_key={self._timestamp_lookup_key!r}" if self._timestamp_lookup_key else ""
        return f"FeatureLookup({self._table_name!r}, lookup_key={self._lookup_key}{time})"

    def _check_time(self, key: str | list[str] | None) -> str | None:
        names = _names(key, "timestamp_lookup_key", self._table_name)
        if len(names) > 1:
            raise FeatureStoreError(
                f"The lookup of {self._table_name} has {len(names)} timestamp lookup keys: {', '.join(names)}.",
                hint="Give one at most.",
            )
        return names[0] if names else None

    def _check_lookback(self, window: timedelta | None) -> timedelta | None:
        if window is None:
            return None
        if not isinstance(window, timedelta) or window < timedelta(0):
            raise FeatureStoreError(
                f"lookback_window {window!r} of the lookup of {self._table_name} is no timedelta of zero or more.",
                hint="Write datetime.timedelta(days=30), for example.",
            )
        if not self._timestamp_lookup_key:
            raise FeatureStoreError(
                f"The lookup of {self._table_name} has a lookback_window ({window}) but no timestamp_lookup_key.",
                hint="A lookback only makes sense at a point in time: name the spine's time column.",
            )
        return window

    def _check_defaults(self, defaults: dict[str, Any] | None) -> dict[str, Any]:
        values = dict(_mapping(defaults, "default_values", self._table_name))
        outputs = [self.output_name(name) for name in self._feature_names]
        for name, value in values.items():
            if name in self._rename_outputs:
                raise FeatureStoreError(
                    f"The default for {name!r} of {self._table_name} names the feature, which is renamed.",
                    hint=f"Key it by the output name, {self._rename_outputs[name]!r}.",
                )
            if outputs and name not in outputs:
                raise FeatureStoreError(
                    f"The default for {name!r} belongs to no feature looked up in {self._table_name}.",
                    hint=did_you_mean(name, outputs),
                )
            if not (value is None or isinstance(value, (bool, int, float, str)) or hasattr(value, "dtype")):
                raise FeatureStoreError(
                    f"The default for {name!r} of {self._table_name} is a {type(value).__name__}.",
                    hint="Defaults are int, float, bool or str.",
                )
            if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) and not math.isfinite(value):
                raise FeatureStoreError(
                    f"The default {value!r} for {name!r} of {self._table_name} is no finite number.",
                    hint="Give a number, or no default: then the model gets a missing value.",
                )
        return values


class FeatureFunction:
    """A registered Python function, computed on columns of the spine, looked-up features or other functions' outputs.

    Examples:
        >>> FeatureFunction(udf_name="Dev.risk.Ratio", input_bindings={"a": "paid", "b": "due"}, output_name="ratio")
        FeatureFunction('dev.risk.ratio', input_bindings={'a': 'paid', 'b': 'due'}, output_name='ratio')
    """

    def __init__(
        self, *, udf_name: str, input_bindings: dict[str, str] | None = None, output_name: str | None = None
    ) -> None:
        """Declare a use of a function.

        Args:
            udf_name: The function's three-level name; lower-cased.
            input_bindings: Column by parameter.
            output_name: The output's name; training sets ask for one.

        Raises:
            FeatureStoreError: If an argument is not what it should be.
        """
        if not isinstance(udf_name, str) or not udf_name:
            raise FeatureStoreError(f"udf_name {udf_name!r} is not a name.", hint="Give catalog.schema.function.")
        self._udf_name = udf_name.lower()
        self._input_bindings = dict(_mapping(input_bindings, "input_bindings", self._udf_name))
        if output_name is not None and not isinstance(output_name, str):
            raise FeatureStoreError(
                f"output_name {output_name!r} of {self._udf_name} is not a name.", hint="Give a str."
            )
        self._output_name = output_name

    @property
    def udf_name(self) -> str:
        """The function's name, in lower case."""
        return self._udf_name

    @property
    def input_bindings(self) -> dict[str, str]:
        """Column by parameter."""
        return dict(self._input_bindings)

    @property
    def output_name(self) -> str | None:
        """The output's name, if given."""
        return self._output_name

    def __repr__(self) -> str:
        """Return name, bindings and output."""
        return (
            f"FeatureFunction({self._udf_name!r}, input_bindings={self._input_bindings}, "
            f"output_name={self._output_name!r})"
        )


def _names(value: Any, argument: str, of: str) -> list[str]:
    if value is None:
        return []
    values = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [value]
    wrong = [item for item in values if not isinstance(item, str) or not item]
    if wrong:
        raise FeatureStoreError(
            f"{argument} of the lookup of {of} holds {wrong[0]!r} ({type(wrong[0]).__name__}).",
            hint="Give one column name or a flat list of them.",
        )
    return values


def _mapping(value: Any, argument: str, of: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FeatureStoreError(f"{argument} of {of} is a {type(value).__name__}.", hint="Give a dict.")
    for key in value:
        if not isinstance(key, str) or not key:
            raise FeatureStoreError(f"{argument} of {of} has the key {key!r}.", hint="Keys are names.")
    return value

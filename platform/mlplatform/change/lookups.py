"""What the next training looks up and computes, beside what a live version was trained on, which changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform.change.declared import Declarations
from mlplatform.change.differences import Difference, Kind
from mlplatform.change.existing import LiveVersion
from mlplatform.naming import Namespace
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, FunctionColumn
from mlplatform.protocols.lookups import FeatureLookup


def lookup_differences(names: Namespace, declared: Declarations, live: LiveVersion) -> Iterator[Difference]:
    """Yield the features that the next model is given and a live one is not, or the other way round.

    Args:
        names: The use case's.
        declared: What the use case declares.
        live: The live version.
    """
    wanted, known = dict(_wanted(names, declared)), dict(_known(live.spec))
    for output in sorted({*wanted, *known}):
        if output not in known:
            text = f"new input, from {wanted[output]}: from the next training on"
            yield Difference("+", output, Kind.ADDITIVE, text)
        elif output not in wanted:
            text = f"no input of the next model any more; {live} is given it as before"
            yield Difference("-", output, Kind.ADDITIVE, text)
        elif wanted[output] != known[output]:
            text = f"{known[output]} → {wanted[output]}: from the next training on"
            yield Difference("~", output, Kind.ADDITIVE, text)


def _wanted(names: Namespace, declared: Declarations) -> Iterator[tuple[str, str]]:
    features = {
        str(names.features(table.name)): [
            column.name for column in table.columns if column.name not in table.primary_keys
        ]
        for table in declared.features
    }
    spine = declared.spine
    for column in spine.columns:
        if column.name not in declared.exclude_columns:
            yield column.name, "the spine"
    for item in declared.lookups:
        if isinstance(item, FeatureLookup):
            window = item.lookback_window
            for feature in item.feature_names or features.get(item.table_name, []):
                output = item.output_name(feature)
                if output not in declared.exclude_columns:
                    seconds = window.total_seconds() if window is not None else None
                    yield output, _of_feature(item.table_name, feature, item.lookup_key, seconds)
        elif item.output_name and item.output_name not in declared.exclude_columns:
            yield item.output_name, _of_function(item.udf_name, dict(item.input_bindings))


def _known(spec: FeatureSpec) -> Iterator[tuple[str, str]]:
    for column in spec.columns:
        if not column.include:
            continue
        if isinstance(column, FeatureColumn):
            window = spec.lookback(column.table_name)
            yield column.output_name, _of_feature(column.table_name, column.feature_name, column.lookup_key, window)
        elif isinstance(column, FunctionColumn):
            yield column.output_name, _of_function(column.udf_name, column.input_bindings)
        else:
            yield column.output_name, "the spine"


def _of_feature(table: str, feature: str, keys: list[str] | tuple[str, ...], seconds: float | None) -> str:
    lookback = f", at most {seconds / 3600:g} hours old" if seconds is not None else ""
    return f"{table.rpartition('.')[2]}.{feature} by {', '.join(keys)}{lookback}"


def _of_function(name: str, bindings: dict[str, str]) -> str:
    return f"{name.rpartition('.')[2].lower()}({', '.join(f'{key}={bindings[key]}' for key in sorted(bindings))})"

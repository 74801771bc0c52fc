"""The order in which columns are computed when lookups and functions feed each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureColumn, FunctionColumn, SourceColumn, SpecColumn

Stage = Sequence[FeatureColumn] | Sequence[FunctionColumn]


def stages(columns: Iterable[SpecColumn], present: Collection[str]) -> list[Stage]:
    """Return groups of columns that can be computed one group after the other.

    Functions run as soon as they can, lookups as late as they must: that makes for the fewest joins.

    Args:
        columns: The lookups and functions to compute (columns of the spine are passed over).
        present: The columns that exist from the beginning.

    Returns:
        The groups; each holds lookups only or functions only, every input stands in `present` or an earlier group.

    Raises:
        FeatureStoreError: If some columns need each other in a circle; they are named in its order.
    """
    remaining = [
        column for column in columns if not isinstance(column, SourceColumn) and column.output_name not in present
    ]
    computed = set(present)
    # What nothing provides is somebody else's error: whoever plans names it with its table or function.
    provided = computed | {item.output_name for item in remaining}
    groups: list[Stage] = []
    while remaining:
        ready = [item for item in remaining if computed.issuperset(provided.intersection(item.inputs))]
        functions = [item for item in ready if isinstance(item, FunctionColumn)]
        lookups = [item for item in ready if isinstance(item, FeatureColumn)]
        group: Stage = functions or lookups
        if not group:
            circle = _circle(remaining)
            raise FeatureStoreError(
                f"These columns need each other in a circle: {' -> '.join(circle)}.",
                hint="A lookup key or function input may come from another lookup or function, but not in a circle.",
            )
        groups.append(group)
        done = {item.output_name for item in group}
        computed |= done
        remaining = [item for item in remaining if item.output_name not in done]
    return groups


def ordering(columns: Sequence[SpecColumn]) -> dict[str, int]:
    """Return each column's place in the order of computation, as the feature spec records it.

    Raises:
        FeatureStoreError: If some columns need each other in a circle.
    """
    sources = sorted(column.output_name for column in columns if isinstance(column, SourceColumn))
    names = list(sources)
    for group in stages(columns, sources):
        names.extend(sorted(column.output_name for column in group))
    return {name: place for place, name in enumerate(names)}


def needed(columns: Iterable[SpecColumn], outputs: Iterable[str], present: Collection[str]) -> set[str]:
    """Return the names of the columns that must be computed for the outputs; those present need not be."""
    by_name = {column.output_name: column for column in columns}
    names: set[str] = set()
    remaining = list(outputs)
    while remaining:
        name = remaining.pop()
        if name in present or name in names or name not in by_name:
            continue
        names.add(name)
        column = by_name[name]
        remaining.extend(column.inputs)
    return names


def _circle(remaining: Sequence[SpecColumn]) -> list[str]:
    by_name = {column.output_name: column for column in remaining}
    path = [remaining[0].output_name]
    while True:
        following = next(name for name in by_name[path[-1]].inputs if name in by_name)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)

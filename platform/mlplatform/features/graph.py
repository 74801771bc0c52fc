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
        present: The columns that are there from the beginning.

    Returns:
        The groups; each holds lookups only or functions only, every input stands in `present` or an earlier group.

    Raises:
        FeatureStoreError: If some columns need each other in a circle; they are named in its order.
    """
    waiting = [
        column for column in columns if not isinstance(column, SourceColumn) and column.output_name not in present
    ]
    known = set(present)
    # What nothing provides is somebody else's error: whoever plans names it with its table or function.
    provided = known | {item.output_name for item in waiting}
    groups: list[Stage] = []
    while waiting:
        ready = [item for item in waiting if known.issuperset(provided.intersection(item.inputs))]
        functions = [item for item in ready if isinstance(item, FunctionColumn)]
        lookups = [item for item in ready if isinstance(item, FeatureColumn)]
        group: Stage = functions or lookups
        if not group:
            circle = _circle(waiting)
            raise FeatureStoreError(
                f"These columns need each other in a circle: {' -> '.join(circle)}.",
                hint="A lookup key or function input may come from another lookup or function, but not in a circle.",
            )
        groups.append(group)
        done = {item.output_name for item in group}
        known |= done
        waiting = [item for item in waiting if item.output_name not in done]
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


def needed(columns: Iterable[SpecColumn], wanted: Iterable[str], present: Collection[str]) -> set[str]:
    """Return the names of the columns that must be computed for the wanted ones, where the present need not be."""
    by_name = {column.output_name: column for column in columns}
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in present or name in found or name not in by_name:
            continue
        found.add(name)
        column = by_name[name]
        waiting.extend(column.inputs)
    return found


def _circle(waiting: Sequence[SpecColumn]) -> list[str]:
    by_name = {column.output_name: column for column in waiting}
    path = [waiting[0].output_name]
    while True:
        following = next(name for name in by_name[path[-1]].inputs if name in by_name)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)

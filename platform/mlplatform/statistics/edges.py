"""Where the cells of a numeric column begin and end: between values, so that no cell depends on a value's last bits.

The same number comes out differently by another order of additions, another batch size or through 32 bits: 0.3 and
0.1 + 0.2 are one value. An edge that lay on a value would put the one above and the other below itself. So an edge
that is wanted at a value lies a little below it: less than half of the way to the next smaller one, and so far below
that rounding does not get there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.statistics.counts import Floats

# Two values closer than this, relative to their size, may be one: four times the rounding of a 32-bit number.
_SAME = 2.0**-22
# How far an edge lies from the value that it is at, relative to the value and to the typical one: what sums of
# 32-bit numbers, and differences that come out near zero, are off by.
_AWAY, _AWAY_FROM_ZERO, _AWAY_FROM_NOTHING = 1e-6, 1e-7, 1e-9
_NOISE_AT_ZERO, _LEFT = 1e-12, 1e-13
# None of these may swallow what the column tells: a large number that hardly varies (a time, a coordinate).
_OF_SPREAD = 1e-3
# But so few values that near to each other are one value and its roundings.
_FEW_ROUNDINGS = 16
# Less than half of a gap: a value in the middle between two is a natural one.
_OF_GAP, _NUDGE = 0.4, 0.01


@dataclass(frozen=True)
class Scale:
    """What size of difference means something in a column.

    Attributes:
        typical: Median magnitude of its values other than zero and what rounding leaves of it; 0 without any.
        spread: Distance of its outer deciles, or of its ends where these are one value; 0 where all are one.
        whole: Whether all its values are whole numbers: these differ by one or not at all.
    """

    typical: float
    spread: float
    whole: bool

    @classmethod
    def of(cls, values: Floats) -> Scale:
        """Return the scale of values, ascending and finite."""
        if not values.size:
            return cls(0.0, 0.0, whole=True)
        sizes = np.abs(values)
        # What a difference leaves of equal numbers is no size.
        others = sizes[sizes > _LEFT * max(-values[0], values[-1])]
        typical = float(np.median(others)) if others.size else 0.0
        tenth, largest = (values.size - 1) // 10, max(-values[0], values[-1])
        with np.errstate(over="ignore"):
            spreads = float(values[-1 - tenth] - values[tenth]), float(values[-1] - values[0])
        spread = next((size for size in spreads if size > _SAME * largest), 0.0)
        if not spread and np.unique(values).size > _FEW_ROUNDINGS:
            spread = spreads[0] or spreads[1]
        return cls(typical, spread, whole=bool((values == np.rint(values)).all()))

    def same(self, values: Floats) -> Floats:
        """Return how far from each value another may lie and still be the same one."""
        if self.whole:
            return np.zeros_like(values)
        reach = _SAME * np.abs(values) + _NOISE_AT_ZERO * self.typical
        return np.minimum(reach, _OF_SPREAD * self.spread) if self.spread else reach

    def away(self, values: Floats) -> Floats:
        """Return how far from each value its edge lies at most."""
        reach = _AWAY * np.abs(values) + (_AWAY_FROM_ZERO * self.typical or _AWAY_FROM_NOTHING)
        if self.spread:
            return np.minimum(reach, _OF_SPREAD * self.spread)
        # A constant that is itself what rounding leaves of zero has no size.
        reach = np.where(np.abs(values) < _NOISE_AT_ZERO, _AWAY_FROM_NOTHING, reach)
        return np.minimum(reach, _OF_GAP) if self.whole else reach


def below(values: Floats, wanted: Floats, scale: Scale) -> Floats:
    """Return edges between the values below each wanted place and those from there on, as near to it as may be.

    Args:
        values: The column's, ascending and finite; not empty.
        wanted: Places from the smallest to the largest value.
        scale: The column's.

    Examples:
        >>> shares = np.array([0.1, 0.2, 0.3, 0.1 + 0.2])
        >>> edge, = below(shares, np.array([0.1 + 0.2]), Scale.of(shares))
        >>> bool(0.2 < edge < 0.3), bool(abs(edge - 0.3) < 1e-6)
        (True, True)
    """
    # From a place to the first value there, and from it to the first that is the same: an interpolated place may
    # miss its value by a bit, too.
    last = values.size - 1
    first = values[np.minimum(np.searchsorted(values, wanted - scale.same(wanted), side="left"), last)]
    places = np.searchsorted(values, first - scale.same(first), side="left")
    starts, before = values[places], values[np.maximum(places - 1, 0)]
    gaps = np.where(places > 0, starts - before, np.inf)
    # A place in the middle of a gap stays there, but for the little: it may be a value of another sample.
    edges = wanted - np.minimum(scale.away(wanted), _NUDGE * gaps)
    highest = starts - np.minimum(scale.away(starts), _OF_GAP * gaps)
    lowest = np.where(places > 0, before + np.minimum(scale.away(before), _OF_GAP * gaps), -np.inf)
    return np.asarray(np.minimum(np.maximum(edges, lowest), highest))


def above(values: Floats, wanted: float, scale: Scale) -> float:
    """Return the edge between a value, with all that are the same, and what lies above it.

    Args:
        values: The column's, ascending and finite; not empty.
        wanted: One of them.
        scale: The column's.
    """
    one = np.array([wanted])
    after = int(np.searchsorted(values, one + scale.same(one), side="right")[0])
    end = values[max(after - 1, 0)]
    gap = values[after] - end if after < values.size else np.inf
    reach = float(np.minimum(scale.away(np.array([end])), _OF_GAP * gap)[0])
    # A number so small that nothing fits in between: the next one there is.
    return max(float(end) + reach, float(np.nextafter(end, np.inf)))


def distinct(values: Floats, scale: Scale, most: int) -> Floats | None:
    """Return the smallest of each group of values that are the same, ascending; None where there are more than `most`.

    Args:
        values: Ascending and finite.
        scale: The column's.
        most: How many there may be.
    """
    starts: list[float] = []
    place = 0
    while place < values.size:
        if len(starts) == most:
            return None
        start = values[place : place + 1]
        starts.append(float(start[0]))
        place = int(np.searchsorted(values, start + scale.same(start), side="right")[0])
    return np.array(starts)


@dataclass(frozen=True)
class Moved:
    """Edges that lay on values, moved between them.

    Attributes:
        edges: The new ones.
        starts: For each new cell the first of the old ones that it is made of.
        coarse: Positions of the old `coarse` in the new edges.
    """

    edges: list[float]
    starts: list[int]
    coarse: list[int]


def moved(edges: list[float], coarse: list[int]) -> Moved:
    """Move edges that were stored lying on values, the last one (and that of a constant) right above it.

    Edges that are one value are put together, and their cells with them: which of them a row fell into was chance.

    Args:
        edges: As stored, ascending.
        coarse: Positions of the coarse edges.
    """
    if not edges:
        return Moved([], [0], [])
    old = np.array(edges)
    scale = Scale.of(old[:-1] if old.size > 1 else old)
    same = scale.same(old)
    # The edge above a column's largest value, and the one above the value that nearly all rows hold.
    tops = {old.size - 1} if old.size > 1 else set()
    if len(coarse) == 2 and coarse[1] == coarse[0] + 1 and old[coarse[1]] == np.nextafter(old[coarse[0]], np.inf):  # noqa: PLR2004
        tops.add(coarse[1])
    made, starts, new_of = [], [0], {}
    group = -np.inf
    for place, edge in enumerate(old):
        if place in tops:
            under = old[place - 1]
            gap = old[place + 1] - under if place + 1 < old.size else np.inf
            reach = float(min(scale.away(old[place - 1 : place])[0], _OF_GAP * gap))
            made.append(max(float(edge), float(under) + reach))
        elif edge - group <= same[place]:
            new_of[place] = len(made) - 1
            continue
        else:
            group = edge
            gap = edge - old[place - 1] if place else np.inf
            made.append(float(edge - min(scale.away(old[place : place + 1])[0], _OF_GAP * gap)))
        new_of[place] = len(made) - 1
        starts.append(place + 1)
    return Moved(made, starts, sorted({new_of[place] for place in coarse}))

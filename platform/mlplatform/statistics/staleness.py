"""How much a model loses with age, and from which age on that is more than is accepted.

What is measured is one number for each model and window: the model's metric on the window's rows, and the metric of the
model that was champion then, on the same rows. By age they are averaged, windows weighted by their rows. Windows are
what is drawn for intervals, not rows: what differs from window to window (another season, another mix) is the larger
part of the doubt. Drawn together are all models of a window, which see the same rows (a cluster bootstrap: Field and
Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 2007).

What is concluded rests on ages that were compared in enough windows: neighbouring ages are put together until they
were. The age from which on the loss is above a limit is read off a simultaneous band: of all ages at once it leaves the
truth outside with the probability asked for, so that looking at many ages finds no loss by chance (max-t: Romano and
Wolf, "Stepwise Multiple Testing as Formalized Data Snooping", Econometrica 2005; Montiel Olea and Plagborg-Moller,
"Simultaneous confidence bands", Journal of Applied Econometrics 2019). For few windows both band and intervals are
widened as `bootstrap.expanded_tail` says (Hesterberg, The American Statistician 2015). Within what the band leaves
open, the age is where an increasing curve through the losses passes the limit (isotonic regression: Barlow,
Bartholomew, Bremner and Brunk, "Statistical Inference under Order Restrictions", 1972).

An age alone that was seen in too few windows has an interval that knows the chance in which rows a window holds, and
not what differs from window to window: it is marked, and nothing is recommended by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.bootstrap import expanded_tail
from mlplatform.statistics.metrics import Vector

FEWEST_WINDOWS = 5
"""Fewer windows have no interval over windows, and nothing is concluded from them."""
Matrix = npt.NDArray[np.float64]
Verdict = Literal["age", "none", "too few"]
Over = Literal["windows", "rows"]
"""What was taken for drawn by chance: windows, or only the rows within them."""


@dataclass(frozen=True)
class ScoredWindow:
    """One model on one window.

    Attributes:
        window: Number of the window.
        age: Of the model when the window begins, in steps.
        rows: Labelled rows of the window.
        metric: The model's.
        then: The metric of the model that was champion then, on the same rows; None: it was this one, or there was none
            to compare with.
        error: Standard error of `metric`, by the window's rows; None: not known.
        loss_error: Standard error of the difference between both, by the window's rows; None: not known.
    """

    window: int
    age: int
    rows: int
    metric: float
    then: float | None = None
    error: float | None = None
    loss_error: float | None = None


@dataclass(frozen=True)
class AgeInterval:
    """An interval, and what it is over."""

    low: float
    high: float
    over: Over


@dataclass(frozen=True)
class AtAge:
    """What was seen of one age.

    Attributes:
        age: In steps.
        windows: In how many windows models of this age were seen.
        rows: Labelled rows of these.
        metric: Their mean metric, windows weighted by rows.
        interval: Of the metric; None: not known.
        compared: In how many windows another, younger model was champion.
        stale: Mean metric of the older model in these; None: there are none.
        then: That of the model that was champion then.
        loss: How much worse the older one is (above zero: worse, whatever the metric's direction).
        loss_interval: Of the loss; None: not known.
    """

    age: int
    windows: int
    rows: int
    metric: float
    interval: AgeInterval | None = None
    compared: int = 0
    stale: float | None = None
    then: float | None = None
    loss: float | None = None
    loss_interval: AgeInterval | None = None


@dataclass(frozen=True)
class Ages:
    """Neighbouring ages, so many that they were compared in enough windows.

    Attributes:
        first: The youngest, in steps.
        last: The oldest.
        windows: In how many windows one of them was compared with a younger champion.
        loss: The mean loss, windows weighted by their rows.
        interval: Of the loss, over windows.
    """

    first: int
    last: int
    windows: int
    loss: float
    interval: AgeInterval


@dataclass(frozen=True)
class Recommended:
    """The age at which a model should have been replaced.

    Attributes:
        verdict: `age`; `none`: within the ages seen no loss is surely above the limit; `too few`: not compared in
            enough windows to tell.
        age: In steps; None unless the verdict is `age`.
        earliest: Lower end of its interval: the first age whose loss may be above the limit; None: there is none.
        latest: Upper end: the first age whose loss surely is; None: not within the ages seen.
        limit: What loss is accepted.
        confidence: Of the interval, over all ages at once.
        judged: What it rests on; empty where that is too little.
        windows: In how many windows an older model was compared with a younger champion.
    """

    verdict: Verdict
    age: int | None
    earliest: int | None
    latest: int | None
    limit: float
    confidence: float
    judged: tuple[Ages, ...] = ()
    windows: int = 0


@dataclass(frozen=True)
class Curve:
    """Metric and loss by age, and the age that follows from it."""

    ages: tuple[AtAge, ...]
    recommended: Recommended


def curve(
    seen: Sequence[ScoredWindow], *, greater_is_better: bool, limit: float, confidence: float, draws: int, seed: int
) -> Curve:
    """Return metric and loss by age, with intervals over windows.

    Args:
        seen: Each model on each window.
        greater_is_better: The metric's direction.
        limit: Loss up to this is accepted.
        confidence: Two-sided level of the intervals, as 0.9.
        draws: Number of resamples.
        seed: Of the resampling: the same gives the same.

    Examples:
        Two windows of a model, in the second of which another one was champion:

        >>> older = [ScoredWindow(0, 0, 100, 0.8), ScoredWindow(1, 1, 300, 0.7, then=0.78)]
        >>> seen = [*older, ScoredWindow(1, 0, 300, 0.78)]
        >>> found = curve(seen, greater_is_better=True, limit=0.0, confidence=0.9, draws=100, seed=0)
        >>> [(at.age, at.windows, at.rows, round(at.metric, 3)) for at in found.ages]
        [(0, 2, 400, 0.785), (1, 1, 300, 0.7)]
        >>> round(found.ages[1].loss, 3), found.ages[1].loss_interval, found.recommended.verdict
        (0.08, None, 'too few')
    """
    random = np.random.default_rng(seed)
    ages = sorted({item.age for item in seen})
    compared = [item for item in seen if item.then is not None]
    sign = 1.0 if greater_is_better else -1.0
    alone = _ByAge.of(seen, ages, [item.metric for item in seen], [item.error for item in seen])
    losses = [sign * ((item.then or 0.0) - item.metric) for item in compared]
    other = _ByAge.of(compared, ages, losses, [item.loss_error for item in compared])
    alone_drawn, other_drawn = alone.drawn(random, draws), other.drawn(random, draws)
    stale = _ByAge.of(compared, ages, [item.metric for item in compared]).means
    facts = []
    for place, age in enumerate(ages):
        at = AtAge(
            age=age,
            windows=int(alone.windows[place]),
            rows=int(alone.rows[place]),
            metric=float(alone.means[place]),
            interval=alone.interval(place, alone_drawn, confidence),
        )
        if other.windows[place]:
            loss = float(other.means[place])
            at = replace(
                at,
                compared=int(other.windows[place]),
                stale=float(stale[place]),
                then=float(stale[place]) + sign * loss,
                loss=loss,
                loss_interval=other.interval(place, other_drawn, confidence),
            )
        facts.append(at)
    return Curve(tuple(facts), _recommended(compared, losses, random, draws, limit, confidence))


@dataclass(frozen=True)
class _ByAge:
    """Values by window and age: sums weighted by rows, the rows, and the sums' variance by the chance of rows.

    All of shape (windows, ages); the variance is NaN where it is not known.
    """

    totals: Matrix
    weights: Matrix
    variances: Matrix

    @classmethod
    def of(
        cls,
        seen: Sequence[ScoredWindow],
        ages: Sequence[int],
        values: Sequence[float],
        errors: Sequence[float | None] | None = None,
    ) -> _ByAge:
        windows = {number: place for place, number in enumerate(sorted({item.window for item in seen}))}
        columns = {age: place for place, age in enumerate(ages)}
        totals = np.zeros((len(windows), len(ages)))
        weights, variances = np.zeros_like(totals), np.zeros_like(totals)
        for item, value, error in zip(seen, values, errors or [None] * len(seen), strict=True):
            cell = windows[item.window], columns[item.age]
            totals[cell] += item.rows * value
            weights[cell] += item.rows
            variances[cell] += np.nan if error is None else (item.rows * error) ** 2
        return cls(totals, weights, variances)

    @property
    def windows(self) -> npt.NDArray[np.int64]:
        """In how many windows each age was seen."""
        return np.asarray((self.weights > 0).sum(axis=0), dtype=np.int64)

    @property
    def rows(self) -> Vector:
        """The rows of each age."""
        return np.asarray(self.weights.sum(axis=0))

    @property
    def means(self) -> Vector:
        """The mean value of each age; NaN where there is none."""
        return _divided(self.totals.sum(axis=0), self.rows)

    def drawn(self, random: np.random.Generator, draws: int) -> Matrix:
        """Return the means of draws of windows, shape (draws, ages); NaN where a draw has no window of an age."""
        number = self.totals.shape[0]
        if not number:
            return np.full((draws, self.totals.shape[1]), np.nan)
        counts = random.multinomial(number, np.full(number, 1 / number), size=draws).astype(np.float64)
        return _divided(counts @ self.totals, counts @ self.weights)

    def interval(self, place: int, drawn: Matrix, confidence: float) -> AgeInterval | None:
        """Return the interval of one age: over windows where there are enough of them, else over their rows."""
        windows = int(self.windows[place])
        if windows >= FEWEST_WINDOWS:
            tail = expanded_tail((1 - confidence) / 2, windows)
            of_age = drawn[:, place]
            low, high = np.quantile(of_age[np.isfinite(of_age)], [tail, 1 - tail], method="weibull")
            return AgeInterval(float(low), float(high), "windows")
        error = float(np.sqrt(self.variances[:, place].sum()) / self.rows[place])
        if not np.isfinite(error):
            return None
        half, middle = NormalDist().inv_cdf((1 + confidence) / 2) * error, float(self.means[place])
        return AgeInterval(middle - half, middle + half, "rows")


def _divided(totals: Matrix, weights: Matrix) -> Matrix:
    return np.divide(totals, weights, out=np.full_like(totals, np.nan), where=weights > 0)


def _recommended(
    compared: Sequence[ScoredWindow],
    losses: Sequence[float],
    random: np.random.Generator,
    draws: int,
    limit: float,
    confidence: float,
) -> Recommended:
    number = len({item.window for item in compared})
    if number < FEWEST_WINDOWS:
        return Recommended("too few", None, None, None, limit, confidence, windows=number)
    groups = _together(compared)
    firsts = np.array([group[0] for group in groups], dtype=np.int64)
    # Each age counts as the youngest of its group.
    grouped = [replace(item, age=int(firsts[firsts <= item.age][-1])) for item in compared]
    by_group = _ByAge.of(grouped, firsts.tolist(), losses)
    drawn, loss = by_group.drawn(random, draws), by_group.means
    judged = []
    for place, group in enumerate(groups):
        interval = by_group.interval(place, drawn, confidence)
        assert interval is not None, "a group has enough windows"
        judged.append(Ages(group[0], group[-1], int(by_group.windows[place]), float(loss[place]), interval))
    half = _half_band(loss, drawn, by_group.windows, confidence)
    earliest, latest = _first(firsts, loss + half > limit), _first(firsts, loss - half > limit)
    if latest is None:
        return Recommended("none", None, earliest, None, limit, confidence, tuple(judged), number)
    # What is surely above the limit may also be: there is an earliest, and it is not later.
    first = latest if earliest is None else earliest
    passed = _first(firsts, _increasing(loss, by_group.rows) > limit)
    age = min(max(latest if passed is None else passed, first), latest)
    return Recommended("age", age, first, latest, limit, confidence, tuple(judged), number)


def _together(compared: Sequence[ScoredWindow]) -> list[list[int]]:
    """Return neighbouring ages, put together until each group was compared in enough windows; all of them were."""
    windows: dict[int, set[int]] = {}
    for item in compared:
        windows.setdefault(item.age, set()).add(item.window)
    groups: list[list[int]] = []
    current, seen = list[int](), set[int]()
    for age in sorted(windows):
        current.append(age)
        seen |= windows[age]
        if len(seen) >= FEWEST_WINDOWS:
            groups.append(current)
            current, seen = [], set()
    groups[-1].extend(current)
    return groups


def _half_band(loss: Vector, drawn: Matrix, windows: npt.NDArray[np.int64], confidence: float) -> Vector:
    """Return half the width of the simultaneous band at each age, by the largest of the draws' standardised misses."""
    from scipy.stats import norm, t

    errors = np.nanstd(drawn, axis=0, ddof=1)
    misses = np.abs(drawn - loss) / np.where(errors > 0, errors, np.inf)
    largest = np.nanmax(np.where(np.isfinite(misses), misses, 0.0), axis=1)
    # As far out as that is of a normal distribution, with so few windows of Student's: the errors are estimates, too.
    level = norm.cdf(np.quantile(largest, confidence, method="weibull"))
    return np.asarray(errors * np.sqrt(windows / (windows - 1)) * t.ppf(level, windows - 1))


def _increasing(values: Vector, weights: Vector) -> Vector:
    from sklearn.isotonic import IsotonicRegression

    return np.asarray(IsotonicRegression().fit_transform(np.arange(values.size), values, sample_weight=weights))


def _first(ages: npt.NDArray[np.int64], holds: npt.NDArray[np.bool_]) -> int | None:
    return int(ages[holds][0]) if holds.any() else None

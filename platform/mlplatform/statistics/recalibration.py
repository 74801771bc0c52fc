"""Moving a model's probabilities to what outcomes say, without changing what the model has learned.

How much may be moved follows how much is known. A level and a slope on the log odds (Cox, "Two further applications of
a model for binary regression", Biometrika 1958) need few outcomes, a curve of any rising form needs many. Which of "as
it is", "level" and "level and slope" is taken is a closed test of likelihood ratios (Vergouwe, Nieboer, Oostenbrink,
Debray, Murray, Kattan, Koffijberg, Moons and Steyerberg, "A closed testing procedure to select an appropriate method
for updating prediction models", Statistics in Medicine 2017): a model that is right is moved in at most one of twenty
cases, however often it is looked at by what. The curve is isotonic (Zadrozny and Elkan, "Transforming Classifier Scores
into Accurate Multiclass Probability Estimates", KDD 2002).

Every move rises with the score: who ranked above whom still does, but for ties that an isotonic curve makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from mlplatform.statistics.metrics import Vector

Method = Literal["auto", "odds", "isotonic"]
FEWEST_FOR_SLOPE = 100
"""Of either class. Below, a slope is mostly chance: Vergouwe, Steyerberg, Eijkemans and Habbema, "Substantial effective
sample sizes were required for external validation studies of predictive logistic regression models", J Clin Epidemiol
2005."""
FEWEST_ISOTONIC = 1000
"""Of the rarer class. Below about so many cases an isotonic curve follows chance: Niculescu-Mizil and Caruana,
"Predicting Good Probabilities With Supervised Learning", ICML 2005. They count rows, of data in which both classes are
common; of a rare event it is the events that tell, as the error of a rate does."""
LEVEL = 0.05
"""How often a model that needs no moving is moved."""
MOST_MOVES, MOST_KNOTS = 50, 20_000
FORMAT = 1
_CLIP = 1e-12
_FOLDS, _SEED, _SURELY = 5, 0, 1.645
_STEPS, _SMALL = 100, 1e-10


@dataclass(frozen=True)
class OddsMove:
    """Log odds times `slope` (above zero) plus `intercept`.

    Examples:
        >>> OddsMove(np.log(2.0))(np.array([0.0, 0.5, 1.0])).round(4).tolist()
        [0.0, 0.6667, 1.0]
    """

    intercept: float
    slope: float = 1.0

    def __call__(self, scores: Vector) -> Vector:
        """Return the moved probabilities, shape (rows,); 0 and 1 stay, and so does NaN."""
        with np.errstate(divide="ignore"):
            odds = np.log(scores) - np.log1p(-scores)
        return _expit(self.slope * odds + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"method": "odds", "slope": self.slope, "intercept": self.intercept}

    def __str__(self) -> str:
        """Say what it does to the odds."""
        level = f"odds times {np.exp(self.intercept):.3g}"
        return level if self.slope == 1 else f"{level} after their power {self.slope:.3g}"


@dataclass(frozen=True)
class IsotonicMove:
    """A rising curve, straight between its knots; beyond the outermost it is level.

    Examples:
        >>> IsotonicMove((0.1, 0.3), (0.2, 0.4))(np.array([0.0, 0.2, 1.0])).round(4).tolist()
        [0.2, 0.3, 0.4]
    """

    scores: tuple[float, ...]
    rates: tuple[float, ...]

    def __call__(self, scores: Vector) -> Vector:
        """Return the moved probabilities, shape (rows,); NaN stays."""
        return np.asarray(np.interp(scores, self.scores, self.rates), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"method": "isotonic", "scores": list(self.scores), "rates": list(self.rates)}

    def __str__(self) -> str:
        """Say what it is."""
        return f"an isotonic curve of {len(self.scores)} knots"


Move: TypeAlias = OddsMove | IsotonicMove
Moves: TypeAlias = tuple[Move, ...]
"""One after the other."""


def moved(moves: Sequence[Move], scores: Vector) -> Vector:
    """Return probabilities after all moves, shape (rows,)."""
    for move in moves:
        scores = move(scores)
    return scores


def followed(moves: Sequence[Move], last: Move) -> Moves:
    """Return moves with one more at their end; two of the odds become one.

    Examples:
        >>> followed((OddsMove(1.0, 2.0),), OddsMove(0.5, 0.5))
        (OddsMove(intercept=1.0, slope=1.0),)
    """
    before = moves[-1] if moves else None
    if isinstance(before, OddsMove) and isinstance(last, OddsMove):
        both = OddsMove(last.slope * before.intercept + last.intercept, last.slope * before.slope)
        return (*moves[:-1], both)
    return (*moves, last)


def to_dict(moves: Sequence[Move]) -> dict[str, Any]:
    """Return moves as plain data, for JSON."""
    return {"format": FORMAT, "moves": [move.to_dict() for move in moves]}


def from_dict(data: Any) -> Moves:
    """Read what `to_dict` wrote.

    Raises:
        ValueError: If it is no such thing: another format, numbers that are none, a curve that does not rise.
    """
    if not isinstance(data, dict) or data.keys() != {"format", "moves"} or data["format"] != FORMAT:
        raise ValueError("it is no recalibration of a format that is known")
    if not isinstance(data["moves"], list) or not 1 <= len(data["moves"]) <= MOST_MOVES:
        raise ValueError(f"it has no moves, or more than {MOST_MOVES}")
    return tuple(_move(item) for item in data["moves"])


def _move(data: Any) -> Move:
    method = data.get("method") if isinstance(data, dict) else None
    if method == "odds" and data.keys() == {"method", "slope", "intercept"}:
        slope, intercept = _numbers([data["slope"], data["intercept"]])
        if slope <= 0:
            raise ValueError("a slope is not above zero: it would turn the ranking round")
        return OddsMove(intercept, slope)
    if method == "isotonic" and data.keys() == {"method", "scores", "rates"}:
        scores, rates = _numbers(data["scores"]), _numbers(data["rates"])
        if not 1 <= len(scores) == len(rates) <= MOST_KNOTS:
            raise ValueError(f"a curve has no knots, more than {MOST_KNOTS}, or not as many rates as scores")
        if np.any(np.diff(scores) <= 0) or np.any(np.diff(rates) < 0) or rates[0] < 0 or rates[-1] > 1:
            raise ValueError("a curve does not rise, or leaves [0, 1]")
        return IsotonicMove(tuple(scores), tuple(rates))
    raise ValueError("a move has an unknown method, or other settings than its own")


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list) or any(isinstance(it, bool) or not isinstance(it, int | float) for it in values):
        raise ValueError("what should be numbers are none")
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return [float(value) for value in values]


@dataclass(frozen=True)
class Fitted:
    """What outcomes say of probabilities.

    Attributes:
        move: How they are to be moved; None: they are right as far as these outcomes can tell.
        why: In words.
        events: Outcomes that were events, as far as they count.
        others: Those that were none.
        p_values: Of the tests that were made, by name.
    """

    move: Move | None
    why: str
    events: float
    others: float
    p_values: dict[str, float] = field(default_factory=dict)


def fit(
    scores: Vector, targets: Vector, weights: Vector | None = None, *, method: Method = "auto", ranked: bool = True
) -> Fitted:
    """Find out how probabilities are to be moved.

    Args:
        scores: What the model says, shape (rows,), in [0, 1].
        targets: What came of it, shape (rows,): 0 or 1, or a rate in between where only that is known.
        weights: How much of one outcome each is worth, shape (rows,), in [0, 1]; None: 1.
        method: `odds`, `isotonic`, or `auto`: the odds, unless there are enough outcomes for a curve and it is better
            by more than its standard error on rows that it was not fitted to.
        ranked: Whether targets tell rows of one time apart. Rates of whole groups do not: only a level is then fitted.

    Raises:
        ValueError: If there is an outcome of one class only, too few for a curve that was asked for, or the ranking is
            surely turned round, which no move can mend.

    Examples:
        >>> said = np.full(1000, 0.1)
        >>> found = fit(said, np.repeat([1.0, 0.0], [300, 700]))
        >>> found.move(np.array([0.1])).round(3).tolist(), found.events
        ([0.3], 300.0)
    """
    worth = np.ones(scores.size) if weights is None else weights
    events, others = float(worth @ targets), float(worth @ (1 - targets))
    rarer = min(events, others)
    if not rarer > 0:
        raise ValueError("all outcomes are of one class")
    if method == "isotonic":
        if not ranked:
            raise ValueError("a curve needs outcomes of single rows, and these are rates of groups")
        if rarer < FEWEST_ISOTONIC:
            raise ValueError(f"a curve needs {FEWEST_ISOTONIC} outcomes of the rarer class, and there are {rarer:.0f}")
        return Fitted(_isotonic(scores, targets, worth), "as asked for", events, others)
    found = _by_odds(scores, targets, worth, slope=ranked and rarer >= FEWEST_FOR_SLOPE)
    chosen = Fitted(found.move, found.why, events, others, found.p_values)
    if method == "auto" and ranked and rarer >= FEWEST_ISOTONIC:
        gain, error = _gain_of_a_curve(scores, targets, worth)
        if gain > (error if found.move is not None else _SURELY * error):
            why = f"on rows that it was not fitted to, a curve is better than the odds by {gain / error:.1f} errors"
            return Fitted(_isotonic(scores, targets, worth), why, events, others, found.p_values)
    return chosen


def to_rate(scores: Vector, rate: float, weights: Vector) -> OddsMove:
    """Return the move of the level by which the mean of scores becomes a rate.

    Args:
        scores: Shape (rows,), in [0, 1].
        rate: In [0, 1]; at the ends the nearest that odds can say.
        weights: How much each row counts, shape (rows,).

    Examples:
        >>> move = to_rate(np.array([0.1, 0.3]), 0.5, np.ones(2))
        >>> round(float(move(np.array([0.1, 0.3])).mean()), 9)
        0.5
    """
    inside = np.full(scores.size, min(max(rate, _CLIP), 1 - _CLIP))
    return _fitted(_log_odds(scores), inside, weights, slope=False)


def _by_odds(scores: Vector, targets: Vector, weights: Vector, *, slope: bool) -> Fitted:
    from scipy.stats import chi2

    odds = _log_odds(scores)
    as_it_is = _likelihood(odds, targets, weights)
    level = _fitted(odds, targets, weights, slope=False)
    by_level = _likelihood(odds + level.intercept, targets, weights)
    if not slope:
        p_value = float(chi2.sf(max(0.0, 2 * (by_level - as_it_is)), 1))
        if p_value >= LEVEL:
            return Fitted(None, f"the level is not surely off (p {p_value:.2g})", 0, 0, {"level": p_value})
        return Fitted(level, f"the level is off (p {p_value:.2g})", 0, 0, {"level": p_value})
    both = _fitted(odds, targets, weights, slope=True)
    by_both = _likelihood(both.slope * odds + both.intercept, targets, weights)
    off = float(chi2.sf(max(0.0, 2 * (by_both - as_it_is)), 2))
    steep = float(chi2.sf(max(0.0, 2 * (by_both - by_level)), 1))
    p_values = {"level and slope": off, "slope": steep}
    if off >= LEVEL:
        return Fitted(None, f"neither level nor slope is surely off (p {off:.2g})", 0, 0, p_values)
    if steep >= LEVEL:
        return Fitted(level, f"the level is off (p {off:.2g}), the slope not surely", 0, 0, p_values)
    if both.slope <= 0:
        raise ValueError(f"the ranking is turned round (slope {both.slope:.2g}, p {steep:.2g}): no move mends that")
    return Fitted(both, f"level and slope are off (p {steep:.2g} of the slope)", 0, 0, p_values)


def _fitted(odds: Vector, targets: Vector, weights: Vector, *, slope: bool) -> OddsMove:
    """Fit by Newton's method, with steps halved until the likelihood rises."""
    centre = float(weights @ odds / weights.sum())
    shifted = odds - centre
    level, steep = centre, 1.0  # log odds are level + steep * shifted
    best = _likelihood(level + steep * shifted, targets, weights)
    for _ in range(_STEPS):
        rate = _expit(level + steep * shifted)
        rest, spread = weights * (targets - rate), np.maximum(weights * rate * (1 - rate), 1e-300)
        gradient = np.array([rest.sum(), rest @ shifted])
        if slope:
            curvature = np.array(
                [[spread.sum(), spread @ shifted], [spread @ shifted, spread @ (shifted * shifted)]], dtype=np.float64
            )
            step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        else:
            step = np.array([gradient[0] / spread.sum(), 0.0])
        # Newton's first steps may leap: never farther than this at once.
        step = np.clip(step, -5, 5)
        value = best
        for _ in range(_STEPS):
            value = _likelihood(level + step[0] + (steep + step[1]) * shifted, targets, weights)
            if value >= best:
                break
            step = step / 2
        else:
            break
        level, steep, gained, best = level + float(step[0]), steep + float(step[1]), value - best, value
        if gained <= _SMALL and np.abs(step).max() <= np.sqrt(_SMALL):
            break
    return OddsMove(level - steep * centre, steep)


def _isotonic(scores: Vector, targets: Vector, weights: Vector) -> IsotonicMove:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, targets, sample_weight=weights)
    knots, rates = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    # A block without an event has a rate all the same: half an event in one row more (Jeffreys). Neither 0 nor 1 is
    # ever said, of which one event on the other side would be infinitely surprising.
    lowest, highest = rates[0], rates[-1]
    below = weights[scores <= knots[rates == lowest].max()].sum()
    above = weights[scores >= knots[rates == highest].min()].sum()
    floor = 0.5 / (below + 1) if lowest == 0 else 0.0
    ceiling = 1 - 0.5 / (above + 1) if highest == 1 else 1.0
    bounded = np.clip(rates, min(floor, ceiling), max(floor, ceiling))
    return IsotonicMove(tuple(knots.tolist()), tuple(bounded.tolist()))


def _gain_of_a_curve(scores: Vector, targets: Vector, weights: Vector) -> tuple[float, float]:
    """Return how much lower a curve's log loss is than that of the odds, on rows left out, and its standard error."""
    fold = np.random.default_rng(_SEED).permutation(scores.size) % _FOLDS
    gains = np.zeros(scores.size)
    for number in range(_FOLDS):
        out, among = fold == number, fold != number
        curve = _isotonic(scores[among], targets[among], weights[among])
        move = _by_odds(scores[among], targets[among], weights[among], slope=True).move
        straight = scores[out] if move is None else move(scores[out])
        gains[out] = weights[out] * (_losses(targets[out], straight) - _losses(targets[out], curve(scores[out])))
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(gains.size))


def _losses(targets: Vector, rates: Vector) -> Vector:
    clipped = np.clip(rates, 1e-15, 1 - 1e-15)
    return np.asarray(-(targets * np.log(clipped) + (1 - targets) * np.log1p(-clipped)))


def _likelihood(odds: Vector, targets: Vector, weights: Vector) -> float:
    return float(weights @ (targets * odds - np.logaddexp(0.0, odds)))


def _log_odds(scores: Vector) -> Vector:
    clipped = np.clip(scores, _CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _expit(odds: Vector) -> Vector:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def describe(moves: Sequence[Move]) -> str:
    """Say what moves do, one after the other."""
    return ", then ".join(str(move) for move in moves)


def odds_of(moves: Sequence[Move]) -> Mapping[str, float]:
    """Return slope and intercept of what moves only the odds; empty where something else is moved."""
    if len(moves) == 1 and isinstance(moves[0], OddsMove):
        return {"slope": moves[0].slope, "intercept": moves[0].intercept}
    return {}

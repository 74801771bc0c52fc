"""Moves of probabilities: what they keep (order, [0, 1], identity), what is fitted, and when nothing is moved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mlplatform.statistics import recalibration
from mlplatform.statistics.recalibration import IsotonicMove, OddsMove, fit, followed, from_dict, moved, to_dict

PROBABILITIES = npst.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))
ODDS = st.builds(OddsMove, st.floats(-20, 20), st.floats(0.01, 10))
STEPS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8, unique_by=lambda it: it[0])


@st.composite
def curves(draw):
    pairs = draw(STEPS)
    return IsotonicMove(tuple(sorted(it[0] for it in pairs)), tuple(sorted(it[1] for it in pairs)))


MOVES = st.lists(st.one_of(ODDS, curves()), min_size=1, max_size=4).map(tuple)


@given(MOVES, PROBABILITIES)
def test_every_move_gives_probabilities_and_keeps_the_order(moves, scores):
    found = moved(moves, np.sort(scores))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-15).all()


@given(PROBABILITIES)
def test_odds_times_one_are_what_they_were(scores):
    assert OddsMove(0.0)(scores) == pytest.approx(scores, rel=1e-12, abs=1e-300)


@given(ODDS, ODDS, npst.arrays(np.float64, st.integers(1, 30), elements=st.floats(1e-3, 0.999)))
def test_two_moves_of_the_odds_are_one(first, second, scores):
    both = followed((first,), second)
    assert len(both) == 1
    # In odds, where nothing saturates.
    odds = np.log(scores) - np.log1p(-scores)
    expected = second.slope * (first.slope * odds + first.intercept) + second.intercept
    assert both[0].slope * odds + both[0].intercept == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(MOVES)
def test_moves_are_kept_as_text_and_read_back(moves):
    assert from_dict(json.loads(json.dumps(to_dict(moves)))) == moves


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"format": 2, "moves": [{"method": "odds", "slope": 1.0, "intercept": 0.0}]},
        {"format": 1, "moves": []},
        {"format": 1, "moves": [{"method": "odds", "slope": 0.0, "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "odds", "slope": -1.0, "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "odds", "slope": float("nan"), "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "odds", "slope": True, "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "odds", "slope": 1.0, "intercept": 0.0, "loader": "os"}]},
        {"format": 1, "moves": [{"method": "pickle", "slope": 1.0, "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "isotonic", "scores": [0.2, 0.1], "rates": [0.1, 0.2]}]},
        {"format": 1, "moves": [{"method": "isotonic", "scores": [0.1, 0.2], "rates": [0.2, 0.1]}]},
        {"format": 1, "moves": [{"method": "isotonic", "scores": [0.1, 0.2], "rates": [0.1, 1.2]}]},
        {"format": 1, "moves": [{"method": "isotonic", "scores": [], "rates": []}]},
        {"format": 1, "moves": [{"method": "isotonic", "scores": [0.1], "rates": [0.1, 0.2]}]},
        {"format": 1, "moves": [{"method": "odds", "slope": 1.0, "intercept": 0.0}] * 51},
    ],
)
def test_what_is_no_recalibration_is_refused(wrong):
    with pytest.raises(ValueError, match=r"it has|it is|a (slope|curve|move|number)|numbers are none"):
        from_dict(wrong)


def world(seed: int, rows: int, *, factor: float = 1.0, slope: float = 1.0, rate: float = 0.1):
    """Scores, and labels of which the odds are those of the score, to the power of slope and times factor."""
    random = np.random.default_rng(seed)
    odds = random.normal(np.log(rate / (1 - rate)), 1.0, rows)
    true = 1 / (1 + np.exp(-(slope * odds + np.log(factor))))
    return 1 / (1 + np.exp(-odds)), (random.random(rows) < true).astype(float)


def test_level_and_slope_are_those_of_scikit_learn():
    scores, labels = world(0, 5000, factor=3.0, slope=0.6)
    found = fit(scores, labels, method="odds")
    odds = np.log(scores / (1 - scores))[:, None]
    judge = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, labels)
    assert isinstance(found.move, OddsMove)
    assert found.move.slope == pytest.approx(judge.coef_[0, 0], rel=1e-4)
    assert found.move.intercept == pytest.approx(judge.intercept_[0], rel=1e-4)
    assert found.p_values["slope"] < 0.001


def test_a_level_alone_makes_the_means_agree():
    scores, labels = world(1, 3000, factor=2.5)
    found = fit(scores, labels, method="odds")
    assert isinstance(found.move, OddsMove)
    assert found.move.slope == 1
    assert found.move(scores).mean() == pytest.approx(labels.mean(), rel=1e-6)
    assert found.events == labels.sum()


@given(st.integers(0, 2**31), st.floats(0.05, 20))
@settings(max_examples=20)
def test_weights_count_as_rows_do(seed, factor):
    """A row of weight 2 is two rows; a rate of 0.25 is a quarter of an event and three of none."""
    scores, labels = world(seed, 200, factor=factor, rate=0.3)
    labels[:2] = [0.0, 1.0]
    twice = np.repeat(scores, 2), np.repeat(labels, 2)
    assert_same(fit(scores, labels, np.full(200, 2.0), method="odds"), fit(*twice, method="odds"))
    soft = np.concatenate([labels[:-1], [0.25]])
    hard = np.concatenate([labels[:-1], [1.0, 0.0]])
    split = np.concatenate([np.ones(199), [0.25, 0.75]])
    assert_same(
        fit(scores, soft, ranked=False, method="odds"),
        fit(np.append(scores, scores[-1]), hard, split, ranked=False, method="odds"),
    )


def assert_same(one, other):
    assert (one.move is None) == (other.move is None)
    if one.move is not None:
        assert one.move.intercept == pytest.approx(other.move.intercept, abs=1e-5)
        assert one.move.slope == pytest.approx(other.move.slope, abs=1e-5)


def test_a_model_that_is_right_is_moved_in_one_of_twenty_cases():
    moves = [fit(*world(seed, 1500)).move is not None for seed in range(400)]
    assert 0.02 <= np.mean(moves) <= 0.08


def test_rates_of_groups_move_the_level_only():
    scores, labels = world(3, 4000, factor=4.0, slope=0.4)
    group = np.full(labels.size, labels.mean())
    found = fit(scores, group, ranked=False)
    assert isinstance(found.move, OddsMove)
    assert found.move.slope == 1
    assert found.move(scores).mean() == pytest.approx(labels.mean(), rel=1e-6)
    with pytest.raises(ValueError, match="rates of groups"):
        fit(scores, group, ranked=False, method="isotonic")


def test_few_outcomes_move_the_level_only():
    scores, labels = world(4, 400, factor=3.0, slope=0.8, rate=0.02)
    assert labels.sum() < recalibration.FEWEST_FOR_SLOPE
    found = fit(scores, labels)
    assert found.move is None or found.move.slope == 1
    with pytest.raises(ValueError, match="a curve needs 1000"):
        fit(scores, labels, method="isotonic")


def test_a_ranking_that_is_turned_round_is_no_case_for_a_move():
    scores, labels = world(5, 4000, slope=-1.0, rate=0.3)
    with pytest.raises(ValueError, match="turned round"):
        fit(scores, labels)
    with pytest.raises(ValueError, match="one class"):
        fit(scores, np.zeros_like(scores))


def test_auto_takes_a_curve_only_where_it_is_better_on_other_rows():
    random = np.random.default_rng(6)
    scores = random.beta(2, 3, 20_000)
    bent = (random.random(scores.size) < np.where(scores < 0.4, 0.1, 0.7)).astype(float)
    assert isinstance(fit(scores, bent).move, IsotonicMove)
    assert isinstance(fit(scores, bent, method="odds").move, OddsMove)
    straight = (random.random(scores.size) < OddsMove(1.0, 0.7)(scores)).astype(float)
    assert isinstance(fit(scores, straight).move, OddsMove)
    right = (random.random(scores.size) < scores).astype(float)
    assert fit(scores, right).move is None


def test_a_curve_is_scikit_learn_s_but_never_says_0_or_1():
    scores, labels = world(7, 12_000, factor=2.0, rate=0.2)
    labels[scores < np.quantile(scores, 0.01)] = 0.0
    found = fit(scores, labels, method="isotonic").move
    assert isinstance(found, IsotonicMove)
    judge = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(scores)
    inner = (judge > 0.01) & (judge < 0.99)
    assert found(scores)[inner] == pytest.approx(judge[inner], abs=1e-9)
    assert 0 < found(np.array([0.0]))[0] < 0.01
    assert found(np.array([1.0]))[0] < 1


def test_zero_one_and_nothing_stay():
    ends = np.array([0.0, 1.0, np.nan])
    found = OddsMove(2.0, 0.5)(ends)
    assert found[:2].tolist() == [0.0, 1.0]
    assert np.isnan(found[2])
    assert np.isnan(IsotonicMove((0.1, 0.2), (0.1, 0.3))(ends)[2])

"""Weights for censoring: what they make of rows, and how far off a model is that was trained with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from mlplatform.statistics.life_tables import NO_EVENT
from mlplatform.training.immature_rows import censoring_weights, observed_shares

STEPS, OLDEST = 12, 30


@dataclass(frozen=True)
class Rows:
    """Rows of a portfolio: how old they are, what is known of them by now, and what was known of each."""

    inputs: np.ndarray
    ages: np.ndarray
    event_steps: np.ndarray

    @property
    def came(self) -> np.ndarray:
        return (self.event_steps >= 0) & (self.event_steps < np.minimum(self.ages, STEPS))

    @property
    def mature(self) -> np.ndarray:
        return self.ages >= STEPS


def portfolio(random: np.random.Generator, rows: int, growth: float) -> Rows:
    """Rows whose risk grows by so much from step to step of time; the present's is 3 % a step."""
    inputs, ages = random.normal(size=rows), random.integers(0, OLDEST, rows)
    ago = ages[:, None] - 1 - np.arange(STEPS)
    hazards = np.clip(0.03 * np.exp(0.7 * inputs[:, None] - growth * ago), 0, 1)
    comes = random.random((rows, STEPS)) < hazards
    return Rows(inputs, ages, np.where(comes.any(axis=1), comes.argmax(axis=1), NO_EVENT))


def rate_of(rows: Rows, chosen: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean score that a model gives the newest rows."""
    model = LogisticRegression(C=100.0)
    model.fit(rows.inputs[chosen, None], rows.came[chosen], sample_weight=None if weights is None else weights[chosen])
    return float(model.predict_proba(rows.inputs[:, None])[:, 1].mean())


def weights_of(rows: Rows) -> np.ndarray:
    shares = observed_shares(rows.ages, np.ones(rows.ages.size), STEPS)
    return censoring_weights(np.where(rows.came, rows.event_steps, NO_EVENT), shares)


def biases(growth: float, replays: int = 12) -> tuple[float, float, float]:
    """How far the mean score is from the present's rate: mature rows alone, events as they are, events weighted."""
    random, found = np.random.default_rng(0), []
    present = 0.03 * np.exp(0.7 * random.normal(size=200_000))
    truth = float(np.mean(1 - (1 - np.clip(present, 0, 1)) ** STEPS))
    for _ in range(replays):
        rows = portfolio(random, 6_000, growth)
        known = rows.mature | rows.came
        found.append([rate_of(rows, rows.mature), rate_of(rows, known), rate_of(rows, known, weights_of(rows))])
    mature, unweighted, weighted = np.mean(found, axis=0) - truth
    return float(mature), float(unweighted), float(weighted)


def test_where_risks_do_not_change_weighted_events_are_not_biased_and_unweighted_ones_are():
    mature, unweighted, weighted = biases(0.0)
    assert abs(mature) < 0.01
    assert abs(weighted) < 0.01
    assert unweighted > 0.04


@pytest.mark.parametrize("growth", [0.03, -0.03])
def test_where_risks_change_weighted_events_are_less_biased_than_mature_rows_alone(growth):
    mature, unweighted, weighted = biases(growth)
    assert abs(weighted) < 0.92 * abs(mature)
    # It lies between the past and the present.
    assert np.sign(weighted) == np.sign(mature) == -np.sign(growth)
    # Unweighted events are always too many. Where risks rise, one error hides the other; where they fall, both add up.
    assert unweighted - weighted > 0.04
    if growth < 0:
        assert abs(weighted) < 0.75 * abs(unweighted)


@given(st.lists(st.tuples(st.integers(0, 2 * STEPS), st.integers(1, 50)), min_size=1, max_size=30))
def test_shares_are_those_of_rows_that_are_old_enough(groups):
    ages, counts = (np.array(column) for column in zip(*groups, strict=True))
    shares = observed_shares(ages, counts.astype(float), STEPS)
    one_by_one = np.repeat(ages, counts)
    for step in range(STEPS):
        assert shares[step] == pytest.approx(np.mean(one_by_one > step))
    assert shares[STEPS] == pytest.approx(np.mean(one_by_one >= STEPS))
    assert (np.diff(shares) <= 1e-12).all()


def test_weighted_rows_stand_for_all_of_them():
    """Of rows of whatever age, the weights of those with a known end add up to as many as lived through the horizon."""
    rows = portfolio(np.random.default_rng(1), 200_000, 0.0)
    weights, known = weights_of(rows), rows.mature | rows.came
    assert weights[known].sum() == pytest.approx(rows.mature.sum(), rel=0.01)
    assert (weights <= 1).all()
    assert (weights[rows.mature & ~rows.came] == 1).all()

"""The concordance of scores with event times: by its definition, by a survival library, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from mlplatform.statistics.concordance import concordance
from mlplatform.statistics.intervals import delong
from mlplatform.statistics.life_tables import NO_EVENT

STEPS = 8


def population(random: np.random.Generator, rows: int, skill: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the step of each row's event: the higher the score the sooner."""
    scores = random.normal(size=rows)
    hazards = np.clip(0.03 * np.exp(skill * scores), 0, 1)
    comes = random.random((rows, STEPS)) < hazards[:, None]
    return scores, np.where(comes.any(axis=1), comes.argmax(axis=1), NO_EVENT)


def by_definition(scores: np.ndarray, ages: np.ndarray, steps: np.ndarray) -> float:
    """Uno's estimator, pair by pair."""
    lived = np.minimum(ages, STEPS)
    came = (steps >= 0) & (steps < lived)
    until = np.where(came, steps, lived)
    right = pairs = 0.0
    for one in np.flatnonzero(came):
        weight = 1 / np.mean(lived > until[one]) ** 2
        for other in np.flatnonzero(until > until[one]):
            pairs += weight
            right += weight * ((scores[one] > scores[other]) + (scores[one] == scores[other]) / 2)
    return right / pairs


@pytest.mark.parametrize("seed", range(4))
def test_it_is_unos_estimator_pair_by_pair(seed):
    random = np.random.default_rng(seed)
    scores, steps = population(random, 120)
    scores = np.round(scores, 1)  # with ties
    ages = random.integers(0, 2 * STEPS, 120)
    found = concordance(scores, ages, steps, STEPS)
    assert found.value == pytest.approx(by_definition(scores, ages, steps), abs=1e-12)
    assert found.events == ((steps >= 0) & (steps < np.minimum(ages, STEPS))).sum()


def test_where_all_were_observed_to_the_end_it_is_the_librarys():
    """Events one by one, for of two within a step nobody knows the order."""
    random = np.random.default_rng(1)
    scores, horizon = random.normal(size=500), 600
    soonest = np.argsort(random.exponential(np.exp(-scores)))
    steps = np.full(500, NO_EVENT)
    steps[soonest[:200]] = np.arange(200) * 3
    found = concordance(scores, np.full(500, horizon), steps, horizon)
    times = np.where(steps >= 0, steps + 1.0, horizon)
    assert found.value == pytest.approx(concordance_index(times, -scores, steps >= 0), abs=1e-12)


def test_of_one_step_it_is_the_area_under_the_curve_with_delongs_error():
    random = np.random.default_rng(2)
    labels = (random.random(400) < 0.2).astype(float)
    scores = random.normal(labels)
    found = concordance(scores, np.ones(400, dtype=int), np.where(labels == 1, 0, NO_EVENT), 1)
    area, error = delong(labels, scores)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.value == pytest.approx(area)
    assert found.error == pytest.approx(error, rel=0.02), "DeLong divides by one less"


def test_young_rows_do_not_change_what_it_aims_at():
    """With nine of ten rows half-way, the mean over replays is that of rows observed to the end."""
    random = np.random.default_rng(3)
    scores, steps = population(random, 200_000, skill=1.5)
    whole = concordance(scores, np.full(scores.size, STEPS), steps, STEPS).value
    young = []
    for _ in range(60):
        rows = random.integers(0, scores.size, 1_500)
        ages = np.where(random.random(1_500) < 0.9, random.integers(1, STEPS, 1_500), STEPS)
        young.append(concordance(scores[rows], ages, steps[rows], STEPS))
    values = np.array([item.value for item in young])
    assert values.mean() == pytest.approx(whole, abs=3 * values.std() / np.sqrt(60))
    assert np.mean([item.error for item in young]) == pytest.approx(values.std(), rel=0.3)


def test_its_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(4)
    scores, steps = population(random, 200_000)
    whole = concordance(scores, np.full(scores.size, STEPS), steps, STEPS).value
    held = 0
    for _ in range(300):
        rows = random.integers(0, scores.size, 600)
        found = concordance(scores[rows], random.integers(1, 2 * STEPS, 600), steps[rows], STEPS)
        held += abs(found.value - whole) <= 1.645 * found.error
    assert 0.85 <= held / 300 <= 0.95


@given(st.integers(0, 10**6))
def test_turned_scores_turn_it_and_monotone_ones_leave_it(seed):
    random = np.random.default_rng(seed)
    scores, steps = population(random, 60)
    ages = random.integers(0, 2 * STEPS, 60)
    found = concordance(scores, ages, steps, STEPS)
    if found is None:
        return
    turned = concordance(-scores, ages, steps, STEPS)
    assert 0 <= found.value <= 1
    assert turned.value == pytest.approx(1 - found.value)
    assert concordance(np.exp(scores), ages, steps, STEPS).value == pytest.approx(found.value)


def test_rows_drawn_twice_as_clusters_are_as_sure_as_drawn_once():
    random = np.random.default_rng(5)
    scores, steps = population(random, 300)
    ages, twice = random.integers(1, 2 * STEPS, 300), np.repeat(np.arange(300), 2)
    once = concordance(scores, ages, steps, STEPS)
    clustered = concordance(scores[twice], ages[twice], steps[twice], STEPS, clusters=twice)
    assert clustered.value == pytest.approx(once.value)
    assert clustered.error == pytest.approx(once.error)


def test_without_a_pair_there_is_none_and_one_event_has_no_spread():
    nobody = np.array([NO_EVENT, NO_EVENT])
    assert concordance(np.array([0.1, 0.2]), np.array([3, 3]), nobody, STEPS) is None
    one = concordance(np.array([0.3, 0.2]), np.array([3, 3]), np.array([0, NO_EVENT]), STEPS)
    assert (one.value, one.error, one.events) == (1.0, None, 1)

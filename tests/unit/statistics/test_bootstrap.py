"""The paired bootstrap: what is sure, what is chance, and that the same question gets the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import PairedDifference, paired_difference

AUC, RMSE = metrics.get("roc_auc"), metrics.get("rmse")


def compare(
    labels, challenger, champion, *, metric=AUC, seed=0, confidence=0.9, stratify=True, draws=200
) -> PairedDifference:
    return paired_difference(
        metric, labels, challenger, champion, stratify=stratify, confidence=confidence, draws=draws, seed=seed
    )


def scores(seed: int, rows: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and predictions that follow them as closely as `signal` says."""
    random = np.random.default_rng(seed)
    labels = (np.arange(rows) % 3 == 0).astype(float)
    return labels, 1 / (1 + np.exp(-(signal * (labels - 0.5) + random.normal(size=rows))))


def test_the_same_rows_and_seed_give_the_same_numbers():
    labels, challenger = scores(1, 300, 1.0)
    _, champion = scores(2, 300, 1.0)
    assert compare(labels, challenger, champion) == compare(labels, challenger, champion)
    assert compare(labels, challenger, champion, seed=1) != compare(labels, challenger, champion)


@given(st.integers(0, 10**6), st.integers(6, 100), st.sampled_from(["roc_auc", "brier", "average_precision"]))
@settings(max_examples=10)
def test_a_model_against_itself_gains_nothing_and_is_better_in_half_of_the_draws(seed, rows, name):
    labels, predictions = scores(seed, rows, 1.0)
    found = compare(labels, predictions, predictions.copy(), metric=metrics.get(name), draws=100)
    assert (found.gain, found.low, found.high, found.probability_better) == (0, 0, 0, 0.5)


def test_a_much_better_model_is_found():
    labels, good = scores(1, 600, 3.0)
    _, poor = scores(2, 600, 0.2)
    found = compare(labels, good, poor)
    assert found.low > 0.1
    assert found.probability_better == 1.0
    assert found.gain == pytest.approx(metrics.roc_auc(labels, good) - metrics.roc_auc(labels, poor))


def test_a_smaller_error_is_a_gain():
    random = np.random.default_rng(0)
    labels = random.normal(size=400)
    near, far = labels + random.normal(scale=0.1, size=400), labels + random.normal(scale=1.0, size=400)
    found = compare(labels, near, far, metric=RMSE, stratify=False)
    assert 0 < found.low < found.gain < found.high


def test_swapping_the_two_turns_the_answer_round():
    labels, one = scores(1, 200, 1.0)
    _, other = scores(2, 200, 1.0)
    there, back = compare(labels, one, other), compare(labels, other, one)
    assert back.gain == -there.gain
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.probability_better == pytest.approx(1 - there.probability_better)


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_the_rows_does_not_change_the_gain(seed, random):
    labels, challenger = scores(seed, 90, 1.0)
    _, champion = scores(seed + 1, 90, 0.5)
    order = list(range(90))
    random.shuffle(order)
    for metric in (AUC, metrics.get("brier")):
        straight = compare(labels, challenger, champion, metric=metric, draws=100)
        shuffled = compare(labels[order], challenger[order], champion[order], metric=metric, draws=100)
        assert shuffled.gain == pytest.approx(straight.gain, abs=1e-12)


def test_a_lower_confidence_gives_an_interval_inside():
    labels, challenger = scores(1, 300, 1.0)
    _, champion = scores(2, 300, 0.8)
    wide, narrow = (compare(labels, challenger, champion, confidence=level) for level in (0.95, 0.6))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_with_one_rare_event_every_draw_still_has_it():
    labels = np.zeros(50)
    labels[7] = 1.0
    predictions = np.linspace(0, 1, 50)
    found = compare(labels, predictions, predictions[::-1].copy())
    assert np.isfinite([found.low, found.high]).all()


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Two models of equal worth on 60 samples: a 90 % interval misses the true gain, 0, in about 6 of them."""
    missed = 0
    for seed in range(60):
        labels, one = scores(2 * seed, 150, 1.0)
        _, other = scores(2 * seed + 1, 150, 1.0)
        found = compare(labels, one, other, metric=metrics.get("brier"), draws=150, seed=seed)
        missed += not found.low <= 0 <= found.high
    assert missed <= 15


def test_vectors_of_different_lengths_are_refused():
    labels, predictions = scores(1, 30, 1.0)
    with pytest.raises(ValueError, match="Shapes differ"):
        compare(labels, predictions, predictions[:-1])

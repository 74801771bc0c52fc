"""How much a model loses with age: by hand, where the truth is known, and how often chance is taken for a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error

from mlplatform.statistics.staleness import FEWEST_WINDOWS, Curve, ScoredWindow, curve


def measured(seen: list[ScoredWindow], **options: Any) -> Curve:
    settings = {"greater_is_better": True, "limit": 0.0, "confidence": 0.9, "draws": 200, "seed": 0}
    return curve(seen, **{**settings, **options})


def test_metric_and_loss_are_means_weighted_by_rows():
    """Two models; the second one is champion from window 2 on."""
    found = measured(
        [
            ScoredWindow(0, 0, 100, 0.80),
            ScoredWindow(1, 1, 300, 0.72),
            ScoredWindow(2, 2, 100, 0.60, then=0.70),
            ScoredWindow(2, 0, 100, 0.70),
            ScoredWindow(3, 3, 200, 0.50, then=0.74),
            ScoredWindow(3, 1, 200, 0.74),
        ]
    )
    assert [(at.age, at.windows, at.rows, at.compared) for at in found.ages] == [
        (0, 2, 200, 0),
        (1, 2, 500, 0),
        (2, 1, 100, 1),
        (3, 1, 200, 1),
    ]
    # (100 x 0.80 + 100 x 0.70) / 200, (300 x 0.72 + 200 x 0.74) / 500, and one window each.
    assert [at.metric for at in found.ages] == pytest.approx([0.75, 0.728, 0.60, 0.50])
    assert [at.loss for at in found.ages[:2]] == [None, None]
    assert [(at.stale, at.then, at.loss) for at in found.ages[2:]] == [
        pytest.approx((0.60, 0.70, 0.10)),
        pytest.approx((0.50, 0.74, 0.24)),
    ]


def test_of_an_error_the_larger_one_is_the_worse():
    (at,) = measured(
        [ScoredWindow(0, 1, 10, 3.0, then=2.0), ScoredWindow(1, 1, 30, 5.0, then=2.0)], greater_is_better=False
    ).ages
    # (10 x 1 + 30 x 3) / 40
    assert (at.stale, at.then, at.loss) == pytest.approx((4.5, 2.0, 2.5))


def test_with_few_windows_the_interval_is_over_their_rows_and_says_so():
    at = measured(
        [
            ScoredWindow(0, 1, 100, 0.6, then=0.7, error=0.03, loss_error=0.03),
            ScoredWindow(1, 1, 300, 0.6, then=0.7, error=0.01, loss_error=0.02),
        ]
    ).ages[0]
    assert at.interval is not None
    assert at.loss_interval is not None
    # sqrt((100 x 0.03)^2 + (300 x 0.02)^2) / 400 = 0.01677, and 1.645 of it on both sides.
    assert (at.loss_interval.low, at.loss_interval.high) == pytest.approx((0.1 - 0.02759, 0.1 + 0.02759), abs=1e-5)
    assert (at.interval.over, at.loss_interval.over) == ("rows", "rows")
    unknown = measured(
        [ScoredWindow(0, 1, 100, 0.6, then=0.7, loss_error=0.03), ScoredWindow(1, 1, 300, 0.6, then=0.7)]
    ).ages[0]
    assert unknown.loss_interval is None


@pytest.mark.parametrize(("windows", "verdict"), [(FEWEST_WINDOWS - 1, "too few"), (FEWEST_WINDOWS, "age")])
def test_nothing_is_concluded_from_too_few_windows(windows, verdict):
    found = measured(
        [ScoredWindow(number, 2, 100, 0.5, then=0.6, loss_error=0.001) for number in range(windows)]
    ).recommended
    assert found.verdict == verdict
    assert found.age == (2 if verdict == "age" else None)
    assert found.windows == windows


def test_neighbouring_ages_are_judged_together_until_they_have_enough_windows():
    """One model that was replaced, seen at another age in each window: 11 windows are two groups."""
    losses = [0.01, 0.02, 0.03, 0.04, 0.05, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16]
    found = measured(
        [ScoredWindow(number, 4 + number, 100, 0.7 - loss, then=0.7) for number, loss in enumerate(losses)]
    )
    assert [(it.first, it.last, it.windows) for it in found.recommended.judged] == [(4, 8, 5), (9, 14, 6)]
    assert [it.loss for it in found.recommended.judged] == pytest.approx([0.03, 0.135])
    assert all(it.interval.low < it.loss < it.interval.high for it in found.recommended.judged)
    assert (found.recommended.verdict, found.recommended.age) == ("age", 4)
    assert len(found.ages) == 11
    above = measured(
        [ScoredWindow(number, 4 + number, 100, 0.7 - loss, then=0.7) for number, loss in enumerate(losses)], limit=0.08
    )
    assert (above.recommended.earliest, above.recommended.age, above.recommended.latest) == (9, 9, 9)


def test_two_models_of_one_window_are_one_window():
    found = measured([ScoredWindow(number % 4, number, 100, 0.6, then=0.7) for number in range(8)]).recommended
    assert (found.verdict, found.windows) == ("too few", 4)


def test_without_anything_seen_there_is_nothing_to_say():
    found = measured([])
    assert found.ages == ()
    assert found.recommended.verdict == "too few"


def test_what_every_window_agrees_on_is_certain():
    """Loss 0.01 a step in each of ten windows, accepted 0.025: from age 3 on, without doubt."""
    seen = [ScoredWindow(number, age, 100, 0.7 - 0.01 * age, then=0.7) for number in range(10) for age in range(1, 6)]
    found = measured(seen, limit=0.025)
    assert found.recommended.verdict == "age"
    assert (found.recommended.age, found.recommended.earliest, found.recommended.latest) == (3, 3, 3)
    at = found.ages[2]
    assert at.loss_interval is not None
    assert (at.loss_interval.low, at.loss_interval.high) == pytest.approx((0.03, 0.03))
    assert measured(seen, limit=0.06).recommended.verdict == "none"


def test_a_loss_that_the_windows_disagree_about_leaves_a_wide_interval_of_ages():
    random = np.random.default_rng(1)
    seen = [
        ScoredWindow(number, age, 100, 0.7 - 0.01 * age - 0.02 * random.normal(), then=0.7)
        for number in range(12)
        for age in range(1, 9)
    ]
    found = measured(seen, limit=0.035).recommended
    assert found.verdict == "age"
    assert found.earliest is not None
    assert found.age is not None
    assert found.latest is not None
    assert found.earliest <= 4 <= found.latest
    assert found.earliest < found.latest
    assert found.earliest <= found.age <= found.latest


def test_chance_alone_is_seldom_taken_for_a_loss():
    """No age loses anything, and a window's ages have most of their chance in common; in 200 replays."""
    random = np.random.default_rng(2)
    verdicts = []
    for _ in range(200):
        common = random.normal(size=12)
        seen = [
            ScoredWindow(number, age, 100, 0.7 - 0.02 * (common[number] + random.normal()), then=0.7)
            for number in range(12)
            for age in range(1, number + 1)
        ]
        verdicts.append(measured(seen).recommended.verdict)
    assert verdicts.count("age") <= 16  # 5 % of 200, and what chance adds
    assert verdicts.count("too few") == 0


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        seen = [ScoredWindow(number, 1, 100, 0.6, then=0.65 + 0.02 * random.normal()) for number in range(10)]
        interval = measured(seen).ages[0].loss_interval
        assert interval is not None
        held += interval.low <= 0.05 <= interval.high
    assert 0.85 * 300 <= held <= 0.96 * 300


STEP, NOISE = 0.25, 1.0


def test_where_the_world_turns_at_a_known_pace_the_age_is_found():
    """y = b(t) x + noise, and b grows by a quarter a step: k steps later a model errs by sqrt((k / 4)^2 + 1).

    Models are fitted and judged by scikit-learn alone. Accepted is a loss of 0.2.
    """
    random = np.random.default_rng(4)
    models, seen = [], []
    for step in range(16):
        inputs = random.normal(size=(3000, 1))
        labels = STEP * step * inputs[:, 0] + NOISE * random.normal(size=3000)
        # Each model predicts windows that began when it was trained, or later.
        if models:
            errors = [root_mean_squared_error(labels, model.predict(inputs)) for model in models]
            for trained, error in enumerate(errors):
                newest = trained == len(models) - 1
                seen.append(ScoredWindow(step, step - 1 - trained, 3000, error, then=None if newest else errors[-1]))
        models.append(LinearRegression().fit(inputs, labels))
    found = measured(seen, greater_is_better=False, limit=0.2)
    # The champion then errs by the one step between its training and the window.
    truth = [np.sqrt((STEP * (age + 1)) ** 2 + 1) for age in range(15)]
    assert [at.metric for at in found.ages[:10]] == pytest.approx(truth[:10], abs=0.04)
    assert [at.loss for at in found.ages[1:10]] == pytest.approx([it - truth[0] for it in truth[1:10]], abs=0.04)
    first = next(age for age, it in enumerate(truth) if it - truth[0] > 0.2)
    assert (found.recommended.earliest, found.recommended.age, found.recommended.latest) == (first, first, first)

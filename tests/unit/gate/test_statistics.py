"""What the gate's statistics are worth, by simulation: how often it is wrong, what it finds, what intervals cover.

Slow; the figures are printed (`pytest -m slow -s`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import Evidence
from mlplatform.gate.checks.performance import BeatsChampion
from mlplatform.gate.checks.slices import Slices
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import paired_difference
from mlplatform.statistics.spending import Spent, of_the_year

pytestmark = pytest.mark.slow

FRAMES, ROWS, DRAWS = 1000, 600, 300
NOMINAL = 0.05  # one side of the default interval of 90 %
# Three standard errors of a share that is truly the nominal one, over so many frames.
NOISE = 3 * (NOMINAL * (1 - NOMINAL) / FRAMES) ** 0.5


def settings(metric: str = "roc_auc", **gate: Any) -> UseCaseSettings:
    task = "regression" if metric in ("mae", "rmse") else "classification"
    return UseCaseSettings.model_validate(
        {
            "owner": "x",
            "task": task,
            "label": {"horizon": "1 day"},
            "training": {"metric": metric},
            "gate": {"floor": 0.0, "draws": DRAWS, "error_per": "decision", **gate},
        }
    )


def frame(seed: int, better: float = 0.0, rows: int = ROWS, rate: float = 0.2) -> Evidence:
    """A frame with two models that share most of what they see; the challenger's signal is larger by `better`."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < rate).astype(float)
    shared = random.normal(size=rows)
    made = []
    for signal in (1.0 + better, 1.0):
        noise = 0.8 * shared + 0.6 * random.normal(size=rows)
        made.append(1 / (1 + np.exp(-(signal * (labels - 0.5) * 1.5 + noise - 1))))
    return Evidence(labels, made[0], made[1], {}, rows=pa.table({"part": np.arange(rows) % 10}))


def regression_frame(seed: int, better: float = 0.0) -> Evidence:
    random = np.random.default_rng(seed)
    labels = random.exponential(10.0, ROWS)
    shared = random.normal(size=ROWS)
    challenger, champion = (
        labels + scale * (0.8 * shared + 0.6 * random.normal(size=ROWS)) for scale in (5 * (1 - better), 5.0)
    )
    return Evidence(labels, challenger, champion, {})


def share_promoted(check: BeatsChampion, frames: list[Evidence]) -> float:
    return sum(check.run(found).status == "pass" for found in frames) / len(frames)


@pytest.mark.parametrize("metric", ["roc_auc", "brier", "average_precision"])
def test_a_model_no_better_is_promoted_at_most_at_the_nominal_rate(metric, capsys):
    check = BeatsChampion(settings(metric))
    found = share_promoted(check, [frame(seed) for seed in range(FRAMES)])
    with capsys.disabled():
        print(f"\nno better, {metric}: promoted in {found:.1%} of {FRAMES} frames (nominal {NOMINAL:.0%})")
    assert found <= NOMINAL + NOISE


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_regression_no_better_is_promoted_at_most_at_the_nominal_rate(metric, capsys):
    check = BeatsChampion(settings(metric))
    found = share_promoted(check, [regression_frame(seed) for seed in range(FRAMES)])
    with capsys.disabled():
        print(f"\nno better, {metric}: promoted in {found:.1%} of {FRAMES} frames (nominal {NOMINAL:.0%})")
    assert found <= NOMINAL + NOISE


@pytest.mark.parametrize("metric", ["brier", "roc_auc"])
def test_a_year_of_challengers_no_better_promotes_one_at_most_as_often_as_promised(metric, capsys):
    """One a month; `tests/benchmarks/gate_errors.py` has ten thousand such years."""
    years, found = 300, {"year": 0, "decision": 0}
    check = BeatsChampion(settings(metric))
    for year in range(years):
        frames = [frame(1000 * year + month, rows=300) for month in range(12)]
        found["decision"] += any(check.run(evidence).status == "pass" for evidence in frames)
        spent: list[Spent] = []
        for month, evidence in enumerate(frames, start=1):
            spending = of_the_year(NOMINAL, spent, datetime(2020, month, 1, tzinfo=UTC))
            spent.append(Spent(datetime(2020, month, 1, tzinfo=UTC), spending.level))
            if check.run(replace(evidence, spending=spending)).status == "pass":
                found["year"] += 1
                break
    with capsys.disabled():
        told = ", ".join(f"per {per} {count / years:.1%}" for per, count in found.items())
        print(f"\nno better, one a month, {metric}: promoted within the year: {told} of {years} years")
    assert found["year"] / years <= NOMINAL + 3 * (NOMINAL * (1 - NOMINAL) / years) ** 0.5
    assert found["decision"] / years > 0.3


def test_the_very_same_model_is_never_promoted(capsys):
    check = BeatsChampion(settings())
    frames = []
    for seed in range(FRAMES):
        made = frame(seed)
        frames.append(Evidence(made.labels, made.challenger, made.challenger.copy(), {}))
    found = share_promoted(check, frames)
    with capsys.disabled():
        print(f"\nthe same model twice: promoted in {found:.1%} of {FRAMES} frames")
    assert found == 0


def test_a_loss_as_large_as_the_margin_passes_at_most_at_the_nominal_rate(capsys):
    """Non-inferiority, at its limit: the challenger truly loses what is allowed, in the mean absolute error."""
    truth = (0.5 * 5) * np.sqrt(2 / np.pi)  # the mean of |scale x normal|: of scale 7.5 less that of scale 5
    check = BeatsChampion(settings("mae", margin=float(truth)))
    found = share_promoted(check, [regression_frame(seed, better=-0.5) for seed in range(FRAMES)])
    with capsys.disabled():
        print(f"\nworse by the margin of {truth:.2f}: passed in {found:.1%} of {FRAMES} frames (nominal {NOMINAL:.0%})")
    assert found <= NOMINAL + NOISE


@pytest.mark.parametrize(("metric", "better", "power"), [("roc_auc", 0.3, 0.9), ("mae", 0.1, 0.9)])
def test_a_truly_better_model_is_found(metric, better, power, capsys):
    check = BeatsChampion(settings(metric))
    make = regression_frame if metric == "mae" else frame
    frames = [make(seed, better=better) for seed in range(300)]
    gain = float(np.mean([check.run(found).numbers["gain"] for found in frames[:50]]))
    found = share_promoted(check, frames)
    with capsys.disabled():
        print(
            f"\nbetter by {gain:.3f} {metric} on {ROWS} rows: found in {found:.1%} of 300 frames (asked: {power:.0%})"
        )
    assert found >= power


@pytest.mark.parametrize(("metric", "confidence"), [("roc_auc", 0.9), ("roc_auc", 0.8), ("brier", 0.9)])
def test_intervals_cover_the_truth_as_often_as_they_say(metric, confidence, capsys):
    """The truth: the gain on a frame of two million rows."""
    better, measure = 0.3, metrics.get(metric)
    large = frame(10**6, better, rows=2_000_000)
    assert large.champion is not None
    truth = measure.gain(measure.compute(large.labels, large.challenger), measure.compute(large.labels, large.champion))
    hits = 0
    for seed in range(FRAMES):
        made = frame(seed, better)
        assert made.champion is not None
        found = paired_difference(
            measure, made.labels, made.challenger, made.champion,
            stratify=metric == "roc_auc", confidence=confidence, draws=DRAWS, seed=seed,
        )  # fmt: skip
        hits += found.low <= truth <= found.high
    covered = hits / FRAMES
    with capsys.disabled():
        print(f"\n{confidence:.0%} interval, {metric}: covers {truth:.4f} in {covered:.1%} of {FRAMES} frames")
    noise = 3 * (confidence * (1 - confidence) / FRAMES) ** 0.5
    assert confidence - noise <= covered <= confidence + noise


def test_clusters_keep_the_rate_that_rows_alone_would_break(capsys):
    """Thirty rows an entity, whose errors agree: taken one by one they feign evidence that is not there."""
    entities, each, frames = 40, 30, 400
    promoted = {"rows": 0, "clusters": 0}
    checks = {
        "rows": BeatsChampion(settings("mae")),
        "clusters": BeatsChampion(settings("mae", cluster_by=["entity"])),
    }
    entity = np.repeat(np.arange(entities), each)
    for seed in range(frames):
        random = np.random.default_rng(seed)
        labels = random.normal(size=entities * each)
        one, other = (np.repeat(random.normal(size=entities), each) for _ in range(2))
        found = Evidence(labels, labels + one, labels + other, {}, rows=pa.table({"entity": entity}))
        for name, check in checks.items():
            promoted[name] += check.run(found).status == "pass"
    shares = {name: count / frames for name, count in promoted.items()}
    with capsys.disabled():
        print(f"\nno better, {each} rows an entity: promoted by rows {shares['rows']:.1%}, by clusters", end=" ")
        print(f"{shares['clusters']:.1%} (nominal {NOMINAL:.0%})")
    assert shares["clusters"] <= NOMINAL + 3 * (NOMINAL * (1 - NOMINAL) / frames) ** 0.5
    assert shares["rows"] > 0.2


def test_ten_slices_together_fail_a_good_challenger_no_more_often_than_one_would(capsys):
    """Each slice is tested at a tenth of the level; untested for number, one in three would fail by chance."""
    limits = {"columns": ["part"], "min_rows": 50, "min_positives": 5}
    check = Slices(settings("brier", slices=limits))
    frames, failed, alone = 400, 0, 0
    for seed in range(frames):
        found = check.run(frame(seed, rows=2000))
        failed += found.status == "fail"
        for part in found.parts:
            # Back from the corrected interval to the standard error, for a test that forgets how many there are.
            error = (part["high"] - part["gain"]) / NormalDist().inv_cdf(1 - NOMINAL / 10)
            if part["gain"] + NormalDist().inv_cdf(1 - NOMINAL) * error < 0:
                alone += 1
                break
    with capsys.disabled():
        print(
            f"\nten slices, no better: {failed / frames:.1%} of {frames} frames fail; uncorrected {alone / frames:.1%}"
        )
    assert failed / frames <= NOMINAL + 3 * (NOMINAL * (1 - NOMINAL) / frames) ** 0.5
    assert alone / frames > 3 * failed / frames


def test_a_slice_in_which_the_challenger_is_much_worse_is_found(capsys):
    check = Slices(settings("brier", slices={"columns": ["part"], "min_rows": 50, "min_positives": 5}))
    frames, found = 100, 0
    for seed in range(frames):
        made = frame(seed, better=0.5, rows=2000)
        spoilt = np.where(np.arange(2000) % 10 == 3, 1 - made.challenger, made.challenger)
        result = check.run(Evidence(made.labels, spoilt, made.champion, {}, rows=made.rows))
        found += "part = 3" in result.detail and result.status == "fail"
    with capsys.disabled():
        print(f"\none slice of 200 rows turned round: named in {found / frames:.0%} of {frames} frames")
    assert found / frames >= 0.9

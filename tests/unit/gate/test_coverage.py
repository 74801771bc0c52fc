"""How often the gate's intervals hold the truth, by a simulation that takes seconds; `test_statistics.py` has more.

Each case is made so that the true gain follows from a formula. The intervals are those that the check gives, with all
that it decides about them: within which classes rows are drawn, which clusters, how few units widen the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import Evidence
from mlplatform.gate.checks.performance import BeatsChampion
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import Group, difference_of_groups

FRAMES, DRAWS, CONFIDENCE = 400, 200, 0.9
# Three standard errors of a share that is truly the confidence, over so many frames.
NOISE = 3 * (CONFIDENCE * (1 - CONFIDENCE) / FRAMES) ** 0.5
LEAST, MOST = CONFIDENCE - NOISE, CONFIDENCE + NOISE
Made = Callable[[np.random.Generator], Evidence]
_MEAN = (2 / np.pi) ** 0.5  # of the absolute value of a standard normal number


@dataclass(frozen=True)
class Case:
    """Frames of one kind: the metric, the true gain, and how one is made."""

    metric: str
    truth: float
    make: Made
    cluster_by: tuple[str, ...] = ()


def ranked(random: np.random.Generator) -> Evidence:
    """Scores whose classes lie 1.2 and 0.9 standard deviations apart, with errors that agree in part."""
    labels = (random.random(300) < 0.3).astype(float)
    shared, own = random.normal(size=300), random.normal(size=(2, 300))
    challenger, champion = (
        apart * labels + 0.8 * shared + 0.6 * mine for apart, mine in zip((1.2, 0.9), own, strict=True)
    )
    return Evidence(labels, challenger, champion, {})


def off_in_level(random: np.random.Generator) -> Evidence:
    """Probabilities that are off by as much, one too high, one too low: who looks better hangs on the share of events.

    Drawn within each class, that share would be the same in every draw, and the interval have no width.
    """
    truth = np.where(random.random(300) < 0.5, 0.1, 0.3)
    labels = (random.random(300) < truth).astype(float)
    return Evidence(labels, truth + 0.05, truth - 0.05, {})


def amounts(random: np.random.Generator, rows: int = 300) -> Evidence:
    labels, shared, own = random.exponential(10.0, rows), random.normal(size=rows), random.normal(size=(2, rows))
    challenger, champion = (
        labels + scale * (0.8 * shared + 0.6 * mine) for scale, mine in zip((4.0, 5.0), own, strict=True)
    )
    return Evidence(labels, challenger, champion, {})


def of_entities(random: np.random.Generator, entities: int = 40, each: int = 8) -> Evidence:
    """An entity's rows share their errors: it is the entities that count, not the rows."""
    labels = random.normal(size=entities * each)
    challenger, champion = (np.repeat(scale * random.normal(size=entities), each) for scale in (4.0, 5.0))
    rows = pa.table({"entity": np.repeat(np.arange(entities), each)})
    return Evidence(labels, labels + challenger, labels + champion, {}, rows=rows)


def area(apart: float) -> float:
    return NormalDist().cdf(apart / 2**0.5)


CASES = {
    "ranking": Case("roc_auc", area(1.2) - area(0.9), ranked),
    "probabilities off in level": Case("brier", 0.0, off_in_level),
    "amounts": Case("mae", _MEAN, amounts),
    "rows of entities": Case("mae", _MEAN, of_entities, ("entity",)),
    "few rows": Case("mae", _MEAN, lambda random: amounts(random, rows=12)),
}


def two_groups(random: np.random.Generator, metric: str) -> tuple[Group, Group]:
    """Two groups that decisions were made for by different models; of them 80 and 240 rows."""
    groups = []
    for rows, apart, scale in ((80, 1.2, 4.0), (240, 0.9, 5.0)):
        if metric == "roc_auc":
            labels = (random.random(rows) < 0.3).astype(float)
            groups.append(Group(labels, apart * labels + random.normal(size=rows)))
        else:
            # Four rows an entity, whose errors agree.
            labels = random.exponential(10.0, rows)
            errors = np.repeat(scale * random.normal(size=rows // 4), 4)
            groups.append(Group(labels, labels + errors, np.repeat(np.arange(rows // 4), 4)))
    return groups[0], groups[1]


def intervals(case: Case) -> list[tuple[float, float]]:
    settings = UseCaseSettings.model_validate(
        {
            "owner": "x",
            "task": "regression" if case.metric == "mae" else "classification",
            "label": {"horizon": "1 day"},
            "training": {"metric": case.metric},
            "gate": {
                "error_per": "decision",
                "floor": 0.0, "draws": DRAWS, "confidence": CONFIDENCE, "cluster_by": case.cluster_by,
            },
        }
    )  # fmt: skip
    check, found = BeatsChampion(settings), []
    for seed in range(FRAMES):
        numbers: dict[str, Any] = check.run(case.make(np.random.default_rng(seed))).numbers
        found.append((numbers["low"], numbers["high"]))
    return found


def covered(found: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in found]))


# What the others are about, a case beside them is about, too: drawing in pairs, and within which classes.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ("ranking", "amounts") else name for name in CASES]
)
def test_the_intervals_of_the_gate_hold_the_true_gain_as_often_as_they_say(name: str) -> None:
    case = CASES[name]
    found = intervals(case)
    share = covered(found, case.truth)
    assert LEAST <= share <= MOST, f"a {CONFIDENCE:.0%} interval holds the true gain in {share:.1%} of {FRAMES} frames"
    # The bound can fail: of half the width, or twice it, they do not hold.
    for factor in (0.5, 2.0):
        middle = [((low + high) / 2, factor * (high - low) / 2) for low, high in found]
        wrong = covered([(at - half, at + half) for at, half in middle], case.truth)
        assert not LEAST <= wrong <= MOST


@pytest.mark.parametrize(
    ("metric", "truth"), [pytest.param("roc_auc", area(1.2) - area(0.9), marks=pytest.mark.slow), ("mae", _MEAN)]
)
def test_the_intervals_of_two_groups_hold_the_true_gain_as_often_as_they_say(metric: str, truth: float) -> None:
    found = []
    for seed in range(FRAMES):
        groups = two_groups(np.random.default_rng(seed), metric)
        gain = difference_of_groups(metrics.get(metric), *groups, confidence=CONFIDENCE, draws=DRAWS, seed=seed)
        found.append((gain.low, gain.high))
    assert LEAST <= covered(found, truth) <= MOST

"""How often a challenger that is no better is promoted in a year, each month one, and what that costs in power.

    python tests/benchmarks/gate_errors.py
    python tests/benchmarks/gate_errors.py --years 10000 --metric roc_auc --worlds fresh

Each month the gate compares on a frame of 600 rows, by its own bootstrap (500 draws), and promotes or not: by an error
per decision, by an error per year, and by an interval that is valid at any time (a confidence sequence: the normal
mixture of Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", Annals of Mathematical
Statistics 1970, as in Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, Nonparametric, Nonasymptotic Confidence
Sequences", Annals of Statistics 2021), which gets the same error a year. Worlds:

    fresh    a new challenger each month, on rows that no month before had
    rolling  a new challenger each month, on the rows of the last twelve months
    again    the same challenger each month, on all rows so far

Years are counted in the first year of a model, and in its fourth, when each decision has a year of others before it.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from dateutil.relativedelta import relativedelta

from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import PairedDifference, paired_difference
from mlplatform.statistics.metrics import Vector
from mlplatform.statistics.spending import Spent, of_the_year

ALLOWED, ROWS, DRAWS, MONTHS, CONFIDENCE = 0.05, 600, 500, 12, 0.9
RULES = ("per decision", "per year: first", "per year: fourth", "any time")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=200, help="Model-years of each world; the table has 10,000.")
    parser.add_argument("--metric", default="brier", help="roc_auc takes four times as long.")
    parser.add_argument("--worlds", nargs="+", default=["fresh", "rolling", "again"])
    parser.add_argument("--better", type=float, default=0.0, help="How much stronger the challenger's signal truly is.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for world in arguments.worlds:
        started = time.perf_counter()
        found = _simulated(world, arguments.years, arguments.metric, arguments.better, arguments.seed)
        seconds = time.perf_counter() - started
        print(f"{world}, {arguments.metric}, {arguments.years:,} model-years of {MONTHS} months, better by", end=" ")
        print(f"{arguments.better:g} (gain {np.mean(found.gains):+.4f}), {seconds:.0f} s", flush=True)
        for rule in RULES:
            first = np.array(found.first[rule])
            month = f"{np.median(first[first < MONTHS]) + 1:.0f}" if (first < MONTHS).any() else "-"
            print(
                f"  {rule:18} promoted within the year {np.mean(first < MONTHS):7.2%}, in a month "
                f"{found.passed[rule] / (arguments.years * MONTHS):7.2%}, median month {month}",
                flush=True,
            )


@dataclass
class Found:
    """What a world showed: in which month a challenger was promoted first (12: in none), and how often in all."""

    first: dict[str, list[int]] = field(default_factory=lambda: {rule: [] for rule in RULES})
    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    gains: list[float] = field(default_factory=list)


def levels(years_before: int) -> list[float]:
    """Return the levels of a year's monthly decisions, so many years of others before it."""
    spent: list[Spent] = []
    for number in range((years_before + 1) * MONTHS):
        moment = datetime(2020, 1, 1, tzinfo=UTC) + relativedelta(months=number)
        spent.append(Spent(moment, of_the_year(ALLOWED, spent, moment).level))
    return [item.level for item in spent[-MONTHS:]]


def _simulated(world: str, years: int, metric_name: str, better: float, seed: int) -> Found:
    found, metric = Found(), metrics.get(metric_name)
    first_year, fourth_year = levels(0), levels(3)
    for year in range(years):
        random = np.random.default_rng([seed, year])
        once: dict[str, int] = dict.fromkeys(RULES, MONTHS)
        for month, (labels, challenger, champion) in enumerate(_frames(world, random, better)):
            difference = paired_difference(
                metric, labels, challenger, champion, stratify=metric.within_classes, confidence=CONFIDENCE,
                draws=DRAWS, seed=0,
            )  # fmt: skip
            found.gains.append(difference.gain)
            passes = {
                "per decision": difference.low > 0,
                "per year: first": difference.leaving(first_year[month]).low > 0,
                "per year: fourth": difference.leaving(fourth_year[month]).low > 0,
                "any time": _any_time(difference, world, first_year[month], labels.size),
            }
            for rule, passed in passes.items():
                found.passed[rule] += passed
                if passed:
                    once[rule] = min(once[rule], month)
        for rule, month in once.items():
            found.first[rule].append(month)
    return found


def _any_time(difference: PairedDifference, world: str, level: float, rows: int) -> bool:
    """Tell whether a confidence sequence lies above zero: each new challenger gets a share, the same one has it all."""
    error = 2 * (ALLOWED if world == "again" else level)
    # The mixture is the narrowest around this many rows: those of the first decision.
    scale = (-2 * np.log(error) + np.log(-2 * np.log(error) + 1)) * rows / ROWS
    radius = np.sqrt((1 + 1 / scale) * np.log((1 + scale) / error**2))
    return bool(difference.gain > radius * difference.standard_error)


def _frames(world: str, random: np.random.Generator, better: float) -> list[tuple[Vector, Vector, Vector]]:
    each = ROWS if world != "rolling" else ROWS // MONTHS
    months = MONTHS if world != "rolling" else 2 * MONTHS - 1
    labels = (random.random((months, each)) < 0.2).astype(float)
    shared = random.normal(size=(months, each))
    champion = _scores(labels, shared, random, 0.0)
    frames = []
    same = _scores(labels, shared, random, better)
    for month in range(MONTHS):
        if world == "fresh":
            chosen = slice(month, month + 1)
        else:
            chosen = slice(month, month + MONTHS) if world == "rolling" else slice(0, month + 1)
        own = same if world == "again" else _scores(labels, shared, random, better)
        frames.append((labels[chosen].ravel(), own[chosen].ravel(), champion[chosen].ravel()))
    return frames


def _scores(labels: Vector, shared: Vector, random: np.random.Generator, better: float) -> Vector:
    """Return one model's probabilities: models share most of what they see, and err in the rest."""
    noise = 0.8 * shared + 0.6 * random.normal(size=labels.shape)
    return np.asarray(1 / (1 + np.exp(-((1 + better) * (labels - 0.5) * 1.5 + noise - 1))))


if __name__ == "__main__":
    main()

"""How often do windows without any change raise an alarm? Measured, against the configured rate.

Drift: reference and windows are drawn from one population of 20 columns: normal, skewed, counts, with nulls, categories
with few and with very many values. Once with limits of zero, so that the tests alone decide, once with the default
limits.

The trivial baseline: windows of three versions, each exactly as good as its baseline, so that every alert is a false
one; and what is told of versions that are worse by a tenth.

The base rate from scores alone: reference, calibration and window drawn anew; how often it is said to have moved where
it has not, how often its interval holds the truth where it has doubled, and how often that is found.

Immature performance: portfolios whose risks do not change, with versions that are exactly at the limit (expected rate
over mean score, concordance), so that every alert is a false one; with entities that have their event in several rows;
and what is told of versions that are beyond it: by a quarter, of the concordance by 0.1.

    python tests/benchmarks/false_alarms.py [windows] [drift|baseline|prior_shift|immature ...]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import drift
from mlplatform.monitoring.baseline import Beside, surely_worse
from mlplatform.monitoring.immature_judging import Calibration, OfVersion, Ranking
from mlplatform.refine.exposures import Counts
from mlplatform.statistics import baseline, estimate, metrics
from mlplatform.statistics.concordance import concordance
from mlplatform.statistics.life_tables import Cohorts, LifeTable, expected_rate
from mlplatform.statistics.prior_shift import ScoreCounts, estimate_prior
from mlplatform.statistics.profiles import count_batches, profile_table

TINY = 1e-9
RATE = 0.05
VERSIONS = 3
LABELS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, rows: random.normal(20, 5, rows),
    "minutes late": lambda random, rows: random.lognormal(2, 1, rows) - 5,
    "rare and large": lambda random, rows: np.where(random.random(rows) < 0.1, random.lognormal(5, 1, rows), 0.0),
    "events, 30 %": lambda random, rows: (random.random(rows) < 0.3).astype(float),
    "events, 3 %": lambda random, rows: (random.random(rows) < 0.03).astype(float),
}
MODELS = (
    ("normal", "mae"), ("minutes late", "mae"), ("minutes late", "rmse"), ("rare and large", "rmse"),
    ("events, 30 %", "brier"), ("events, 3 %", "brier"), ("events, 3 %", "log_loss"), ("events, 30 %", "roc_auc"),
    ("events, 3 %", "roc_auc"),
)  # fmt: skip
# Of the baseline that models are made to be as good as.
_KNOWN = ("mean", "median")
# Rate, distance of the classes' scores, rows of the reference, rows of the window.
PRIORS = (
    (0.02, 1.0, 2_000, 3_000), (0.02, 1.0, 20_000, 3_000), (0.1, 0.7, 1_500, 1_000), (0.1, 1.5, 1_500, 1_000),
    (0.3, 1.0, 5_000, 300),
)  # fmt: skip
SHAPES = ((2_000, 200), (8_000, 600), (8_000, 3_000), (20_000, 6_500))


def draw(random: np.random.Generator, rows: int) -> pa.Table:
    """Draw rows of the population."""
    columns: dict[str, np.ndarray] = {}
    for copy in range(4):
        columns |= {
            f"normal{copy}": random.normal(size=rows),
            f"amount{copy}": random.lognormal(size=rows),
            f"count{copy}": random.poisson(2, rows).astype(float),
            f"sparse{copy}": np.where(random.random(rows) < 0.02, np.nan, random.random(rows)),
        }
    columns["region"] = random.choice(list("abcdefgh"), rows, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01])
    columns["flag"] = random.choice(["y", "n"], rows, p=[0.02, 0.98])
    columns["industry"] = np.char.add("i", random.zipf(1.2, rows).clip(max=90).astype(str))
    columns["code"] = np.char.add("c", random.zipf(1.5, rows).clip(max=400).astype(str))
    return pa.table(columns)


def measure(limits: MonitoringSettings, rows: int, window_rows: int, windows: int) -> tuple[float, Counter[str]]:
    """Return the share of windows flagged, and by which metrics."""
    random = np.random.default_rng(7)
    flagged, by = 0, Counter[str]()
    for _ in range(windows):
        profile = profile_table(draw(random, rows))
        window = draw(random, window_rows)
        found = drift.compare(profile, count_batches(profile, [window]), window_rows, limits)
        violated = [item.metric for item in found if item.violated]
        flagged += bool(violated)
        by.update(set(violated))
    return flagged / windows, by


class Population:
    """Labels of one kind, with a sample so large that its numbers are the population's."""

    def __init__(self, kind: str) -> None:
        self.draw = LABELS[kind]
        random = np.random.default_rng(1)
        self.labels, self.noise = self.draw(random, 500_000), random.normal(size=500_000)
        self.learned = baseline.learn(self.labels)
        self.binary = kind.startswith("events")
        self.spread = float(self.labels.std())

    def model(self, labels: np.ndarray, noise: np.ndarray, skill: float) -> np.ndarray:
        """Predict with some knowledge of the label and some noise."""
        rate, middle = self.learned["mean"], self.learned["median"]
        if self.binary:
            odds = np.log(rate / (1 - rate)) + skill * (labels - rate) + 0.7 * noise
            return np.asarray(1 / (1 + np.exp(-odds)))
        return np.asarray(middle + skill * (labels - middle) + 0.5 * self.spread * noise)

    def constant(self, name: str, rows: int) -> np.ndarray:
        """Predict as the baseline."""
        return np.full(rows, baseline.says(self.learned, name))

    def skill_of(self, name: str, ratio: float) -> float:
        """Return the skill at which the model's loss is so many times the baseline's (of the AUC: so much less)."""
        metric = metrics.get(name)
        wanted = metric.compute(self.labels, self.constant(name, self.labels.size))
        wanted *= 2 - ratio if metric.greater_is_better else ratio
        low, high = -2.0, 4.0 if self.binary else 1.0
        for _ in range(25):
            middle = (low + high) / 2
            value = metric.compute(self.labels, self.model(self.labels, self.noise, middle))
            low, high = (middle, high) if metric.gain(value, wanted) < 0 else (low, middle)
        return (low + high) / 2


def alerts(name: str, population: Population, rows: int, skill: float, windows: int, rate: float) -> float:
    """Return the share of windows in which one of the versions is said to be surely worse than its baseline."""
    random = np.random.default_rng(11)
    settings = UseCaseSettings.model_validate(
        {
            "owner": "x", "label": {"horizon": "1 day"}, "gate": {"floor": 0.5},
            "task": "classification" if population.binary else "regression", "training": {"metric": name},
            "monitoring": {"false_alarm_rate": rate},
        }
    )  # fmt: skip
    # As the baseline of a version that was trained on so many rows, and not on the whole population.
    learned = {**baseline.learn(population.draw(random, 5_000)), **{it: population.learned[it] for it in _KNOWN}}
    told, judged = 0, 0
    for _ in range(windows):
        found = {}
        for version in range(VERSIONS):
            labels = population.draw(random, rows)
            made = population.model(labels, random.normal(size=rows), skill)
            usual = baseline.usual_loss(learned, name)
            compared = baseline.compare(name, labels, made, population.constant(name, rows), usual=usual)
            few = population.binary and labels.sum() < baseline.LEAST_OF_CLASS
            why = "too few" if few or compared is None else compared.why
            judged += not why
            found[version] = Beside([], compared, why)
        told += bool(surely_worse(found, settings))
    return told / windows, judged / windows / VERSIONS


def against_the_baseline(windows: int) -> None:
    """Print how often versions that are as good as the baseline, and some that are worse, are an alert."""
    print(f"\n{VERSIONS} versions a window, each as good as the baseline; then each worse by a tenth (rate 1%)")
    for kind, name in MODELS:
        population = Population(kind)
        level, worse = population.skill_of(name, 1.0), population.skill_of(name, 1.1)
        for rows in (200, 1_000, 5_000):
            wide, judged = alerts(name, population, rows, level, windows, RATE)
            narrow, _ = alerts(name, population, rows, level, windows, 0.01)
            seen, worse_judged = alerts(name, population, rows, worse, max(windows // 10, 20), 0.01)
            print(
                f"{name:9s} {kind:15s} {rows:5d} rows a version: judged {judged:4.0%}, rate {RATE:.0%} {wide:6.2%}, "
                f"rate 1% {narrow:6.2%}, of those that are worse {seen:4.0%} (judged {worse_judged:4.0%})",
                flush=True,
            )


def prior_shift_of(windows: int) -> None:
    """Print level and power of the test of prior shift, and the coverage of its interval."""
    print("\nbase rate from scores alone: two normal classes, `apart` standard deviations; calibrated on the reference")
    for rate, apart, rows, window_rows in PRIORS:
        random, found = np.random.default_rng(5), Counter[str]()

        def scores(count: int, now: float, *, random: np.random.Generator = random, apart: float = apart,
                   rate: float = rate) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
            labels = (random.random(count) < now).astype(float)
            place = random.normal(size=count) + apart * labels
            return 1 / (1 + np.exp(-(apart * place - apart**2 / 2 + np.log(rate / (1 - rate))))), labels

        for _ in range(windows):
            known, labels = scores(rows, rate)
            calibration = estimate.fit_calibration(labels, known)
            if calibration is None:
                continue
            reference = ScoreCounts.of(known)
            same = estimate_prior(ScoreCounts.of(scores(window_rows, rate)[0]), reference, calibration, draws=50)
            doubled = estimate_prior(ScoreCounts.of(scores(window_rows, 2 * rate)[0]), reference, calibration)
            if same is None or doubled is None:
                continue
            found.update(
                {"judged": 1, "at 5 %": same.p_value < RATE, "at 1 %": same.p_value < 0.01,
                 "holds": doubled.low <= 2 * rate <= doubled.high, "found": doubled.p_value < 0.01}
            )  # fmt: skip
        judged = max(found["judged"], 1)
        print(
            f"rate {rate:4.0%}, apart {apart:g}, reference {rows:6d}, window {window_rows:5d}: rate {RATE:.0%} "
            f"{found['at 5 %'] / judged:6.2%}, rate 1% {found['at 1 %'] / judged:6.2%}; doubled: interval holds it "
            f"{found['holds'] / judged:5.1%}, found at 1% {found['found'] / judged:4.0%}",
            flush=True,
        )


HAZARDS = np.concatenate([np.linspace(0, 0.0016, 18), np.full(18, 0.0016)])  # 4 % within 36 steps, as loans have it
OLDEST, PERIOD = 83, 12


class Portfolio:
    """Rows of a portfolio whose risks do not change, some scored by versions and not mature."""

    def __init__(self, random: np.random.Generator, rows: int, shared: int, skill: float) -> None:
        self.steps = HAZARDS.size
        entities = rows // shared
        odds = np.repeat(random.normal(size=entities), shared)
        # So many rows of an entity begin one step after the other, and end with the one event that it has.
        begun = np.repeat(random.integers(0, OLDEST + 1, entities), shared) - np.tile(np.arange(shared), entities)
        hazards = HAZARDS * np.exp(skill * odds[::shared, None] - skill**2 / 2)
        comes = random.random(hazards.shape) < hazards
        event = np.where(comes.any(axis=1), comes.argmax(axis=1), 10_000)
        self.ages = np.maximum(begun, 0)
        step = np.repeat(event, shared) - np.tile(np.arange(shared), entities)
        self.event_steps = np.where((step >= 0) & (step < self.steps), step, -1)
        self.kept = (begun >= 0) & (step >= 0)
        self.entity, self.odds = np.repeat(np.arange(entities), shared), odds
        self.shared = shared

    def of_version(self, version: int, mean: float) -> OfVersion:
        """What is measured of a version whose scores have a mean: it scored the rows of some ages."""
        mine = self.kept & (self.ages < self.steps) & (self.ages // PERIOD == version)
        rows = np.ones(int(mine.sum()))
        counts = Counts(self.ages[mine], self.event_steps[mine], rows, rows * mean, self.steps)
        ordered = concordance(
            self.odds[mine], self.ages[mine], self.event_steps[mine], self.steps,
            clusters=np.unique(self.entity[mine], return_inverse=True)[1],
        )  # fmt: skip
        return OfVersion(version, counts, expected_rate(counts.cohorts, self.table), ordered)

    @property
    def table(self) -> LifeTable:
        """The present's risks, with what entities share."""
        rows = np.ones(int(self.kept.sum()))
        cohorts = Cohorts.of(self.ages[self.kept], self.event_steps[self.kept], rows, self.steps)
        ago = self.ages - 1 - self.event_steps
        lately = self.kept & (self.event_steps >= 0) & (ago >= 0) & (ago < PERIOD)
        shared = np.bincount(self.entity[lately])
        effect = float((shared**2).sum() / shared.sum()) if shared.sum() else 1.0
        return LifeTable.of_period(cohorts, PERIOD, design_effect=effect)


def truths(shared: int, skill: float) -> tuple[float, list[float]]:
    """Return the rate within the horizon, by integration, and the concordance of each version in a large portfolio."""
    large = Portfolio(np.random.default_rng(3), 1_200_000, shared, skill)
    found = [large.of_version(version, 0.02) for version in range(VERSIONS)]
    odds = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    lives = np.cumprod(1 - HAZARDS * np.exp(skill * odds[:, None] - skill**2 / 2), axis=1)
    # An entity's rows begin one step after the other, where it has not had its event: at a later age of the entity.
    begun = [np.ones(odds.size), *(lives[:, place] for place in range(shared - 1))]
    rate = 1 - shared * lives[:, -1].mean() / sum(alive.mean() for alive in begun)
    return float(rate), [item.ordered.value if item.ordered else 0.5 for item in found]


def immature(windows: int) -> None:
    """Print how often versions at the limit are an alert, and those that are beyond it."""
    print(f"\nImmature performance: {VERSIONS} versions at the limit, 12 steps of 36 apart; then beyond it (rate 1%)")
    for rows, shared, skill in ((12_000, 1, 0.8), (60_000, 1, 0.8), (12_000, 3, 0.8), (60_000, 3, 0.8)):
        rate, orders = truths(shared, skill)
        settings = {level: of_rate(level, min(orders)) for level in (RATE, 0.01)}
        limit = settings[RATE].monitoring.max_calibration_ratio
        random, told, judged = np.random.default_rng(5), Counter[str](), Counter[str]()
        for _ in range(windows):
            portfolio = Portfolio(random, rows, shared, skill)
            events = int(portfolio.table.events.sum())
            at_limit, beyond = (
                [portfolio.of_version(version, rate / factor) for version in range(VERSIONS)]
                for factor in (limit, 1.25 * limit)
            )
            for version in range(VERSIONS):
                # A concordance depends on the ages seen: each version's own is its limit.
                floors = {level: of_rate(level, orders[version]) for level in settings}
                for level, of_level in floors.items():
                    for kind in (Calibration(of_level, events, ""), Ranking(of_level)):
                        told[f"{kind.name} {level}"] += kind.judge(at_limit, version)[0].state == "violated"
                        judged[kind.name] += not kind.unjudged(at_limit[version])
                seen = Calibration(settings[0.01], events, "").judge(beyond, version)[0].state
                told["beyond"] += seen == "violated"
                higher = of_rate(0.01, orders[version] + 0.1)
                told["weak"] += Ranking(higher).judge(at_limit, version)[0].state == "violated"
        every = windows * VERSIONS
        for kind, seen in ((Calibration.name, told["beyond"]), (Ranking.name, told["weak"])):
            print(
                f"{kind:21s} {rows:6d} rows, {shared} an entity: judged {judged[kind] / 2 / every:4.0%}, rate "
                f"{RATE:.0%} {told[f'{kind} {RATE}'] / every:6.2%}, rate 1% {told[f'{kind} 0.01'] / every:6.2%}, "
                f"of those that are beyond {seen / every:4.0%}",
                flush=True,
            )


def of_rate(level: float, floor: float) -> UseCaseSettings:
    """Return settings with a rate of false alarms and a floor."""
    return UseCaseSettings.model_validate(
        {
            "owner": "x", "label": {"horizon": "36 months"}, "gate": {"floor": floor},
            "monitoring": {"false_alarm_rate": level},
        }
    )  # fmt: skip


def main() -> None:
    """Print the rates."""
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    wanted = sys.argv[2:] or ["drift", "baseline", "prior_shift", "immature"]
    if "drift" in wanted:
        of_drift(windows)
    if "baseline" in wanted:
        against_the_baseline(windows)
    if "prior_shift" in wanted:
        prior_shift_of(windows)
    if "immature" in wanted:
        immature(windows)


def of_drift(windows: int) -> None:
    """Print how often windows without any change are flagged as drifted."""
    tests_alone = MonitoringSettings(
        max_psi=TINY, max_js=TINY, max_ks=TINY, max_null_increase=TINY, max_out_of_range=TINY,
        max_new_categories=TINY, false_alarm_rate=RATE,
    )  # fmt: skip
    print(f"{windows} windows a line; configured rate {RATE:.0%} (limits of zero), 1% (default limits)")
    for rows, window_rows in SHAPES:
        start = time.perf_counter()
        alone, by = measure(tests_alone, rows, window_rows, windows)
        usual, _ = measure(MonitoringSettings(), rows, window_rows, windows)
        seconds = time.perf_counter() - start
        print(
            f"reference {rows:6d}, window {window_rows:5d}: tests alone {alone:6.2%} {dict(by)}, "
            f"default limits {usual:6.2%}  ({seconds:.0f} s)"
        )


if __name__ == "__main__":
    main()

"""The gate on 200,000 rows with 2,000 paired draws, against scikit-learn's AUC in a loop: time and peak memory.

    python tests/benchmarks/gate.py
    python tests/benchmarks/gate.py --rows 200000 --draws 2000 --rate 0.1

Target: all of the default checks in under 20 s and 2 GB on two cores. The loop that one would write with the library
alone (resample row numbers, `roc_auc_score` twice) is timed for some draws and extrapolated. The AUC of a draw is that
of scikit-learn with sample weights, which is checked first.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from sklearn.metrics import roc_auc_score

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.checks.base import Evidence, FeatureFacts, ModelSignature
from mlplatform.statistics import metrics
from tests.benchmarks import table

SIGNATURE = ModelSignature({}, {}, ("double",))
MEGABYTE = 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=0.5, help="Share of positives; a half takes longest.")
    parser.add_argument("--library-draws", type=int, default=10)
    parser.add_argument("--json", help="Write the figures there.")
    arguments = parser.parse_args()
    evidence = _evidence(arguments.rows, arguments.rate)
    assert evidence.champion is not None
    _check(evidence)
    taken = {}
    for task, metric, floor in (("classification", "roc_auc", 0.6), ("regression", "mae", 1.0)):
        gate = ChampionGate(_settings(task, metric, floor, arguments.draws))
        started, busy = time.perf_counter(), time.process_time()
        decision = gate.decide(evidence, identity="x", challenger=2, champion=1, as_of=parse_as_of("2020-01-01"))
        taken[metric] = time.perf_counter() - started
        print(
            f"{task}, {metric}: {arguments.rows:,} rows x {arguments.draws:,} draws, two comparisons: "
            f"{taken[metric]:.1f} s (CPU {time.process_time() - busy:.1f} s), {decision.outcome}",
            flush=True,
        )
    by_loop = _by_loop(evidence, arguments.library_draws) * arguments.draws * 2
    print(f"the same two comparisons with roc_auc_score in a loop: {by_loop:.0f} s (extrapolated)")
    print(f"ratio: {by_loop / taken['roc_auc']:.0f} times as fast")
    line = table.Line(
        f"all checks of the gate, {arguments.rows:,} rows, {arguments.draws:,} draws",
        taken["roc_auc"],
        against="`roc_auc_score` in a loop",
        other=by_loop,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE,
    )
    table.write(arguments.json, [line])
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE:.0f} MB")


def _evidence(rows: int, rate: float) -> Evidence:
    random = np.random.default_rng(0)
    labels = (random.random(rows) < rate).astype(float)
    challenger, champion = (
        1 / (1 + np.exp(-(signal * (labels - 0.5) + random.normal(size=rows)))) for signal in (1.05, 1.0)
    )
    return Evidence(
        labels, challenger, champion, {}, features=FeatureFacts({}, {}, {}), signatures=(SIGNATURE, SIGNATURE)
    )


def _settings(task: str, metric: str, floor: float, draws: int) -> UseCaseSettings:
    return UseCaseSettings.model_validate(
        {
            "owner": "benchmark",
            "task": task,
            "label": {"horizon": "1 day"},
            "training": {"metric": metric},
            "gate": {"floor": floor, "draws": draws},
        }
    )


def _check(evidence: Evidence) -> None:
    counts = np.random.default_rng(1).poisson(1.0, evidence.labels.size)
    ours = metrics.get("roc_auc").draws(evidence.labels, evidence.challenger)(counts)
    theirs = roc_auc_score(evidence.labels, evidence.challenger, sample_weight=counts)
    assert abs(ours - theirs) < 1e-9, (ours, theirs)


def _by_loop(evidence: Evidence, draws: int) -> float:
    """Return the seconds a draw takes the library."""
    assert evidence.champion is not None
    random = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(draws):
        rows = random.integers(0, evidence.labels.size, evidence.labels.size)
        for made in (evidence.challenger, evidence.champion):
            roc_auc_score(evidence.labels[rows], made[rows])
    return (time.perf_counter() - started) / draws


if __name__ == "__main__":
    main()

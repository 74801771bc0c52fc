"""How often do windows without any change raise a drift alarm? Measured, against the configured rate.

Reference and windows are drawn from one population of 20 columns: normal, skewed, counts, with nulls, categories with
few and with very many values. Once with limits of zero, so that the tests alone decide, once with the default limits.

    python tests/benchmarks/false_alarms.py [windows]
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np
import pyarrow as pa

from mlplatform.config import MonitoringSettings
from mlplatform.monitoring import drift
from mlplatform.monitoring.counts import count_batches
from mlplatform.monitoring.profiles import profile_table

TINY = 1e-9
RATE = 0.05
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


def main() -> None:
    """Print the rates."""
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 400
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

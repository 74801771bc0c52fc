"""Drift of 5 million rows and 50 columns against a plain loop of pandas and scipy; time and peak memory of a window.

The rows are read in batches from parquet, as they come out of a training set; nothing but a batch is in memory.

    python tests/benchmarks/drift.py [rows] [columns] [--json FILE]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.monitoring import drift
from mlplatform.statistics.profiles import count_batches, profile_table
from tests.benchmarks import table

BATCH = 122_880
REFERENCE = 100_000


def block(random: np.random.Generator, rows: int, columns: int, shift: float) -> pa.Table:
    """Make rows: four numeric columns to one category, a few nulls."""
    made = {}
    for number in range(columns):
        if number % 5 == 4:
            words = np.array([f"w{word}" for word in range(30)])
            made[f"c{number}"] = pa.array(words[random.integers(0, 30, rows)])
        else:
            made[f"c{number}"] = pa.array(random.normal(shift, 1, rows), mask=random.random(rows) < 0.01)
    return pa.table(made)


def write(path: Path, rows: int, columns: int) -> None:
    """Write the window, block by block."""
    random = np.random.default_rng(1)
    first = block(random, 1, columns, 0.1)
    with pq.ParquetWriter(path, first.schema) as writer:
        for start in range(0, rows, BATCH):
            writer.write_table(block(random, min(BATCH, rows - start), columns, 0.1))


def ours(path: Path, reference: pa.Table) -> float:
    """Time the platform's drift of the window."""
    profile = profile_table(reference)
    start = time.perf_counter()
    file = pq.ParquetFile(path)
    # Not iter_batches, which reads ahead until the whole file is in memory.
    counted = count_batches(profile, (file.read_row_group(group) for group in range(file.num_row_groups)))
    found = drift.compare(profile, counted, file.metadata.num_rows, MonitoringSettings())
    seconds = time.perf_counter() - start
    assert len(found) >= 5 * len(profile)
    return seconds


def plain(path: Path, reference: pa.Table) -> float:
    """Time the loop that one would write first: a column at a time, in pandas and scipy."""
    import pandas as pd
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import chi2_contingency, ks_2samp

    start = time.perf_counter()
    for name in reference.column_names:
        before, now = reference.column(name).to_pandas(), pq.read_table(path, columns=[name]).column(name).to_pandas()
        if before.dtype == object:
            bins = [side.value_counts() for side in (before, now)]
        else:
            edges = [-np.inf, *before.quantile(np.linspace(0.1, 0.9, 9)), np.inf]
            ks_2samp(before.dropna(), now.dropna())
            bins = [pd.cut(side, edges).value_counts(sort=False) for side in (before, now)]
        counts = pd.concat(bins, axis=1).fillna(0).to_numpy(dtype=float).T
        shares = counts / counts.sum(axis=1, keepdims=True)
        chi2_contingency(counts)
        jensenshannon(*shares, base=2)
        np.sum((shares[1] - shares[0]) * np.log(np.maximum(shares[1], 1e-4) / np.maximum(shares[0], 1e-4)))
    return time.perf_counter() - start


def main() -> None:
    """Print seconds, peak memory and their ratio; each side in a process of its own."""
    arguments = [int(text) for text in sys.argv[1:3] if text.isdigit()]
    rows, columns = (*arguments, *(5_000_000, 50)[len(arguments) :])
    if "--run" in sys.argv:
        path, which = Path(sys.argv[-2]), sys.argv[-1]
        reference = block(np.random.default_rng(0), REFERENCE, columns, 0.0)
        seconds = ours(path, reference) if which == "ours" else plain(path, reference)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "window.parquet"
        write(path, rows, columns)
        measured, peaks = {}, {}
        for which in ("ours", "plain"):
            command = [sys.executable, __file__, str(rows), str(columns), "--run", str(path), which]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            measured[which], peaks[which] = float(out[0]), float(out[1])
            print(f"{which:5s}: {float(out[0]):7.1f} s, peak memory {float(out[1]):6.0f} MB")
    print(
        f"{rows} rows x {columns} columns: {measured['plain'] / measured['ours']:.1f} times as fast as the plain loop"
    )
    if "--json" in sys.argv:
        line = table.Line(
            f"drift of {rows:,} rows, {columns} columns",
            measured["ours"],
            against="a loop of pandas and scipy",
            other=measured["plain"],
            peak_mb=peaks["ours"],
        )
        table.write(sys.argv[sys.argv.index("--json") + 1], [line])


if __name__ == "__main__":
    main()

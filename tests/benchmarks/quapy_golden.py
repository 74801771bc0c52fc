"""Prior shift as QuaPy estimates it: the figures that `tests/unit/statistics/test_prior_shift.py` is judged by.

QuaPy is no dependency: it brings packages of its own, and all that is asked of it are the numbers below. In an
environment of its own, with `pip install quapy`:

    python tests/benchmarks/quapy_golden.py > tests/unit/statistics/quapy_golden.json
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np

CASES = (
    # rows, rate of training, rate now, distance of the classes' scores
    (2_000, 0.5, 0.3, 2.0),
    (2_000, 0.2, 0.4, 1.5),
    (5_000, 0.05, 0.12, 1.0),
    (5_000, 0.02, 0.02, 1.0),
    (3_000, 0.1, 0.01, 2.5),
)


def posteriors(seed: int, rows: int, trained: float, now: float, apart: float) -> np.ndarray:
    """Draw scores of two normal classes, and return the probabilities that hold at the training rate, shape (rows,)."""
    random = np.random.default_rng(seed)
    event = random.random(rows) < now
    place = random.normal(size=rows) + apart * event
    odds = apart * place - apart**2 / 2 + np.log(trained / (1 - trained))
    return 1 / (1 + np.exp(-odds))


def main() -> None:
    """Print what QuaPy's EM gives for each case."""
    from quapy.method.aggregative import EMQ

    found = []
    for seed, (rows, trained, now, apart) in enumerate(CASES):
        events = posteriors(seed, rows, trained, now, apart)
        both = np.column_stack([1 - events, events])
        prevalence, _ = EMQ.EM(np.array([1 - trained, trained]), both, epsilon=1e-12)
        found.append({"seed": seed, "rows": rows, "trained": trained, "now": now, "apart": apart}
                     | {"rate": float(prevalence[1])})  # fmt: skip
    print(json.dumps({"quapy": version("quapy"), "cases": found}, indent=1))


if __name__ == "__main__":
    main()

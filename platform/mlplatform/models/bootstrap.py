"""The paired bootstrap: how sure are we that one model is better than another on the same rows?

Rows are resampled with replacement, the same draw for both models; for a binary label within each class, so that every
draw has both. The interval is the percentile interval of Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.models.metrics import Metric, Vector


@dataclass(frozen=True)
class PairedDifference:
    """The challenger's gain over the champion on the same rows (above zero: better, whatever the metric's direction).

    Attributes:
        gain: On the frame as it is.
        low: Lower end of the interval.
        high: Upper end of the interval.
        probability_better: Share of the draws in which the challenger was better; a tie counts half.
        confidence: Two-sided level of the interval.
        draws: Number of resamples.
    """

    gain: float
    low: float
    high: float
    probability_better: float
    confidence: float
    draws: int


def paired_difference(
    metric: Metric,
    labels: Vector,
    challenger: Vector,
    champion: Vector,
    *,
    stratify: bool,
    confidence: float,
    draws: int,
    seed: int,
) -> PairedDifference:
    """Compare two models' predictions on the same rows.

    Args:
        metric: What is compared.
        labels: Shape (rows,).
        challenger: Shape (rows,).
        champion: Shape (rows,).
        stratify: Resample within each label value (for a binary label).
        confidence: Two-sided level, as 0.9.
        draws: Number of resamples.
        seed: Of the resampling: the same frame gives the same result.

    Raises:
        ValueError: If the shapes differ.
    """
    if not labels.shape == challenger.shape == champion.shape:
        raise ValueError(f"Shapes differ: {labels.shape}, {challenger.shape}, {champion.shape}.")
    random = np.random.default_rng(seed)
    strata = [np.flatnonzero(labels == value) for value in np.unique(labels)] if stratify else [np.arange(labels.size)]
    of_challenger, of_champion = metric.draws(labels, challenger), metric.draws(labels, champion)
    gains, counts = np.empty(draws), np.empty(labels.size, dtype=np.int64)
    for draw in range(draws):
        for stratum in strata:
            counts[stratum] = np.bincount(random.integers(0, stratum.size, stratum.size), minlength=stratum.size)
        gains[draw] = metric.gain(of_challenger(counts), of_champion(counts))
    tail = (1 - confidence) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return PairedDifference(
        gain=metric.gain(metric.compute(labels, challenger), metric.compute(labels, champion)),
        low=float(low),
        high=float(high),
        probability_better=float(np.mean(gains > 0) + np.mean(gains == 0) / 2),
        confidence=confidence,
        draws=draws,
    )

"""Time-ordered splits: what is evaluated on is always newer than what was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlplatform.config.training import TrainingSettings
from mlplatform.errors import LabelError


@dataclass(frozen=True)
class TimeSplit:
    """Row numbers, in time order, of fitting, validation (for the search) and holdout (for nothing but evaluation)."""

    fit: slice
    validation: slice
    holdout: slice

    def fitted_on(self, options: TrainingSettings) -> slice:
        """Return the rows that a model is fitted on in the end: of a calibrated one the oldest part alone."""
        return self.fit if options.calibrate != "none" else slice(0, self.holdout.start)


def split_of(times: npt.NDArray[np.datetime64], options: TrainingSettings) -> TimeSplit:
    """Split rows as the settings of a training say; see `time_split`."""
    return time_split(times, holdout=options.holdout, validation=options.validation)


def time_split(times: npt.NDArray[np.datetime64], *, holdout: float, validation: float) -> TimeSplit:
    """Split rows sorted by time; rows of one moment are never torn apart.

    Args:
        times: Shape (rows,), ascending.
        holdout: Newest share of all rows.
        validation: Newest share of the others.

    Raises:
        LabelError: If a part would be empty.

    Examples:
        >>> days = np.array(["2020-01-01", "2020-01-02", "2020-01-02", "2020-01-03"], dtype="datetime64[us]")
        >>> time_split(days, holdout=0.25, validation=0.5)
        TimeSplit(fit=slice(0, 1, None), validation=slice(1, 3, None), holdout=slice(3, 4, None))
    """
    if bool((times[1:] < times[:-1]).any()):
        raise ValueError("Rows must be sorted by time before they are split.")
    held = _cut(times, times.size - round(times.size * holdout))
    validated = _cut(times[:held], held - round(held * validation))
    if not 0 < validated < held < times.size:
        raise LabelError(
            f"{times.size} labelled rows cannot be split by time into fitting, validation and holdout.",
            hint="Wait for more labels, or change training.holdout and training.validation.",
        )
    return TimeSplit(slice(0, validated), slice(validated, held), slice(held, times.size))


def _cut(times: npt.NDArray[np.datetime64], wanted: int) -> int:
    # Back to the first row of the moment the cut falls into: the newer part gets the whole moment.
    if not 0 < wanted < times.size:
        return wanted
    return int(np.searchsorted(times, times[wanted], side="left"))

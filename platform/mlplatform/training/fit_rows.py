"""What an estimator is fitted on: inputs and labels, and what some estimators take beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.metrics import Vector

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FitRows:
    """The rows of one fit, sorted by prediction time and keys; what `Trainer.fit` is given.

    Attributes:
        inputs: The columns that the model is given, shape (rows, columns).
        labels: Shape (rows,).
        weights: How much each row counts, shape (rows,); None: all the same (`Trainer.weight_column`).
        groups: Which rows belong together, shape (rows,); None: none do (`Trainer.group_column`).
        categorical: Columns of `inputs` that are categories (`Trainer.categorical_columns`).
        validation: Newer rows, which are not fitted on: to stop early by. None in the last fit, for then they are among
            the fitted ones.
        rounds: After how many rounds the boosting stopped by the validation rows; the last fit takes as many. None: it
            does not stop early, or it is not the last fit.

    Examples:
        >>> import pandas as pd
        >>> rows = FitRows(pd.DataFrame({"load": [1.0, 2.0, 3.0]}), np.array([0.0, 1.0, 1.0]))
        >>> len(rows), len(rows.part(slice(1, 3)))
        (3, 2)
    """

    inputs: pd.DataFrame
    labels: Vector
    weights: Vector | None = None
    groups: npt.NDArray[Any] | None = None
    categorical: tuple[str, ...] = ()
    validation: FitRows | None = None
    rounds: int | None = None

    def __len__(self) -> int:
        """Return how many rows there are."""
        return int(self.labels.size)

    def part(self, rows: slice | npt.NDArray[np.intp]) -> FitRows:
        """Return some of the rows; the validation rows stay as they are.

        Args:
            rows: A slice, or numbers of rows in their order.
        """
        return replace(
            self,
            inputs=self.inputs.iloc[rows],
            labels=self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

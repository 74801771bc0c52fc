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
        labels: Shape (rows,). Of several classes the number of each row's class, from 0 on without gaps: those that are
            among the rows, in the order in which `label.classes` names them.
        weights: How much each row counts, shape (rows,); None: all the same (`Trainer.weight_column`).
        groups: Which rows belong together, shape (rows,); None: none do (`Trainer.group_column`). Rows of one group
            need not stand beside each other: `by_group` puts them so.
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

    def by_group(self) -> FitRows:
        """Return the rows with those of a group beside each other, the validation rows as well.

        Groups come in the order of their first rows, and their rows in the order in which they were.

        Examples:
            >>> import pandas as pd
            >>> rows = FitRows(pd.DataFrame({"load": [1.0, 2.0, 3.0]}), np.zeros(3), groups=np.array(["b", "a", "b"]))
            >>> rows.by_group().inputs["load"].tolist(), rows.by_group().group_sizes.tolist()
            ([1.0, 3.0, 2.0], [2, 1])
        """
        if self.groups is None:
            return self
        sorted_rows = self.part(np.argsort(group_numbers(self.groups), kind="stable"))
        return replace(sorted_rows, validation=None if self.validation is None else self.validation.by_group())

    @property
    def group_sizes(self) -> npt.NDArray[np.int64]:
        """How many rows each group has, in the order of their first rows; shape (groups,)."""
        assert self.groups is not None
        return np.bincount(group_numbers(self.groups)).astype(np.int64)


def group_numbers(groups: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the number of each row's group, counted from 0 in the order of their first rows; shape (rows,).

    Examples:
        >>> group_numbers(np.array(["b", "a", "b"])).tolist()
        [0, 1, 0]
    """
    import pandas as pd

    return np.asarray(pd.factorize(groups)[0], dtype=np.intp)

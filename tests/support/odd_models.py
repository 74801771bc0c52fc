"""Models that predict what no model should, for what has to notice it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

TRUSTED = ("tests.support.odd_models.Odd",)
"""What a trainer names so that the stored model may be loaded."""


class Odd(LogisticRegression):  # type: ignore[misc]  # scikit-learn brings no types
    """A logistic regression whose probabilities are multiplied, and lost where its first input is high.

    It stands at the end of a pipeline that scales its inputs.
    """

    def __init__(self, factor: float = 1.0, lost_above: float = np.inf, C: float = 1.0) -> None:  # noqa: N803
        """Take by how much, and from where on."""
        super().__init__(C=C)
        self.factor = factor
        self.lost_above = lost_above

    def predict_proba(self, inputs: Any) -> Any:
        """Return two columns, of which the second is what is judged."""
        found = np.array(super().predict_proba(inputs))
        found[:, 1] *= self.factor
        found[np.asarray(inputs)[:, 0] > self.lost_above] = np.nan
        return found

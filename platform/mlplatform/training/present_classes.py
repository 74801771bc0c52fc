"""The classes that are among the fitted rows: an estimator knows no others, and gives columns for these alone.

Estimators are given the places of the present classes, from 0 on without gaps, which is what all libraries take. What
they give is put into the order of the declared classes, with 0 for those that the rows lack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlplatform.errors import LabelError
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task, task_of
from mlplatform.training.fit_rows import FitRows


@dataclass(frozen=True)
class PresentClasses:
    """Which of the declared classes an estimator knows.

    Attributes:
        declared: Names of all classes, in order; empty: the task has none.
        places: Where those that it knows stand among them, ascending.

    Examples:
        >>> known = PresentClasses(("a", "b", "c"), (0, 2))
        >>> known.missing, known.declared_order(np.array([[0.25, 0.75]])).tolist()
        (('b',), [[0.25, 0.0, 0.75]])
    """

    declared: tuple[str, ...] = ()
    places: tuple[int, ...] = ()

    @classmethod
    def of(cls, rows: FitRows, task: Task | str) -> PresentClasses:
        """Return the classes of the rows.

        Args:
            rows: What an estimator is to be fitted on; labels are places among the declared classes.
            task: What is predicted, or its name.

        Raises:
            LabelError: If the rows are all of one class.
        """
        task = task_of(task)
        if not task.is_multiclass:
            return cls()
        places = tuple(np.unique(rows.labels).astype(int).tolist())
        if len(places) < 2:  # noqa: PLR2004
            only = ", ".join(task.classes[place] for place in places)
            raise LabelError(
                f"All {len(rows)} labels to be fitted on are {only}; there is nothing to learn.",
                hint="Wait for more labels, or let training.since or training.window reach farther back.",
            )
        return cls(task.classes, places)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes that it knows, in the order of its columns."""
        return tuple(self.declared[place] for place in self.places)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of those that it does not know."""
        return tuple(name for place, name in enumerate(self.declared) if place not in self.places)

    def renumbered(self, rows: FitRows) -> FitRows:
        """Return rows with labels that are places among the present classes; rows of other classes are left out.

        Args:
            rows: Labels are places among the declared classes.
        """
        if not self.declared:
            return rows
        kept = np.flatnonzero(np.isin(rows.labels, self.places))
        part = rows if kept.size == len(rows) else rows.part(kept)
        labels = np.searchsorted(np.array(self.places), part.labels).astype(np.float64)
        inner = None if rows.validation is None else self.renumbered(rows.validation)
        return replace(part, labels=labels, validation=inner)

    def declared_order(self, probabilities: Vector) -> Vector:
        """Return an estimator's probabilities in the order of the declared classes, 0 for those that it does not know.

        Args:
            probabilities: Shape (rows, known classes).
        """
        whole = np.zeros((len(probabilities), len(self.declared)))
        whole[:, list(self.places)] = probabilities
        return whole


NO_CLASSES = PresentClasses()
"""Of a task without several classes."""

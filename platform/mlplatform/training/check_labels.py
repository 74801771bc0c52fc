"""Labels that are none of a task's: they stop a training, which names the first rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mlplatform.errors import LabelError
from mlplatform.refine.spine import LabelSpine
from mlplatform.task import Task

_MOST_SHOWN = 5


def check_labels(task: Task, rows: pa.Table, spine: LabelSpine) -> None:
    """Refuse labels that are none of the task's: counts are whole numbers from 0 on.

    Args:
        task: What is predicted.
        rows: Keys, prediction time and label.
        spine: Names them.

    Raises:
        LabelError: Naming the first rows by their keys.
    """
    if not task.predicts_counts:
        return
    labels = rows.column(spine.label).to_numpy().astype(np.float64)
    wrong = np.flatnonzero(~((labels >= 0) & (labels == np.floor(labels)) & np.isfinite(labels)))
    if not wrong.size:
        return
    shown = rows.select([*spine.primary_keys, spine.label]).take(wrong[:_MOST_SHOWN]).to_pylist()
    listed = "; ".join(", ".join(f"{name}={value}" for name, value in row.items()) for row in shown)
    raise LabelError(
        f"{wrong.size} of {labels.size} labels are no counts, which are whole numbers from 0 on: {listed}"
        f"{' and more' if wrong.size > _MOST_SHOWN else ''}.",
        hint=f"Let {type(spine).__name__}.labels() count, or an expectation quarantine such rows; of amounts that are "
        "not counted the task is regression.",
    )

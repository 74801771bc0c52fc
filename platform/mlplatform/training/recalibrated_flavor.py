"""A recalibrated model as it is stored: the model that it was made of, as that lay, and beside it the moves as text.

Nothing of the model is stored anew: its files lie within, byte for byte, in whatever flavor they are. What is loaded is
loaded by this package, so that it has to be installed where the model is scored. It imports MLflow, though it lies
outside the workspaces: MLflow calls it, and the name of this module stands in stored models.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlplatform.statistics.recalibration import Move, Moves, followed, from_dict, moved, to_dict

FOLDER, MODEL, FILE = "recalibrated", "model", "recalibration.json"
_REQUIREMENTS = "requirements.txt"
_TABLE = 2  # dimensions


def wrap(folder: Path, last: Move) -> Moves:
    """Make a stored model one whose probabilities are moved; one that moves them already moves them once more.

    Args:
        folder: The model as its flavor stored it; the new one lies there in its place.
        last: The move.

    Returns:
        All moves, in the order in which they are made.

    Raises:
        ValueError: If it moves them already, in a way that is not known.
    """
    import mlflow.pyfunc

    with TemporaryDirectory(dir=folder.parent) as scratch:
        part, within = Path(scratch) / FOLDER, folder / "data" / FOLDER
        part.mkdir()
        before = read_moves(folder)
        shutil.copytree(within / MODEL if before else folder, part / MODEL)
        moves = followed(before, last)
        (part / FILE).write_text(json.dumps(to_dict(moves)), encoding="utf-8")
        lines = (part / MODEL / _REQUIREMENTS).read_text(encoding="utf-8").splitlines()
        shutil.rmtree(folder)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=__name__,
            data_path=str(part),
            pip_requirements=[line for line in lines if line.strip()],
        )
    return moves


def read_moves(folder: Path) -> Moves:
    """Return the moves that a stored model makes; empty where it makes none.

    Args:
        folder: The model as its flavor stored it.

    Raises:
        ValueError: If they are not of a form that is known.
    """
    file = folder / "data" / FOLDER / FILE
    return from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else ()


class RecalibratedModel:
    """A loaded model; what MLflow asks to predict."""

    def __init__(self, folder: Path) -> None:
        """Load the model within, by the flavor that stored it."""
        import mlflow.pyfunc

        self._moves = from_dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
        self._model = mlflow.pyfunc.load_model(str(folder / MODEL))

    def predict(self, frame: Any, params: Any = None) -> Any:
        """Return what the model within gives for a pandas frame, moved; in the same shape.

        Probabilities of both classes stay two that add up to one.
        """
        given = self._model.predict(frame, params=params) if params else self._model.predict(frame)
        scores = np.asarray(given, dtype=np.float64)
        if scores.ndim == _TABLE:
            event = moved(self._moves, scores[:, -1])
            return np.column_stack([1 - event, event])
        return moved(self._moves, scores)


def _load_pyfunc(path: str) -> RecalibratedModel:
    """Return the model; MLflow looks for this name."""
    return RecalibratedModel(Path(path))

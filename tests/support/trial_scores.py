"""What the trials of the tests do: in a module of its own, for each process that is started imports it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

import numpy as np

from mlplatform.training.trials import Attempt


def total(data: Any, attempt: Attempt) -> float:
    """Return the sum of the numbers and the parameter; three is too many."""
    if attempt.params["x"] == 3:
        raise ZeroDivisionError("three is too many")
    return float(data["load"].sum() + attempt.params["x"])


def process_id(data: Any, attempt: Attempt) -> float:
    """Return which process it ran in."""
    time.sleep(0.1)
    return float(os.getpid())


def dies(data: Any, attempt: Attempt) -> float:
    """End the process on one of the trials."""
    if attempt.params["x"] == 3:
        if multiprocessing.parent_process() is None:
            raise RuntimeError("this would have ended the process of the tests")
        os._exit(1)
    return total(data, attempt)


def is_mapped(data: Any, attempt: Attempt) -> float:
    """Tell whether the numbers are pages of a file; that they can be written to; and that nobody was forked."""
    array: Any = data["load"].to_numpy()
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    if array is None:
        return 0.0
    before = data.iloc[0, 0]
    data.iloc[0, 0] = -1.0
    data.iloc[0, 0] = before
    return float(multiprocessing.parent_process() is not None)


class UnsendableError(Exception):
    """Holds a lock."""

    def __init__(self) -> None:
        """Take it."""
        super().__init__("cannot be sent")
        self.lock = threading.Lock()


def unsendable(data: Any, attempt: Attempt) -> float:
    """Raise what cannot be sent to another process."""
    raise UnsendableError


def named(data: Any, attempt: Attempt) -> float:
    """Do what the parameters name: so that the processes need to be started only once."""
    return float(
        {"total": total, "id": process_id, "mapped": is_mapped, "unsendable": unsendable}[attempt.params["do"]](
            data, attempt
        )
    )


class Unreadable:
    """Data that another process cannot take."""

    def __reduce__(self) -> Any:
        """Be made where it was."""
        return _only_here, (os.getpid(),)


def _only_here(process: int) -> Unreadable:
    if os.getpid() != process:
        raise RuntimeError("not here")
    return Unreadable()

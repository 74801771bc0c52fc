"""A model that fails on a batch is asked again by halves, down to the rows that it fails on; the others are predicted.

On Databricks this runs on the executors, where nothing of ours need be installed: the module is sent along by value,
and imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Predict = Callable[["pd.DataFrame"], Any]
Part = tuple[int, T | None]
"""How many rows one after the other, and what was predicted for them; None: the model fails on them."""

FEW = 8
"""Rows of a batch that are asked alone first: where the model fails on each of them, it is broken in general."""
_AT_LEAST, _ONE_IN, _AT_MOST = 10, 100, 500
_MISCOUNTED = "The model gave {} prediction(s) for {} row(s)."


def most_failing(rows: int) -> int:
    """Return on how many rows of a batch a model may fail: of more, it is broken.

    Examples:
        >>> most_failing(5), most_failing(10_000), most_failing(200_000)
        (10, 100, 500)
    """
    return max(_AT_LEAST, min(rows // _ONE_IN, _AT_MOST))


def all_of_them(rows: int) -> int:
    """Return that a model may fail on all rows of a batch: they are known to be awkward."""
    return rows


def ask_by_halves(
    ask: Callable[[pd.DataFrame], T], rows: pd.DataFrame, error: Exception, most: Callable[[int], int] = most_failing
) -> list[Part[T]]:
    """Ask a model that failed on some rows for parts of them.

    A model that is broken in general is found out by a few calls, whatever the number of rows; one that fails on few
    rows is asked about twice as often as there are such rows, times the halvings.

    Args:
        ask: Predicts rows, or raises.
        rows: The rows on which it raised.
        error: What it raised.
        most: On how many of so many rows it may fail.

    Returns:
        The parts, in the order of the rows.

    Raises:
        Exception: `error`, where the model fails on too many rows.
    """
    count = len(rows)
    left = most(count)
    if count > FEW and left < count and not any(_answers(ask, rows, place) for place in _spread(count)):
        raise error
    parts: list[Part[T]] = []

    def halve(start: int, stop: int) -> None:
        nonlocal left
        if stop - start == 1:
            left -= 1
            if left < 0:
                raise error
            parts.append((1, None))
            return
        middle = (start + stop) // 2
        for begin, end in ((start, middle), (middle, stop)):
            try:
                answer = ask(_part(rows, begin, end))
            except Exception:  # noqa: BLE001  (whatever it is, it is the model's: the rows are looked at one by one)
                halve(begin, end)
            else:
                parts.append((end - begin, answer))

    halve(0, count)
    return parts


def predicting_what_it_can(
    predict: Predict, check: Callable[[], None] = lambda: None, most: Callable[[int], int] = most_failing
) -> Predict:
    """Return a model that gives NaN for a row that it fails on, and fails where it is broken in general.

    Args:
        predict: The model: a pandas frame to an array, series or frame, one entry a row.
        check: Called after an error, and raises where it is none of the model's, as when the run was stopped.
        most: On how many rows of a batch it may fail.
    """

    def ask(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
        try:
            return _values(predict(rows), len(rows))
        except Exception:
            check()
            raise

    def predicted(rows: pd.DataFrame) -> Any:
        try:
            return ask(rows)
        except Exception as error:  # noqa: BLE001  (raised again where asking by halves does not help)
            return _joined(ask_by_halves(ask, rows, error, most))

    return predicted


def by_batch(
    function: Callable[[Iterator[pd.DataFrame]], Iterator[pd.Series[Any]]],
    most: Callable[[int], int] = most_failing,
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.Series[Any]]]:
    """Return a function of batches that asks by halves where it fails on one, and goes on with the next.

    Args:
        function: Predicts batches as lists of numbers; it loads the model when it is called, and gives nothing for a
            batch without rows.
        most: On how many rows of a batch it may fail.

    Returns:
        A function that gives `[NaN]` for a row that the model fails on.
    """

    def predict_batches(batches: Iterator[pd.DataFrame]) -> Iterator[pd.Series[Any]]:
        source = _Batches(batches)
        while True:
            try:
                for values in function(source):
                    source.answered(len(values))
                    yield values
            except Exception as error:
                if source.open is None:  # the model cannot be loaded, say
                    raise
                rows, source.open = source.open, None
                yield _answers_by_halves(function, rows, error, most)
            else:
                return

    return predict_batches


class _Batches:
    """Batches on their way to a function, the last of them at hand until it has been answered."""

    def __init__(self, batches: Iterator[pd.DataFrame]) -> None:
        self._batches = batches
        self.open: pd.DataFrame | None = None

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> pd.DataFrame:
        self.open = None  # one without rows is not answered
        self.open = next(self._batches)
        return self.open

    def answered(self, count: int) -> None:
        """Take the number of answers to the last batch."""
        rows = 0 if self.open is None else len(self.open)
        if count != rows:
            raise ValueError(_MISCOUNTED.format(count, rows))
        self.open = None


def _answers_by_halves(
    function: Callable[[Iterator[pd.DataFrame]], Iterator[pd.Series[Any]]],
    rows: pd.DataFrame,
    error: Exception,
    most: Callable[[int], int],
) -> pd.Series[Any]:
    import pandas as pd

    def ask(part: pd.DataFrame) -> pd.Series[Any]:
        values = pd.concat(list(function(iter([part]))), ignore_index=True)
        if len(values) != len(part):
            raise ValueError(_MISCOUNTED.format(len(values), len(part)))
        return values

    parts = ask_by_halves(ask, rows, error, most)
    return pd.concat(
        [pd.Series([[np.nan]] * count) if values is None else values for count, values in parts], ignore_index=True
    )


def _values(result: Any, rows: int) -> np.ndarray[Any, Any]:
    """Return a model's output as an array with an entry for each row."""
    values: np.ndarray[Any, Any] = result.to_numpy() if hasattr(result, "to_numpy") else np.asarray(result)
    given = values.size if values.ndim == 0 else len(values)
    if values.ndim == 0 or given != rows:
        # A model may leave out rows that it cannot predict: then nobody knows which.
        raise ValueError(_MISCOUNTED.format(given, rows))
    return values


def _joined(parts: Sequence[Part[np.ndarray[Any, Any]]]) -> np.ndarray[Any, Any]:
    known = [values for _, values in parts if values is not None]
    number = all(values.dtype.kind in "biuf" for values in known)
    shape = known[0].shape[1:] if known else ()
    kind: Any = np.float64 if number else object
    nothing = np.nan if number else None
    return np.concatenate(
        [np.full((rows, *shape), nothing, kind) if values is None else values.astype(kind) for rows, values in parts]
    )


def _answers(ask: Callable[[pd.DataFrame], T], rows: pd.DataFrame, place: int) -> bool:
    try:
        ask(_part(rows, place, place + 1))
    except Exception:  # noqa: BLE001  (the answer is all that is asked for)
        return False
    return True


def _spread(count: int) -> list[int]:
    """Return places of a few rows, evenly spread."""
    return [place * (count - 1) // (FEW - 1) for place in range(FEW)]


def _part(rows: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    # Numbered from 0, as a batch is.
    return rows.iloc[start:stop].reset_index(drop=True)

"""What an estimator's library does with threads: whether they run side by side, and how many it takes for itself."""

from __future__ import annotations

from typing import Any

from mlplatform.training.boosters import library
from mlplatform.training.fit_arguments import learner

# Of scikit-learn: what is computed outside of Python for most of the time.
_RELEASE_LOCK = ("HistGradientBoosting", "RandomForest", "ExtraTrees")
# How the libraries call the number of threads; the first one is set where none is.
_NAMES = {
    "lightgbm": ("n_jobs", "num_threads", "num_thread", "nthread", "nthreads"),
    "xgboost": ("n_jobs", "nthread"),
    "catboost": ("thread_count",),
}


def releases_lock(estimator: Any) -> bool:
    """Tell whether an estimator is fitted without Python's lock for most of the time.

    Examples:
        >>> from sklearn.ensemble import HistGradientBoostingClassifier
        >>> from sklearn.linear_model import LogisticRegression
        >>> releases_lock(HistGradientBoostingClassifier()), releases_lock(LogisticRegression())
        (True, False)
    """
    model = learner(estimator)
    return library(model) in _NAMES or type(model).__name__.startswith(_RELEASE_LOCK)


def limit_threads(estimator: Any, threads: int) -> None:
    """Let an estimator use so many threads, where it does not say so itself.

    Those of scikit-learn need not be told: they take as many as OpenMP allows in the thread that they are called from.

    Args:
        estimator: An unfitted estimator, or a pipeline around it.
        threads: How many.
    """
    model = learner(estimator)
    names = _NAMES.get(library(model), ())
    if names and hasattr(model, "get_params"):
        params = model.get_params(deep=False)
        if all(params.get(name) is None for name in names):
            model.set_params(**{names[0]: threads})

"""`--profile`: where the time of a command went, by stage and by what it was spent in.

Python's own profiler watches the main thread. What an engine does in threads and processes of its own shows as the time
that the main thread waits for it: that time is counted for whoever waits.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlplatform.cli import output

# File, line and name, as pstats has them; calls, of them not recursive, own and whole seconds, and the same by caller.
Function = tuple[str, int, str]
_Timed = tuple[int, int, float, float]
_Entry = tuple[int, int, float, float, Mapping[Function, _Timed]]

_STAGES = {
    "ingest": "ingest/stage.py",
    "refine": "refine/stage.py",
    "features": "features/stage.py",
    "train": "training/stage.py",
    "gate": "gate/stage.py",
    "score": "scoring/stage.py",
    "monitor": "monitoring/stage.py",
    "retrain": "monitoring/retrain.py",
}
_WRITING = ("write", "merge", "optimize", "compact", "checkpoint", "vacuum", "create", "set_table_properties")
# What is written in a file's path, or in the name of a function of a compiled library; the first that fits counts.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("starting the engine", ("workspace/local/session.py",)),
    ("the platform and the use case", ("mlplatform/", "use_cases/")),
    ("loading modules", ("<frozen importlib", "_imp.", "importlib/")),
    ("reading tables", ("deltalake",)),
    ("queries by DuckDB", ("duckdb",)),
    ("queries by Sail or Spark", ("pyspark", "grpc", "py4j", "pysail")),
    (
        "model files",
        ("skops", "cloudpickle", "mlflow/sklearn", "mlflow/models", "mlflow/pyfunc", "joblib/numpy_pickle"),
    ),
    ("MLflow's records", ("mlflow", "sqlalchemy", "alembic", "sqlite3")),
    ("estimators and search", ("sklearn", "lightgbm", "xgboost", "catboost", "hyperopt", "optuna", "joblib")),
    ("the report", ("matplotlib", "jinja2")),
    ("arrays", ("numpy", "scipy", "pandas", "pyarrow", "narwhals")),
)
_OTHER = "Python"
HELP = "Say where the time went, by stage and by what it was spent in. Takes about a quarter longer."
_LEAST_SHOWN = 0.005


@dataclass
class Profile:
    """What was seen.

    Attributes:
        seconds: By the clock, in all.
        entries: Function -> its times, as `pstats` has them.
    """

    seconds: float = 0.0
    entries: dict[Function, _Entry] = field(default_factory=dict)
    _known: dict[Function, Mapping[str, float]] = field(default_factory=dict, repr=False)

    @cached_property
    def by_stage(self) -> dict[str, float]:
        """Stage -> seconds, the longest first; what `retrain` starts counts for it and for the stage."""
        found = {
            stage: entry[3]
            for stage, file in _STAGES.items()
            for (path, _, name), entry in self.entries.items()
            if name == "run" and path.replace("\\", "/").endswith(f"mlplatform/{file}")
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @cached_property
    def by_kind(self) -> dict[str, float]:
        """What time was spent in -> seconds, the longest first; their sum is what the profiler saw."""
        found: dict[str, float] = defaultdict(float)
        for function, entry in self.entries.items():
            for kind, share in self._kinds(function).items():
                found[kind] += share * entry[2]
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"seconds": self.seconds, "stages": self.by_stage, "spent_in": self.by_kind}

    def _kinds(self, function: Function) -> Mapping[str, float]:
        """Return what a function's own time counts for, as shares: a helper of Python's own counts for its callers."""
        if function in self._known:
            return self._known[function]
        kind = kind_of(function)
        self._known[function] = {kind or _OTHER: 1.0}  # also where helpers call each other in a circle
        callers = self.entries[function][4] if function in self.entries else {}
        whole = sum(timed[3] for timed in callers.values())
        if kind is None and whole:
            found: dict[str, float] = defaultdict(float)
            for caller, timed in callers.items():
                for kind_above, part in self._kinds(caller).items():
                    found[kind_above] += part * timed[3] / whole
            self._known[function] = found
        return self._known[function]


def kind_of(function: Function) -> str | None:
    """Return what the time of a function counts for; None: for its callers.

    Examples:
        >>> kind_of(("/lib/python3.12/site-packages/duckdb/_seam.py", 91, "submit"))
        'queries by DuckDB'
        >>> kind_of(("~", 0, "<method 'write' of 'deltalake._internal.RawDeltaTable' objects>"))
        'writing tables'
        >>> kind_of(("~", 0, "<method 'acquire' of '_thread.lock' objects>"))
    """
    path, _, name = function
    place = f"{path.replace(chr(92), '/')} {name if path == '~' else ''}"
    # The project's own folder may be called after a library, the folder of packages is called after none.
    place = place.rpartition("site-packages/")[2]
    for kind, words in _KINDS:
        if any(word in place for word in words):
            writes = kind == "reading tables" and any(word in name for word in _WRITING)
            return "writing tables" if writes else kind
    return None


@contextmanager
def watched(*, wanted: bool) -> Iterator[Callable[[], Profile | None]]:
    """Watch what is done meanwhile.

    Args:
        wanted: Whether to; if not, nothing is watched, and nothing slowed down.

    Yields:
        What gives the profile, once the block has ended; None where none was wanted.
    """
    if not wanted:
        yield lambda: None
        return
    profiler, profile, before = cProfile.Profile(), Profile(), time.perf_counter()
    profiler.enable()
    try:
        yield lambda: profile
    finally:
        profiler.disable()
        profile.seconds = time.perf_counter() - before
        profile.entries = pstats.Stats(profiler).stats  # type: ignore[attr-defined]


def as_json(profile: Profile | None) -> dict[str, Any]:
    """Return a profile as a part of what a command says in JSON; nothing where none was wanted."""
    return {} if profile is None else {"profile": profile.to_dict()}


def show(profile: Profile | None) -> None:
    """Print where the time went; nothing where nobody asked."""
    if profile is None:
        return
    shown = [*profile.by_stage.items(), *((f"in {kind}", seconds) for kind, seconds in profile.by_kind.items())]
    rows = [
        (what, f"{seconds:.1f}", f"{seconds / profile.seconds:.0%}")
        for what, seconds in shown
        if seconds >= _LEAST_SHOWN * profile.seconds
    ]
    title = f"Where {profile.seconds:.1f} s went"
    output.console().print(output.table(title, ("what", "seconds", "share"), rows))

"""Runs of the tiny use case: in this process, or in one that is killed at a chosen call."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.as_of import parse_as_of
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import NAME, Tiny

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.shared.registry import MlflowRegistry

KILLED = -signal.SIGKILL


def run_tiny(ws: LocalWorkspace, folder: Path, as_of: str, only: Iterable[str] | None = None) -> RunSummary:
    """Run the tiny use case at a time."""
    return Pipeline(ws, open_tiny(ws, folder), parse_as_of(as_of)).run(only)


def open_tiny(ws: Workspace, folder: Path) -> UseCase:
    """Open the tiny use case."""
    return Tiny.open(NAME, folder, ws)


def run_and_die(root: Path, folder: Path, as_of: str, where: str) -> int:
    """Run in a process of its own that is killed at a place; return its exit code (-9 when it was).

    Args:
        root: The workspace's folder.
        folder: The use case's folder.
        as_of: The time.
        where: One of `PLACES`.
    """
    # A server that has the heavy packages loaded forks a new process each time: seconds instead of half a minute.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.tiny_preload"])
    process = context.Process(target=_child, args=(str(root), str(folder), as_of, where))
    process.start()
    process.join(timeout=180)
    assert process.exitcode is not None, f"the run that was to die at {where} hangs"
    return process.exitcode


def clone(source: Path, target: Path) -> Path:
    """Copy a closed workspace."""
    shutil.copytree(source, target)
    return target


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after_append(match: Callable[[str], bool], transaction: str = "") -> None:
    from mlplatform.workspace.local.tables import LocalTables

    append = LocalTables.append

    def then_die(self: LocalTables, name: Any, frame: Any, *, transactions: Any = ()) -> Any:
        result = append(self, name, frame, transactions=transactions)
        if match(str(name)) and any(item.app_id.startswith(transaction) for item in transactions or ()):
            _die()
        return result

    def without_transaction(self: LocalTables, name: Any, frame: Any, *, transactions: Any = ()) -> Any:
        result = append(self, name, frame, transactions=transactions)
        if match(str(name)):
            _die()
        return result

    LocalTables.append = then_die if transaction else without_transaction  # type: ignore[method-assign]


def _before_alias(deadly: str) -> None:
    from mlplatform.workspace.local.registry import LocalRegistry

    set_alias = LocalRegistry.set_alias

    def die_instead(self: MlflowRegistry, model: ObjectName | str, alias: str, version: int) -> None:
        if alias == deadly:
            _die()
        set_alias(self, model, alias, version)

    LocalRegistry.set_alias = die_instead  # type: ignore[method-assign]


def _before_tags() -> None:
    from mlplatform.workspace.local.registry import LocalRegistry

    LocalRegistry.set_tags = lambda *arguments, **named: _die()  # type: ignore[method-assign]


PLACES: dict[str, Callable[[], None]] = {
    "between bronze's quarantine and bronze": lambda: _after_append(
        lambda name: name.endswith("quarantine_signups"), "ingest:"
    ),
    "between the quarantine and silver": lambda: _after_append(
        lambda name: name.endswith("quarantine_signups"), "refine:"
    ),
    "between silver and gold": lambda: _after_append(lambda name: name.endswith("silver_signups"), "refine:"),
    "between registering the model and tagging it": _before_tags,
    "between tagging the model and its alias": lambda: _before_alias("challenger"),
    "between the decision and the champion's alias": lambda: _before_alias("champion"),
    "between the predictions and the record of scoring": lambda: _after_append(
        lambda name: name.endswith("gold_predictions"), "score:"
    ),
    "between the drift metrics and the rest": lambda: _after_append(lambda name: name.endswith("drift_metrics")),
    "between the performance metrics and the alerts": lambda: _after_append(
        lambda name: name.endswith("performance_metrics")
    ),
    "between writing the alerts and sending them": lambda: _after_append(lambda name: name.endswith("ops.alerts")),
}


def _child(root: str, folder: str, as_of: str, where: str) -> None:
    PLACES[where]()
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, Path(folder), as_of)

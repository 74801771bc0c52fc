"""Several processes that work in one home at once, on the tiny use case: started at one moment."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.errors import PlatformError
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import Tiny

PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Work:
    """What one process does.

    Attributes:
        act: Takes the pipeline of the use case at a time.
        as_of: The time.
        folder: The use case's folder.
        name: The use case's name.
    """

    act: Callable[[Pipeline], object]
    as_of: str
    folder: Path
    name: str = "tiny"


def run(pipeline: Pipeline) -> None:
    """Run what is due."""
    pipeline.run()


def compute(pipeline: Pipeline) -> None:
    """Bring the tables up to the time."""
    pipeline.run(["ingest", "refine", "features"])


def run_twice(pipeline: Pipeline) -> None:
    """Run what is due, and once more."""
    pipeline.run()
    pipeline.run()


def score(pipeline: Pipeline) -> None:
    """Score."""
    pipeline.run(["score"])


def backfill(pipeline: Pipeline) -> None:
    """Compute all of a feature table anew."""
    pipeline.backfill("region", parse_as_of("2020-01-01"))


def gate(pipeline: Pipeline) -> None:
    """Put the challenger to the gate."""
    pipeline.gate()


def promote(pipeline: Pipeline) -> None:
    """Promote the second version by hand."""
    pipeline.gate(version=2, override="somebody wants it")


def roll_back(pipeline: Pipeline) -> None:
    """Make the first version champion again."""
    pipeline.roll_back(to=1, reason="somebody does not", dry_run=False)


def at_once(root: Path, works: Sequence[Work]) -> list[str]:
    """Let processes work at once; return of each the message of its error, empty if it ended well.

    Raises:
        AssertionError: If one hangs, or ends otherwise than by an error of ours.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.tiny_preload"])
    with context.Manager() as manager:
        barrier, outcomes = manager.Barrier(len(works)), manager.dict()
        processes = [
            context.Process(target=_child, args=(str(root), work, number, barrier, outcomes))
            for number, work in enumerate(works)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(PATIENCE_SECONDS)
                assert process.exitcode == 0, f"ended with {process.exitcode}: {dict(outcomes)}"
            found: dict[int, str] = dict(outcomes)
        finally:
            for process in processes:
                process.kill()
    bad = [text for text in found.values() if "Traceback" in text]
    assert not bad, bad[0]
    return [found[number] for number in range(len(works))]


def one_after_the_other(root: Path, works: Sequence[Work]) -> None:
    """Do the same in this process, one work after the other."""
    for work in works:
        _do(root, work, lambda: None)


def _child(root: str, work: Work, number: int, barrier: Any, outcomes: Any) -> None:
    try:
        _do(Path(root), work, lambda: barrier.wait(PATIENCE_SECONDS))
    except PlatformError as error:
        outcomes[number] = error.message
    except BaseException:  # noqa: BLE001  (whatever it is, the test says it)
        outcomes[number] = traceback.format_exc()
    else:
        outcomes[number] = ""


def _do(root: Path, work: Work, wait: Callable[[], object]) -> None:
    with LocalWorkspace.open(root=root) as ws:
        pipeline = Pipeline(ws, Tiny.open(work.name, work.folder, ws), parse_as_of(work.as_of))
        wait()
        work.act(pipeline)

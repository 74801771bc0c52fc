"""All checks of one use case, in the order in which data flows; a check that fails is a problem, never well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from mlplatform import stopping
from mlplatform.doctor.checks import (
    champions,
    computed,
    existing,
    files,
    functions,
    landed,
    model_files,
    predictions,
    records,
    refined,
)
from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject, newest_moment
from mlplatform.errors import PlatformError
from mlplatform.naming import Namespace
from mlplatform.ops.context import Progress, silent
from mlplatform.protocols.maintenance import explained
from mlplatform.protocols.workspace import Workspace
from mlplatform.scoring.stage import Score
from mlplatform.stages import stages_of
from mlplatform.use_case import UseCase

LOG = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Look = Callable[[Subject], Iterable[Finding]]
CHECKS: tuple[tuple[str, Look], ...] = (
    (existing.CHECK, existing.look),
    (landed.CHECK, landed.look),
    (refined.CHECK, refined.look),
    (computed.GOLD, computed.look),
    (predictions.CHECK, predictions.look),
    (records.CHECK, records.look),
    (champions.CHECK, champions.look),
    (model_files.CHECK, model_files.look),
    (functions.CHECK, functions.look),
)
QUICK = frozenset({computed.GOLD})
"""What computes tables once more, and takes as long as that does."""


def examine(
    ws: Workspace,
    name: str,
    opener: Callable[[Workspace], UseCase],
    progress: Progress = silent,
    *,
    quick: bool = False,
) -> list[Finding]:
    """Check what is stored of a use case; nothing is changed.

    Args:
        ws: The workspace.
        name: The use case's name.
        opener: Opens it: it reads tables, which may be damaged.
        progress: Takes lines about what is being done.
        quick: Leave out what computes tables once more.
    """
    found: list[Finding] = []
    namespace = Namespace(ws.catalog, name, ws.prefix)
    _collect(ws, files.CHECK, lambda: files.look(ws, namespace), found, progress)
    subject: list[Subject] = []
    _collect(ws, "use case", lambda: _open(ws, opener, subject), found, progress)
    for check, look in CHECKS if subject else ():
        if quick and check in QUICK:
            found.append(Finding(check, "", "cannot say", "left out: nothing is computed in a quick look."))
        else:
            _collect(ws, check, lambda look=look: look(subject[0]), found, progress)  # type: ignore[misc]
    return found


def subject_of(ws: Workspace, use_case: UseCase, run_id: str = "doctor") -> Subject | None:
    """Return a use case as of its newest run; None: nothing ran yet."""
    score = next(stage for stage in stages_of(use_case) if isinstance(stage, Score))
    epoch = use_case.context(ws, _EPOCH, run_id)
    context = newest_moment(epoch)
    return None if context is None else Subject(use_case, context, score)


def _open(ws: Workspace, opener: Callable[[Workspace], UseCase], subject: list[Subject]) -> Iterable[Finding]:
    opened = subject_of(ws, opener(ws))
    if opened is None:
        return [Finding("use case", "", "cannot say", "nothing has run yet: there is nothing to prove.")]
    subject.append(opened)
    return []


def _collect(
    ws: Workspace, check: str, look: Callable[[], Iterable[Finding]], found: list[Finding], progress: Progress
) -> None:
    """Add what a check finds; that it cannot be made is found, too."""
    stopping.check()
    progress(check)
    try:
        with explained(ws):
            found.extend(look())
    except PlatformError as error:
        stopping.check()
        found.append(Finding(check, "", "problem", f"it could not be looked at: {error.message}", error.hint))
    except Exception as error:
        stopping.check()
        LOG.exception("The check %s failed.", check)
        text = f"it could not be looked at: {type(error).__name__}: {error}"
        found.append(Finding(check, "", "problem", text, "This is an error of the platform; please report it."))

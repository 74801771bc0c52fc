"""What `gate`, `promote` and `rollback` share: showing a decision, exit codes, and failing closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.options import as_of_option

if TYPE_CHECKING:
    from datetime import datetime

    from mlplatform.gate.details import GateDetails
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase

_WELL = ("promoted", "rolled back", "unchanged", "canary ended")


def moment_of(ws: Workspace, use_case: UseCase, as_of: datetime | None) -> datetime:
    """Return when something is decided by hand, in data time: the time given, else the newest on record, or now.

    Of a use case whose history is replayed, now is where the replay has come: what is decided then holds from there on.

    Args:
        ws: The workspace.
        use_case: The use case.
        as_of: The time given.
    """
    from mlplatform.gate import decision_log
    from mlplatform.ops.stage_runs import RunLog

    if as_of is not None:
        return as_of
    now = as_of_option(None)
    on_record = [record.as_of for record in RunLog(ws, use_case.namespace).records()]
    on_record += [event.as_of for event in decision_log.events(ws, use_case.namespace)]
    return min(now, max(on_record, default=now))


def show(details: GateDetails, *, as_json: bool) -> None:
    """Print a decision: every check, and what was done (or, of a dry run, would be).

    Args:
        details: Of the stage's result.
        as_json: Print it as JSON.
    """
    if as_json:
        output.show_json(details.answer())
        return
    title = f"version {details.challenger}: {details.outcome}"
    title += f" (decision {details.decision_id})" if details.decision_id else ""
    if details.checks:
        rows = [
            (check["name"], check["status"], check["value"], check["limit"], check["detail"])
            for check in details.checks
        ]
        output.console().print(output.table(title, ("check", "status", "value", "limit", "detail"), rows))
    else:
        click.echo(title)
    click.echo(f"Reason: {details.reason}")
    if details.rows_from:
        of = f" of {details.known_rows}" if details.known_rows and details.known_rows != details.rows else ""
        counted = f"{details.rows}{of}, " if details.rows is not None else ""
        click.echo(f"Rows: {counted}{details.rows_from}")
    if details.spending is not None:
        click.echo(f"Error of the comparison: {details.spending.sentence}")
    if details.steps:
        click.echo("A dry run; nothing was changed. The real run would:" if details.dry_run else "Done:")
    for step in details.steps:
        click.echo(f"  - {step}")


def check_outcome(details: GateDetails) -> None:
    """Raise unless the champion is the version asked for: the exit code says so.

    Raises:
        NotPromotedError: With the outcome and the reason.
    """
    from mlplatform.errors import NotPromotedError

    if details.outcome not in _WELL:
        would = "would not be" if details.dry_run else "was not"
        raise NotPromotedError(
            f"Version {details.challenger} {would} promoted ({details.outcome}): {details.reason}",
            hint=details.hint,
        )


def check_version(details: GateDetails, version: int) -> None:
    """Raise if the decision is about another version than the one asked for.

    Raises:
        NotPromotedError: With both versions.
    """
    from mlplatform.errors import NotPromotedError

    if details.challenger != version:
        raise NotPromotedError(
            f"What had been begun with version {details.challenger} was finished first.",
            hint=f"Run it again for version {version}.",
        )


@contextmanager
def failing_closed(use_case: str) -> Iterator[None]:
    """Turn whatever went wrong into "not promoted", exit code 3; wrong use stays wrong use.

    Raises:
        NotPromotedError: With what went wrong.
    """
    from mlplatform.errors import NotPromotedError, PlatformError

    again = (
        f"Run it again when that is mended: it finishes what was begun. What happened: mlplatform history {use_case}"
    )
    try:
        yield
    except PlatformError as error:
        if error.exit_code != PlatformError.exit_code:
            raise
        raise NotPromotedError(
            f"Nothing was decided, or not finished: {error.message}", hint=error.hint or again
        ) from error
    except Exception as error:
        raise NotPromotedError(
            f"Nothing was decided, or not finished: {type(error).__name__}: {error}", hint=again
        ) from error

"""`mlplatform run`: the stages that are due at one time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output, profiling
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.use_case import UseCase


@command(
    examples=(
        "mlplatform run credit_risk --as-of 2006-01-01",
        "mlplatform run credit_risk --stage train --stage gate",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Only what was known by then counts.  [default: now]")
@click.option(
    "--stage", "stages", multiple=True, metavar="NAME", help="Run this stage only; may be given several times."
)
@click.option("--due", is_flag=True, help="Of the stages named, run only what is due.")
@click.option("--profile", is_flag=True, help=profiling.HELP)
@click.option("--register-only", is_flag=True, help="Train without setting the alias challenger; evaluating sets it.")
def run(
    use_case: str,
    as_of: str | None,
    stages: tuple[str, ...],
    due: bool,
    profile: bool,
    register_only: bool,
    options: Options,
) -> None:
    """Run the stages that are due at one time.

    The stages are ingest, refine, features, train, gate, score, monitor, retrain. Without --stage, training and gate
    run only when there is no champion, or when retraining is due; a rejection by the gate is a recorded outcome, not a
    failure. Running again for the same time changes nothing.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with (
        profiling.watched(wanted=profile) as seen,
        options.open_use_case(use_case) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        summary = pipeline.run(stages or None, due=due, register_only=register_only)
        written = _written(ws, opened, reporter, whole=not stages)
    if options.as_json:
        output.show_json(summary.to_dict() | written | profiling.as_json(seen()))
        return
    rows = [
        (
            done.stage,
            done.status,
            f"{done.seconds:.1f}",
            done.result.rows_in,
            done.result.rows_out,
            done.result.rows_quarantined,
            done.message or done.result.skipped or getattr(done.details, "reason", ""),
        )
        for done in summary.stages
    ]
    columns = ("stage", "status", "seconds", "rows in", "out", "quarantined", "note")
    output.console().print(output.table(f"{use_case} as of {moment:%Y-%m-%d %H:%M}", columns, rows))
    output.show_notes(summary, options.hints)
    profiling.show(seen())
    _tell(use_case, written, options, whole=not stages)


def _written(ws: Workspace, use_case: UseCase, reporter: output.Reporter, *, whole: bool) -> dict[str, str | None]:
    """Return the table of predictions, if it exists, and the report, which a run of all stages writes."""
    from mlplatform.reporting.report import write_report
    from mlplatform.scoring.predictions import LATEST_PREDICTIONS, PREDICTIONS
    from mlplatform.workspace import RUNTIME

    namespace = use_case.namespace
    scored = ws.tables.exists(namespace.gold(PREDICTIONS))
    predictions = str(namespace.gold(LATEST_PREDICTIONS)) if scored else None
    if not whole or not (ws.home == "local" or os.environ.get(RUNTIME)):  # else no volume is mounted here
        return {"predictions": predictions, "report": None}
    reporter.line("writing the report")
    report = write_report(ws, namespace, use_case.label_spine(), use_case.settings, ws.files("reports"), log=True)
    return {"predictions": predictions, "report": str(report)}


def _tell(use_case: str, written: dict[str, str | None], options: Options, *, whole: bool) -> None:
    if written["predictions"]:
        click.echo(f"Predictions: {written['predictions']} (the latest for each entity)")
    elif whole:
        why = options.hints.repeated(f"mlplatform history {use_case}")
        click.echo(f"Predictions: none yet, for there is no champion. Why: {why}")
    if written["report"]:
        click.echo(f"Report:      {written['report']}")

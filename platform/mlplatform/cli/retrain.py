"""`mlplatform retrain`: decide whether a retraining is due, and do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.gate.details import GateDetails


@command(
    examples=(
        "mlplatform retrain credit_risk --as-of 2007-01-01 --dry-run",
        "mlplatform retrain credit_risk --as-of 2007-01-01",
        "mlplatform retrain credit_risk --workspace databricks --start-job credit_risk_train",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Only what was recorded by then counts.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and why; change nothing.")
@click.option("--start-job", metavar="JOB", help="Start this job (id or name) instead of training in this process.")
@click.option("--recalibrate-job", metavar="JOB", help="Where a job is started: the one that recalibrates.")
def retrain(
    use_case: str,
    as_of: str | None,
    dry_run: bool,
    start_job: str | None,
    recalibrate_job: str | None,
    options: Options,
) -> None:
    """Train and gate a challenger, or recalibrate, if due.

    The schedule, the age of the champion, or alarms make that due. The decision reads what the monitor recorded: run
    that first. A rejection by the gate is an outcome, not a failure.
    """
    from mlplatform.monitoring.retrain import RECALIBRATION, RetrainDetails
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        gated: GateDetails | None = None
        if dry_run:
            details = RetrainDetails.model_validate(pipeline.retrain_decision())
        else:
            summary = pipeline.run(["retrain"], start_job=start_job, recalibrate_job=recalibrate_job)
            details = next(run.details for run in reversed(summary.stages) if run.stage == "retrain")
            gated = next((run.details for run in reversed(summary.stages) if run.stage == "gate"), None)
    if options.as_json:
        decision = {"use_case": use_case, "as_of": moment.isoformat(), "dry_run": dry_run, **details.answer()}
        output.show_json(decision)
        return
    moving = details.cure == RECALIBRATION
    what = "recalibration" if moving else "retraining"
    verb = f"a {what} is due" if details.due else f"no {what} is due"
    click.echo(f"{use_case} as of {moment:%Y-%m-%d}: {verb}.")
    for reason in details.reasons:
        click.echo(f"  - {reason}")
    if details.held_until:
        click.echo(f"Held back until {details.held_until:%Y-%m-%d}.")
    if dry_run and details.due:
        job_to_start = recalibrate_job if moving else start_job
        here = "recalibrates the champion" if moving else "trains a challenger on the labels known by then"
        doing = f"starts the job {job_to_start}" if start_job and job_to_start else f"{here}, and gates it"
        click.echo(f"Without --dry-run: {doing}.")
    elif details.job is not None:
        job = details.job
        told = (f"Job {job.name}, run {job.run_id}: {job.state}.", job.message, job.url)
        click.echo(" ".join(part for part in told if part))
    elif gated is not None and gated.challenger is not None:
        click.echo(f"Version {gated.challenger}: {gated.outcome} ({gated.reason}).")

"""`mlplatform ingest`: what landed becomes bronze, and a file that changed after it was taken is taken again."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        "mlplatform ingest credit_risk",
        "mlplatform ingest credit_risk --again loans/loans_2005Q1.csv.gz",
    ),
)
@click.argument("use_case")
@click.option(
    "--again",
    multiple=True,
    metavar="FILE",
    help="Take this file once more, by its name below the landing folder. May be given several times.",
)
@click.option("--as-of", metavar="TIME", help="What was known by then counts.  [default: now]")
def ingest(use_case: str, again: tuple[str, ...], as_of: str | None, options: Options) -> None:
    """Take what landed into bronze.

    A file is taken once. When it changed afterwards, a run says so, and goes on with what it was. --again takes it as
    it is now: its new rows replace the old ones in one commit, the silver tables of its source are refined again whole,
    and gold and feature tables follow. Models and predictions that were made before stay as they are.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        summary = Pipeline(ws, opened, moment, reporter.line).ingest(dict.fromkeys(again))
    if options.as_json:
        output.show_json(summary.to_dict())
        return
    for run in summary.stages:
        quarantined = f", {run.result.rows_quarantined:,} quarantined" if run.result.rows_quarantined else ""
        click.echo(f"{run.stage}: {run.result.skipped or f'{run.result.rows_out or 0:,} row(s){quarantined}'}.")
    output.show_notes(summary, options.hints)

"""`mlplatform rebuild`: silver and feature tables, computed whole from what they are computed from."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        "mlplatform rebuild credit_risk --table silver_loans",
        "mlplatform rebuild delivery_delay --table features_route --table features_seller",
    ),
)
@click.argument("use_case")
@click.option("--table", "tables", multiple=True, required=True, metavar="NAME", help="silver_loans, features_lender.")
@click.option("--as-of", metavar="TIME", help="What was known by then counts.  [default: now]")
def rebuild(use_case: str, tables: tuple[str, ...], as_of: str | None, options: Options) -> None:
    """Compute tables whole again.

    A silver table is refined again from all files of bronze, and gold and feature tables follow. Rows are replaced in
    one commit; the Delta version before stays readable until maintenance removes it. A run does so by itself where code
    has changed: this is for what no digest shows, as another version of a library, or rows that somebody else changed.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        summary = Pipeline(ws, opened, moment, reporter.line).rebuild(dict.fromkeys(tables))
    if options.as_json:
        output.show_json(summary.to_dict())
        return
    for run in summary.stages:
        click.echo(f"{run.stage}: {run.result.skipped or f'{run.result.rows_out or 0:,} row(s)'}.")
    for note in summary.notes():
        click.echo(f"Note: {note}")

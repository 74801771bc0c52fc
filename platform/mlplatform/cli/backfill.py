"""`mlplatform backfill`: a range of a feature table, computed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.features.backfill import BackfillDetails


@command(
    examples=(
        "mlplatform backfill credit_risk --table lender --from 2004-01-01 --to 2005-01-01 --dry-run",
        "mlplatform backfill delivery_delay --table route --from 2013-03-01 --to 2013-03-08",
    ),
)
@click.argument("use_case")
@click.option("--table", required=True, metavar="NAME", help="The feature table, as declared: lender.")
@click.option("--from", "start", metavar="TIME", required=True, help="First moment of the range, included.")
@click.option("--to", "end", metavar="TIME", required=True, help="Last moment of the range, included.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
def backfill(use_case: str, table: str, start: str, end: str, dry_run: bool, options: Options) -> None:
    """Compute a range of a feature table anew.

    Use it after a computation was mended, or when data landed late: what was known in the range counts, whenever it
    landed. The new rows replace the existing ones in one commit. Running it again changes nothing.
    """
    from mlplatform.as_of import parse_as_of
    from mlplatform.pipeline import Pipeline

    first, last = parse_as_of(start), parse_as_of(end)
    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        done = Pipeline(ws, opened, last, reporter.line).backfill(table, first, dry_run=dry_run)
    details: BackfillDetails = done.details
    if options.as_json:
        output.show_json(
            {"use_case": use_case, "to": last.isoformat(), **details.answer(), "message": done.result.skipped}
        )
        return
    would = "would be " if dry_run else ""
    click.echo(
        f"{opened.namespace.table(details.table)}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}: "
        f"{details.before} row(s) before, {details.after} after; {details.added} {would}added, "
        f"{details.removed} {would}removed, {details.changed} {would}changed."
    )
    if done.result.skipped:
        click.echo(f"Nothing to do: {done.result.skipped}.")

"""`mlplatform apply`: do what an edit of the declarations does, on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.applying import Applied


@command(
    examples=(
        "mlplatform apply credit_risk",
        'mlplatform apply credit_risk --reason "smoothing was too weak for small lenders" --dry-run',
        'mlplatform apply credit_risk --in-place --reason "amounts were in cents since May"',
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Tables are brought up to this time.  [default: now]")
@click.option("--reason", default="", help="Why, for the record; needed where something breaking waits.")
@click.option(
    "--in-place", is_flag=True, help="Models in use are given the new values, instead of what they were trained on."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def apply(use_case: str, as_of: str | None, reason: str, in_place: bool, dry_run: bool, options: Options) -> None:
    """Do what an edit does, on record.

    It is planned first, as mlplatform plan shows it. A feature table whose meaning changes under a model in use gets a
    version, a table beside it: the model reads on what it was trained on, until one that was trained on the version is
    promoted. Then all tables are brought up to the declarations.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        applied = pipeline.apply(reason=reason, in_place=in_place, dry_run=dry_run)
    if options.as_json:
        output.show_json(
            applied.plan.to_json()
            | {
                "versions": applied.versions,
                "in_place": in_place,
                "dry_run": dry_run,
                "run": applied.summary.to_dict() if applied.summary is not None else None,
            }
        )
        return
    for line in applied.plan.lines():
        click.echo(line)
    _show(applied, dry_run=dry_run)


def _show(applied: Applied, *, dry_run: bool) -> None:
    is_or_would = "would be" if dry_run else "is"
    for name, version in applied.versions.items():
        before = dict(applied.before.versions).get(name, name)
        click.echo(f"{version} {is_or_would} written from now on; models in use go on with {before}.")
    if applied.summary is not None:
        rows = {run.stage: run.result.rows_out for run in applied.summary.stages}
        click.echo("Applied: " + ", ".join(f"{stage} {count or 0:,} row(s)" for stage, count in rows.items()) + ".")
        for note in applied.summary.notes():
            click.echo(f"Note: {note}")

"""`mlplatform begin-anew`: go on where the models on record are gone for good."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        'mlplatform begin-anew credit_risk --reason "the disk is gone, and there is no backup" --dry-run',
        'mlplatform begin-anew credit_risk --reason "the model was deleted in Unity Catalog"',
    ),
)
@click.argument("use_case")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--as-of", metavar="TIME", help="When, in data time.  [default: the newest on record, or now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def begin_anew(use_case: str, reason: str, as_of: str | None, dry_run: bool, options: Options) -> None:
    """Go on without models that are gone for good.

    Where the champion on record is gone, every command that relies on it is refused. Bring it back: the registry from a
    backup, or another version by rollback or promote. Where nothing can be brought back, this says so on record: what
    is left of a lost registry is kept aside, and the next champion is a first one. Tables and predictions stay.
    """
    from mlplatform.pipeline import Pipeline

    given = as_of_option(as_of) if as_of else None
    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        moment = decisions.moment_of(ws, opened, given)
        details = Pipeline(ws, opened, moment, reporter.line).begin_anew(reason=reason, dry_run=dry_run).details
    if options.as_json:
        output.show_json(details.answer())
        return
    click.echo("A dry run; nothing was changed. The real run would:" if dry_run else "Done:")
    for step in details.steps:
        click.echo(f"  - {step}")
    if not dry_run:
        click.echo(options.hints.repeated(f"Next: mlplatform run {use_case}"))

"""`mlplatform rollback`: make an earlier champion champion again."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        'mlplatform rollback credit_risk --reason "complaints about rejected loans"',
        'mlplatform rollback credit_risk --to 1 --reason "version 2 was trained on wrong outcomes" --dry-run',
    ),
)
@click.argument("use_case")
@click.option("--to", type=click.IntRange(min=1), help="A version that was champion.  [default: the one before]")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--as-of", metavar="TIME", help="When, in data time.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def rollback(
    use_case: str,
    to: int | None,
    reason: str,
    as_of: str | None,
    dry_run: bool,
    options: Options,
) -> None:
    """Make an earlier champion champion again.

    It is the champion before the present one, or the version that --to names. The rollback is recorded with its reason.
    """
    from mlplatform.gate.first_steps import require_version
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case, read_only=dry_run) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        require_version(ws, opened.namespace, to)
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        details = pipeline.roll_back(to=to, reason=reason, dry_run=dry_run).details
    decisions.show(details, as_json=options.as_json)
    decisions.check_outcome(details)

"""`mlplatform rollback`: make an earlier champion champion again."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.options import Options, common
from mlplatform.cli.run import as_of_option


@click.command(
    epilog='\b\nExamples:\n  mlplatform rollback credit_risk --reason "complaints about rejected loans"\n'
    '  mlplatform rollback credit_risk --to 1 --reason "version 2 was trained on wrong outcomes" --dry-run'
)
@click.argument("use_case")
@click.option("--to", type=click.IntRange(min=1), help="A version that was champion.  [default: the one before]")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--as-of", metavar="TIME", help="When, in data time.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@common
def rollback(
    use_case: str,
    to: int | None,
    reason: str,
    as_of: str | None,
    dry_run: bool,
    as_json: bool,
    options: Options,
) -> None:
    """Make the champion before the present one champion again, or the one named by --to; on record, with the reason."""
    from mlplatform.gate.first_steps import require_version
    from mlplatform.ops.stage_runs import plain
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        require_version(ws, opened.namespace, to)
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        details = plain(pipeline.roll_back(to=to, reason=reason, dry_run=dry_run).details)
    decisions.show(details, as_json=as_json)
    decisions.check_outcome(details)

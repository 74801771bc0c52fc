"""`mlplatform rollback`: make an earlier champion champion again."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import command
from mlplatform.cli.options import VERSION, Options, as_of_option


@command(
    examples=(
        'mlplatform rollback credit_risk --reason "complaints about rejected loans"',
        'mlplatform rollback credit_risk --to 1 --reason "version 2 was trained on wrong outcomes" --dry-run',
        'mlplatform rollback credit_risk --end-canary --reason "the challenger refuses too many"',
    ),
)
@click.argument("use_case")
@click.option("--to", type=VERSION, help="A version that was champion.  [default: the one before]")
@click.option("--end-canary", is_flag=True, help="Only take the challenger out of its canary; the champion stays.")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--as-of", metavar="TIME", help="When, in data time.  [default: the newest on record, or now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def rollback(
    use_case: str,
    to: int | None,
    end_canary: bool,
    reason: str,
    as_of: str | None,
    dry_run: bool,
    options: Options,
) -> None:
    """Make an earlier champion champion again.

    It is the champion before the present one, or the version that --to names. The rollback is recorded with its reason.
    A canary ends with it. With --end-canary nothing but the canary ends: the challenger decides for nobody any more.
    """
    from mlplatform.errors import UsageError
    from mlplatform.gate.first_steps import require_version
    from mlplatform.pipeline import Pipeline

    if end_canary and to is not None:
        raise UsageError(
            "--to and --end-canary do not go together.", hint="A rollback ends a canary, too: leave --end-canary out."
        )
    given = as_of_option(as_of) if as_of else None
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case, read_only=dry_run) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        require_version(ws, opened.namespace, to)
        moment = decisions.moment_of(ws, opened, given)
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        if end_canary:
            details = pipeline.end_canary(reason=reason, dry_run=dry_run).details
        else:
            details = pipeline.roll_back(to=to, reason=reason, dry_run=dry_run).details
    decisions.show(details, as_json=options.as_json)
    decisions.check_outcome(details)

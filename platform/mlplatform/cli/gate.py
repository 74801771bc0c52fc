"""`mlplatform gate` and `mlplatform promote`: put a version to the gate."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        "mlplatform gate credit_risk --as-of 2007-01-01",
        "mlplatform gate credit_risk --as-of 2007-01-01 --dry-run",
    ),
)
@click.argument("use_case")
@click.option("--version", type=click.IntRange(min=1), help="Decide about this version.  [default: the challenger]")
@click.option("--as-of", metavar="TIME", help="Labels known by then count.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def gate(use_case: str, version: int | None, as_of: str | None, dry_run: bool, options: Options) -> None:
    """Promote the challenger if it beats the champion.

    Both are judged on the same rows. Exits with 3 if the challenger was not promoted.
    """
    _put_to_the_gate(use_case, version, as_of, "", options, dry_run=dry_run)


@command(
    examples=(
        "mlplatform promote credit_risk --version 3 --as-of 2008-01-01",
        'mlplatform promote credit_risk --version 3 --force --reason "the champion scores nulls since the migration"',
    ),
)
@click.argument("use_case")
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version to promote.")
@click.option("--as-of", metavar="TIME", help="Labels known by then count.  [default: now]")
@click.option("--force", is_flag=True, help="Promote whatever the checks say; recorded as a manual override.")
@click.option("--reason", default="", help="Why it is forced; required with --force.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def promote(
    use_case: str,
    version: int,
    as_of: str | None,
    force: bool,
    reason: str,
    dry_run: bool,
    options: Options,
) -> None:
    """Promote one version, if it passes the gate.

    Exits with 3 if it was not promoted. With --force it is promoted whatever the checks say, on record.
    """
    from mlplatform.errors import UsageError

    if force != bool(reason.strip()):
        raise UsageError(
            "--force and --reason go together: a manual override is recorded with its reason.",
            hint='As in: --force --reason "the champion scores nulls since the migration".',
        )
    _put_to_the_gate(use_case, version, as_of, reason, options, dry_run=dry_run)


def _put_to_the_gate(
    use_case: str,
    version: int | None,
    as_of: str | None,
    override: str,
    options: Options,
    *,
    dry_run: bool,
) -> None:
    from mlplatform.gate.first_steps import require_version
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case, read_only=dry_run) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        if version is not None:
            require_version(ws, opened.namespace, version)
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        details = pipeline.gate(version=version, override=override.strip(), dry_run=dry_run).details
    decisions.show(details, as_json=options.as_json)
    decisions.check_outcome(details)
    if version is not None:
        decisions.check_version(details, version)

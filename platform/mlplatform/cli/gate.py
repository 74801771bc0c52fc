"""`mlplatform gate` and `mlplatform promote`: put a version to the gate."""

from __future__ import annotations

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.options import Options, common
from mlplatform.cli.run import as_of_option


@click.command(
    epilog="\b\nExamples:\n  mlplatform gate credit_risk --as-of 2007-01-01\n"
    "  mlplatform gate credit_risk --as-of 2007-01-01 --dry-run"
)
@click.argument("use_case")
@click.option("--version", type=click.IntRange(min=1), help="Decide about this version.  [default: the challenger]")
@click.option("--as-of", metavar="TIME", help="Labels known by then count.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@common
def gate(use_case: str, version: int | None, as_of: str | None, dry_run: bool, as_json: bool, options: Options) -> None:
    """Compare the challenger with the champion and promote it if it wins; exits with 3 if it was not promoted."""
    _put_to_the_gate(use_case, version, as_of, "", options, dry_run=dry_run, as_json=as_json)


@click.command(
    epilog="\b\nExamples:\n  mlplatform promote credit_risk --version 3 --as-of 2008-01-01\n"
    '  mlplatform promote credit_risk --version 3 --force --reason "the champion scores nulls since the migration"'
)
@click.argument("use_case")
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version to promote.")
@click.option("--as-of", metavar="TIME", help="Labels known by then count.  [default: now]")
@click.option("--force", is_flag=True, help="Promote whatever the checks say; recorded as a manual override.")
@click.option("--reason", default="", help="Why it is forced; required with --force.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@common
def promote(
    use_case: str,
    version: int,
    as_of: str | None,
    force: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
    options: Options,
) -> None:
    """Promote one version, if it passes all checks of the gate; exits with 3 if it was not promoted."""
    from mlplatform.errors import UsageError

    if force != bool(reason.strip()):
        raise UsageError(
            "--force and --reason go together: a manual override is recorded with its reason.",
            hint='As in: --force --reason "the champion scores nulls since the migration".',
        )
    _put_to_the_gate(use_case, version, as_of, reason, options, dry_run=dry_run, as_json=as_json)


def _put_to_the_gate(
    use_case: str,
    version: int | None,
    as_of: str | None,
    override: str,
    options: Options,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from mlplatform.gate.first_steps import require_version
    from mlplatform.ops.stage_runs import plain
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        if version is not None:
            require_version(ws, opened.namespace, version)
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        details = plain(pipeline.gate(version=version, override=override.strip(), dry_run=dry_run).details)
    decisions.show(details, as_json=as_json)
    decisions.check_outcome(details)
    if version is not None:
        decisions.check_version(details, version)

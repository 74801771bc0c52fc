"""`mlplatform plan`: what an edit does to tables and live models, before it is done."""

from __future__ import annotations

from pathlib import Path

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option
from mlplatform.errors import BreakingChangeError


@command(
    examples=(
        "mlplatform plan credit_risk",
        "mlplatform plan credit_risk --as-of 2007-01-01 --json",
        "mlplatform plan credit_risk --markdown comment.md",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Rows known by then are looked at.  [default: now]")
@click.option(
    "--markdown",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Append the plan to a file, as Markdown for a pull request's comment.",
)
def plan(use_case: str, as_of: str | None, markdown: Path | None, options: Options) -> None:
    """Show what an edit would do; change nothing.

    Every declared table is compared with the one that exists. Where code changed, the new code is computed and its rows
    are compared with those that the table holds; where a model in use reads what changes, it is asked what it would
    predict. Exits with 4 if something breaking waits.
    """
    from mlplatform.cli import plan_comment
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case, read_only=True) as (ws, opened), output.reporting(total=1) as reporter:
        found = Pipeline(ws, opened, moment, reporter.line).plan()
    if markdown is not None:
        plan_comment.append(markdown, found)
    if options.as_json:
        output.show_json(found.to_json())
    else:
        for line in found.lines():
            click.echo(line)
    if found.is_breaking:
        breaking = [change.name for change in found.changes if change.kind == found.kind]
        raise BreakingChangeError(
            f"{use_case}: something breaking waits in {', '.join(breaking)}; nothing was changed.",
            hint=f"Take the edit back, or do it, on record: mlplatform apply {use_case} --as-of "
            f'{moment:%Y-%m-%dT%H:%M:%SZ} --reason "why"',
        )

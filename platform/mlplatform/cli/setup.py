"""`mlplatform setup`: what a deployment cannot declare, made once and kept."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        "mlplatform setup credit_risk --dry-run",
        "mlplatform setup credit_risk --workspace databricks --env prod --trainer ml-trainers --scorer ml-scorers",
    ),
)
@click.argument("use_case")
@click.option("--trainer", default="", metavar="PRINCIPAL", help="May write all but predictions and decisions.")
@click.option("--promoter", default="", metavar="PRINCIPAL", help="May write decisions.")
@click.option("--scorer", default="", metavar="PRINCIPAL", help="May append predictions.")
@click.option(
    "--model-owner", default="", metavar="GROUP", help="Owns the model: its members may move aliases, the promoter too."
)
@click.option(
    "--deployment-job", default="", metavar="ID", help="Evaluates, approves, promotes; approval: manual only."
)
@click.option("--expect-schema", default="", metavar="NAME", help="Fail unless this is the use case's schema.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def setup(
    use_case: str,
    deployment_job: str,
    expect_schema: str,
    dry_run: bool,
    options: Options,
    **principals: str,
) -> None:
    """Create what a deployment cannot declare.

    That is tables, tags, the model, grants and data profiling, each where it is missing; running it again changes
    nothing. Principals are groups, users, or application ids of service principals; one that is left out gets no
    grants.
    """
    from mlplatform.pipeline import Pipeline
    from mlplatform.stages import setup_of

    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        context = opened.context(ws, as_of_option(None), run_id="setup", progress=reporter.line)
        stage = setup_of(opened, **principals, deployment_job=deployment_job, expect_schema=expect_schema)
        if not dry_run:
            # It creates tables and functions as declared: not before a run would.
            Pipeline(ws, opened, context.as_of, reporter.line).check_changes()
        result = stage.plan(context).result if dry_run else stage.run(context)
    done = result.details.steps
    if options.as_json:
        output.show_json({"use_case": use_case, "env": options.env, "dry_run": dry_run, "steps": done})
        return
    click.echo("A dry run; nothing was changed. The real run would:" if dry_run else f"{use_case} is set up. Done:")
    for line in done:
        click.echo(f"  - {line}")

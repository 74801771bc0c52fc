"""`mlplatform adopt`: take over a feature table or a model that exists already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.ops.result import StageResult


@command(
    examples=(
        "mlplatform adopt credit_risk --table main.risk.lender_features --as lender",
        "mlplatform adopt credit_risk --model main.risk.scorer --version 4 --trained-through 2025-12-31",
    ),
)
@click.argument("use_case")
@click.option("--table", metavar="NAME", help="Three-level name of a feature table.")
@click.option("--as", "declared_as", metavar="TABLE", help="The declared feature table that it becomes.")
@click.option("--model", metavar="NAME", help="Three-level name of a registered model.")
@click.option("--version", type=click.IntRange(min=1), help="The model's version.")
@click.option("--trained-through", metavar="TIME", help="Newest prediction time the model was fitted on.")
@click.option("--as-of", metavar="TIME", help="Only what was known by then is taken over.  [default: now]")
@click.option("--dry-run", is_flag=True, help="Check, and change nothing.")
def adopt(  # noqa: PLR0913, PLR0917  (one parameter an option)
    use_case: str,
    table: str | None,
    declared_as: str | None,
    model: str | None,
    version: int | None,
    trained_through: str | None,
    as_of: str | None,
    dry_run: bool,
    options: Options,
) -> None:
    """Take over an existing feature table or model version.

    A table's rows become history, a model version becomes champion. Keys, columns and types of a table, and files,
    signature and feature spec of a model are checked first. A model becomes champion only where there is none; else it
    becomes challenger, and the gate decides.
    """
    from mlplatform.as_of import parse_as_of
    from mlplatform.change import adopt_model
    from mlplatform.errors import UsageError
    from mlplatform.pipeline import Pipeline

    if (table is None) == (model is None):
        raise UsageError("Adopt one thing at a time.", hint="Give --table NAME, or --model NAME --version N.")
    if (model is None) != (version is None):
        raise UsageError("A model is adopted by version.", hint="Give both --model NAME and --version N.")
    moment = as_of_option(as_of)
    with options.open_use_case(use_case, read_only=dry_run) as (ws, opened), output.reporting(total=1) as reporter:
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        if table is not None:
            table_result = pipeline.adopt_table(table, declared_as, dry_run=dry_run)
            result: StageResult[Any] = table_result
            (name,) = table_result.details.adopted
            later = table_result.details.known_later
            taken = (
                f"{name}: {result.rows_out} of {result.rows_in} row(s) of {table} taken over"
                f"{f', {later} known only later left out' if later else ''}; the stage 'features' goes on from there."
            )
        else:
            assert model is not None
            assert version is not None
            through = parse_as_of(trained_through) if trained_through else None
            source = adopt_model.ExistingVersion(model, version, through)
            model_result = pipeline.adopt_model(source, dry_run=dry_run)
            result, adopted = model_result, model_result.details
            taken = f"{adopted.origin} is version {adopted.version} of {opened.model}, and {adopted.role}."
    if options.as_json:
        output.show_json({**result.details.answer(), "rows_in": result.rows_in, "rows_out": result.rows_out})
        return
    click.echo(f"{result.details.origin} can be adopted; nothing was changed." if dry_run else taken)

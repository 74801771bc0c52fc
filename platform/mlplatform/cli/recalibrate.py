"""`mlplatform recalibrate`: the champion's probabilities moved to what outcomes say, as a version put to the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option

if TYPE_CHECKING:
    from mlplatform.gate.details import GateDetails
    from mlplatform.recalibration.details import RecalibrationDetails
    from mlplatform.statistics.recalibration import Method


@command(
    examples=(
        "mlplatform recalibrate credit_risk --as-of 2010-01-01 --dry-run",
        "mlplatform recalibrate credit_risk --as-of 2010-01-01 --method odds",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Outcomes known by then count.  [default: now]")
@click.option(
    "--basis",
    type=click.Choice(["realised", "immature"]),
    help="By which outcomes: labels, or rates that immature labels tell of.  [default: recalibration.basis]",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "odds", "isotonic"]),
    help="What is moved: the odds, or a rising curve.  [default: recalibration.method]",
)
@click.option("--no-gate", is_flag=True, help="Make it challenger, and leave the decision to the next gate.")
@click.option("--register-only", is_flag=True, help="Register the version, and leave alias and gate to its evaluation.")
@click.option("--dry-run", is_flag=True, help="Say what would be moved; change nothing.")
def recalibrate(
    use_case: str,
    as_of: str | None,
    basis: str | None,
    method: str | None,
    no_gate: bool,
    register_only: bool,
    dry_run: bool,
    options: Options,
) -> None:
    """Move the champion's probabilities to what came true.

    A new version: the same model, its odds moved where outcomes say that they are surely off. The gate judges it by
    proper scores of rows that it did not learn from, and it becomes the champion if it is better. Exits with 3 if it
    was not promoted; with 0 if nothing is off.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    gated: GateDetails | None = None
    with (
        decisions.failing_closed(use_case),
        options.open_use_case(use_case, read_only=dry_run) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        pipeline = Pipeline(ws, opened, moment, reporter.line)
        result = pipeline.recalibrate(
            basis=basis or "", method=cast("Method | None", method), register_only=register_only, dry_run=dry_run
        )
        details: RecalibrationDetails = result.details
        if details.version is not None and not (no_gate or register_only):
            gated = pipeline.gate(version=details.version).details
    if options.as_json:
        found: dict[str, Any] = {"use_case": use_case, "as_of": moment.isoformat(), "skipped": result.skipped}
        output.show_json(found | details.answer() | ({"gate": gated.answer()} if gated is not None else {}))
    else:
        _tell(use_case, details, result.skipped)
    if gated is not None:
        if not options.as_json:
            decisions.show(gated, as_json=False)
        decisions.check_outcome(gated)


def _tell(use_case: str, details: RecalibrationDetails, skipped: str) -> None:
    for line in details.lines():
        click.echo(line)
    if skipped:
        click.echo(f"{use_case}: nothing was made ({skipped}).")
    elif details.dry_run:
        click.echo(
            "A dry run; nothing was changed. The real run would register this as a version, for the gate to judge."
        )
    else:
        again = ", made before" if details.reused else ""
        click.echo(f"Version {details.version}, recalibrated from version {details.origin}{again}.")

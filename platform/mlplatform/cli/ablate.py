"""`mlplatform ablate`: what each lookup of a model is worth."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option


@command(
    examples=(
        "mlplatform ablate credit_risk --as-of 2007-01-01",
        "mlplatform ablate credit_risk --json",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", help="Labels known by then are trained on.  [default: now]")
def ablate(use_case: str, as_of: str | None, options: Options) -> None:
    """Say what each lookup is worth, by training without it.

    Nothing is changed or recorded. Each feature table and feature function in turn is taken from the model, which is
    trained again with the parameters of the newest training, and compared with the whole one on the same holdout.
    """
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case, read_only=True) as (ws, opened), output.reporting(total=1) as reporter:
        found = Pipeline(ws, opened, moment, reporter.line).ablate()
    if options.as_json:
        output.show_json({"use_case": use_case, "as_of": moment.isoformat(), **found.to_json()})
        return
    rows = [
        (
            it.lookup,
            ", ".join(it.features),
            None if it.value is None else f"{it.value:.4f}",
            None if it.cost is None else f"{it.cost:+.4f}",
            None if it.low is None else f"{it.low:+.4f} to {it.high:+.4f}",
            it.judgement,
        )
        for it in found.lookups
    ]
    title = f"{found.metric} of {use_case} is {found.value:.4f} on {found.holdout} rows of the holdout; without"
    columns = ("lookup", "inputs", found.metric, "cost", "95 % interval", "judgement")
    output.console().print(output.table(title, columns, rows))

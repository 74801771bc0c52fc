"""`mlplatform score`: batch scoring at one time."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.options import Options, common
from mlplatform.cli.run import as_of_option


@click.command(epilog="\b\nExamples:\n  mlplatform score credit_risk --as-of 2006-04-01")
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", required=True, help="Score what became due since the scoring before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@common
def score(use_case: str, as_of: str, as_json: bool, options: Options) -> None:
    """Score the entities whose prediction time has come, with the champion.

    Data and features are brought up to the time first. Predictions are appended exactly once: again appends nothing.
    """
    from mlplatform.as_of import shown
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        summary = Pipeline(ws, opened, moment, reporter.line).run(["ingest", "refine", "features", "score"])
    done = summary.stages[-1]
    if as_json:
        output.show_json(summary.to_dict())
        return
    details = done.result.details
    click.echo(
        f"{use_case} as of {shown(moment)}: {done.result.rows_out} of {done.result.rows_in} due rows newly scored "
        f"by version {details['model_version']}"
        + (f", mean prediction {details['mean_prediction']:.4f}" if details["mean_prediction"] is not None else "")
        + "."
    )

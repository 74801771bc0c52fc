"""`mlplatform score`: batch scoring at one time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options, as_of_option, time_option

if TYPE_CHECKING:
    from mlplatform.scoring.details import ScoreDetails


@command(
    examples=(
        "mlplatform score credit_risk --as-of 2006-04-01",
        "mlplatform score credit_risk --as-of 2006-04-01 --alias challenger",
        "mlplatform score credit_risk --as-of 2006-04-01 --since 2005-01-01",
        "mlplatform score credit_risk --as-of 2006-04-01 --allow-later-model",
    ),
)
@click.argument("use_case")
@click.option("--as-of", metavar="TIME", required=True, help="Score what became due since the scoring before.")
@click.option(
    "--alias",
    type=click.Choice(["champion", "challenger"]),
    help="Score with this version only.  [default: the champion, and the challenger in its shadow]",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Score all with a prediction time after this that no champion has predicted, each as of its own time.",
)
@click.option(
    "--allow-later-model",
    is_flag=True,
    help="Let the version that has the alias now score, though it was trained as of later; on record, no performance.",
)
def score(
    use_case: str, as_of: str, alias: str | None, since: str | None, allow_later_model: bool, options: Options
) -> None:
    """Score the entities whose prediction time has come.

    Data and features are brought up to the time first. Predictions are appended exactly once: again appends nothing.
    What the challenger predicts is kept beside the champion's predictions, and never among the latest ones. The
    champion is whom the decisions on record had made it by then; a version trained as of later than --as-of is refused.
    """
    from mlplatform.as_of import shown
    from mlplatform.errors import UsageError
    from mlplatform.pipeline import Pipeline

    moment = as_of_option(as_of)
    begin = time_option(since, "--since") if since else None
    if begin is not None and begin >= moment:
        raise UsageError(
            f"--since {since} does not lie before --as-of {as_of}.",
            hint="Rows with a prediction time after --since and up to --as-of are scored.",
        )
    with options.open_use_case(use_case) as (ws, opened), output.reporting(total=1) as reporter:
        pipeline = Pipeline(ws, opened, moment, reporter.line, advance=reporter.rows)
        stages = ["ingest", "refine", "features", "score"]
        summary = pipeline.run(stages, alias=alias, since=begin, allow_later=allow_later_model)
    done = summary.stages[-1]
    if options.as_json:
        output.show_json(summary.to_dict())
        return
    details: ScoreDetails = done.details
    since_text = f" since {shown(begin)}" if begin is not None else ""
    click.echo(
        f"{use_case} as of {shown(moment)}: {done.result.rows_out} of {done.result.rows_in} due rows{since_text} newly "
        f"scored by version {details.model_version} ({details.alias}){_mean(details.mean_prediction)}."
    )
    if details.trained_later is not None:
        click.echo(
            f"The version was trained as of {shown(details.trained_later)}, which is later: what it predicts nobody "
            "could have predicted then, and it is not counted as performance."
        )
    if details.learned_rows:
        through = (details.learned_through or "")[:10]
        click.echo(
            f"{details.learned_rows} of the due rows have a prediction time up to {through}. "
            "The version learned from such rows: what it predicts for them is not counted as performance."
        )
    output.show_notes(summary, options.hints)
    part = details.canary
    if part is not None and part.failed:
        click.echo(f"Canary: version {part.model_version} failed, and the champion decided for all: {part.failed}")
    elif part is not None:
        decided = f"decided for {part.rows}, of a share of {part.share:.3g} of the entities"
        click.echo(f"Canary: version {part.model_version} (challenger) {decided}.")
    shadow = details.shadow
    if shadow is not None and shadow.failed:
        click.echo(f"In the shadow: version {shadow.model_version} (challenger) failed: {shadow.failed}")
    elif shadow is not None:
        mean = _mean(shadow.mean_prediction)
        click.echo(f"In the shadow: {shadow.rows} by version {shadow.model_version} (challenger){mean}.")


def _mean(value: float | None) -> str:
    return f", mean prediction {value:.4f}" if value is not None else ""

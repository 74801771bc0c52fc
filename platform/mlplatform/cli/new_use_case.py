"""`mlplatform new-use-case`: a folder that runs at once, made from a CSV file."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options
from mlplatform.errors import UsageError
from mlplatform.scaffold.estimators import ESTIMATORS, HISTGB, PACKAGES
from mlplatform.task import TASKS

if TYPE_CHECKING:
    from mlplatform.scaffold.inference import CsvColumn, Inferred
    from mlplatform.scaffold.render import Scaffolded
    from mlplatform.task import TaskName


@command(
    "new-use-case",
    examples=(
        "mlplatform new-use-case upsell --task classification --entity account --timestamp asked_on --label bought \\",
        "    --horizon '30 days' --history-by account,branch --from-csv offers.csv",
        "mlplatform new-use-case house_price --task regression --row-numbers --label price --from-csv sales.csv.gz",
    ),
)
@click.argument("name")
@click.option("--task", type=click.Choice(list(TASKS)), required=True, help="What is predicted.")
@click.option(
    "--entity",
    "entities",
    multiple=True,
    metavar="COLUMN",
    help="Names what is predicted for; several times where only several columns do so together.",
)
@click.option("--row-numbers", is_flag=True, help="Instead of --entity: each row is its own, named by its place.")
@click.option(
    "--from-csv",
    "csv",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The data: UTF-8, commas; also packed by gzip, bzip2 or xz.",
)
@click.option(
    "--estimator",
    type=click.Choice(ESTIMATORS),
    default=HISTGB,
    show_default=True,
    help="What the model begins with: scikit-learn's gradient boosting, LightGBM, XGBoost, or a linear model.",
)
@click.option("--label", required=True, metavar="COLUMN", help="What is predicted; empty where it is not known yet.")
@click.option("--quantile", type=float, metavar="SHARE", help="Of --task quantile: which one is predicted, as in 0.9.")
@click.option("--timestamp", metavar="COLUMN", help="When the prediction is made: ISO 8601, UTC unless it says else.")
@click.option(
    "--horizon",
    metavar="DURATION",
    help="How long after the prediction its label is known, as in '30 days'.  [default: a guess, marked as such]",
)
@click.option(
    "--history-by",
    metavar="COLUMN,...",
    help="Look up what had turned out for the same value of each column (of several together: bank+state).  "
    "[default: the entity, where it has several rows]",
)
def new_use_case(  # noqa: PLR0913, PLR0917  (one for each option)
    name: str,
    task: TaskName,
    entities: tuple[str, ...],
    row_numbers: bool,
    csv: Path,
    estimator: str,
    label: str,
    quantile: float | None,
    timestamp: str | None,
    horizon: str | None,
    history_by: str | None,
    options: Options,
) -> None:
    """Write a new use case that runs at once.

    It has settings, tables, features, a model, tests, and a README that names the next five edits. The CSV has one row
    per prediction: its entity, the facts known at that time, and the label where it is known. The folder is written
    into --use-cases, or else into ./use_cases.
    """
    from mlplatform.scaffold.render import new_use_case as write

    if row_numbers and entities:
        raise UsageError("--row-numbers is instead of --entity.", hint="Give one of them.")
    if not row_numbers and not entities:
        raise UsageError(
            "What is predicted for? There is no --entity.",
            hint="Name its column by --entity, several by several; or, if the file has no id, --row-numbers.",
        )
    into = options.use_cases or Path("use_cases")
    _check_name(name, into)
    scaffolded = write(
        name,
        csv,
        into=into,
        task=task,
        entity=entities,
        label=label,
        timestamp=timestamp,
        horizon=horizon,
        history_by=[column.strip() for column in history_by.split(",")] if history_by else (),
        estimator=estimator,
        quantile=quantile,
    )
    jobs = _resources(name, scaffolded)
    steps = [
        options.hints.repeated(f"mlplatform run {name} --as-of {scaffolded.as_of}"),
        options.hints.repeated(f"mlplatform check {name}"),
    ]
    if options.as_json:
        output.show_json(
            {
                "use_case": name,
                "folder": str(scaffolded.folder),
                "rows": scaffolded.inferred.rows,
                "labelled": scaffolded.inferred.labelled,
                "as_of": scaffolded.as_of,
                "horizon": scaffolded.horizon,
                "horizon_guessed": horizon is None,
                "estimator": estimator,
                "classes": list(scaffolded.inferred.classes),
                "jobs": jobs,
                "next": steps,
            }
        )
        return
    _say_what_was_inferred(scaffolded, guessed=horizon is None)
    if estimator in PACKAGES and find_spec(estimator) is None:
        click.echo(f"Install:     pip install 'mlplatform[{estimator}]', which the estimator needs and is not there")
    for line in jobs:
        click.echo(line)
    click.echo(f"\nNext:  {steps[0]}")
    click.echo(f"       {steps[1]}")
    click.echo(f"Then the five edits of {scaffolded.folder / 'README.md'}.")


def _say_what_was_inferred(scaffolded: Scaffolded, *, guessed: bool) -> None:
    inferred = scaffolded.inferred
    click.echo(f"Wrote {scaffolded.folder} from {inferred.rows} rows, {inferred.labelled} of them with a label.")
    for role, title in (("number", "Numbers:     "), ("category", "Categories:  ")):
        names = ", ".join(_shown(fact) for fact in inferred.facts if fact.role == role)
        click.echo(f"{title}{names or 'none'}")
    used = {column.source for columns in inferred.history_by for column in columns}
    texts = [fact.name for fact in inferred.facts if fact.role == "text" and fact.source not in used]
    if texts:
        click.echo(f"Not used:    {', '.join(texts)} (text of many values)")
    _say_the_label(inferred)
    by = [" and ".join(keys) for keys in scaffolded.histories]
    if by:
        click.echo(f"History:     of each {', of each '.join(by)}")
    elif inferred.timestamp is not None:
        click.echo("History:     none, for no entity has several rows; --history-by COLUMN makes one")
    origin = "guessed from the time covered" if inferred.timestamp else "of the made-up days"
    click.echo(f"Horizon:     {scaffolded.horizon}{f', {origin}: edit it in config.yml' if guessed else ''}")
    if inferred.timestamp is not None and scaffolded.as_of > f"{inferred.end + timedelta(days=1):%Y-%m-%d}":
        click.echo("             labels are known after the last row: the first run trains, and has no row to score")
    _say_what_to_look_at(inferred)
    if not inferred.entities:
        click.echo(
            "No --entity: each row is its own, named by its file and its number in it. A row that is delivered again,\n"
            "also with its label, is another row."
        )
    if inferred.timestamp is None:
        click.echo(
            f"No --timestamp: the rows get made-up days by their keys, {inferred.start:%Y-%m-%d} to "
            f"{inferred.end:%Y-%m-%d}. The model is then\n"
            "judged on a random part of them, not on newer ones; there are no late labels, no histories, and nothing\n"
            "for the monitoring to see. Rows without a label get the last day: the first run, whose date is made up,\n"
            "too, scores them."
        )


def _say_the_label(inferred: Inferred) -> None:
    if inferred.positive:
        click.echo(
            f"Label:       {inferred.label.name} is 1 where {_quoted(inferred.label.source)} is {inferred.positive!r}"
        )
    elif inferred.classes:
        listed = ", ".join(inferred.classes)
        click.echo(f"Label:       {inferred.label.name} is one of {listed}; the rarest has {inferred.rarer} rows")
    elif not inferred.label.form.plain:
        click.echo(f"Label:       {_shown(inferred.label)}")


def _say_what_to_look_at(inferred: Inferred) -> None:
    columns = (
        *inferred.entities,
        *([inferred.timestamp] if inferred.timestamp else []),
        inferred.label,
        *inferred.facts,
    )
    renamed = [f"{_quoted(column.source)} is {column.name}" for column in columns if column.source != column.name]
    if renamed:
        click.echo(f"Names:       {', '.join(renamed)}")
    for column in columns:
        if column.note:
            click.echo(f"Look at:     {column.name}: {column.note}")


def _shown(fact: CsvColumn) -> str:
    form = fact.form
    if fact.role != "number" or form.plain:
        return fact.name
    marks = [form.unit and f"in {form.unit}", form.thousands and f"thousands {form.thousands!r}"]
    marks.append("" if form.decimal == "." else "decimal comma")
    return f"{fact.name} ({', '.join(mark for mark in marks if mark)})"


def _quoted(source: str) -> str:
    """A header as it is, in quotes where one would not see what it is: blanks at its ends, signs of no width."""
    from mlplatform.scaffold.csv_file import visible
    from mlplatform.scaffold.layout import text

    if source != visible(source):
        return text(source)
    return repr(source) if " " in source else source


def _bundle_around(into: Path) -> Path | None:
    """Return the project whose bundle deploys the use cases of a folder."""
    from mlplatform.bundle.project import BUNDLE_FILE
    from mlplatform.discovery import FOLDER

    home = into.resolve()
    return home.parent if home.name == FOLDER and (home.parent / BUNDLE_FILE).is_file() else None


def _check_name(name: str, into: Path) -> None:
    """Refuse a name that the bundle around it has another use for, before anything is written."""
    from mlplatform.bundle.names import check_names
    from mlplatform.bundle.project import Project

    root = _bundle_around(into)
    if root is not None:
        project = Project.read(root)
        check_names({*project.use_cases(), name}, project.taken, project.variables)


def _resources(name: str, scaffolded: Scaffolded) -> list[str]:
    """Write the use case's jobs, too, where the project around it deploys a bundle; return what to say of it."""
    from mlplatform.bundle.generate import generate, generate_shared
    from mlplatform.bundle.project import Project
    from mlplatform.discovery import FOLDER
    from mlplatform.errors import PlatformError

    root = _bundle_around(scaffolded.folder.parent)
    if root is None:
        return []
    try:
        project = Project.read(root)
        files = [*generate(project, name, scaffolded.folder), *generate_shared(project)]
        for file in files:
            file.write()
    except PlatformError as error:  # the use case stands, and runs here
        return [f"Jobs:        not written: {error.message} Then: mlplatform bundle generate {name}"]
    lines = [f"Jobs:        {files[0].path}"]
    if name not in project.entry_points():
        lines.append(
            'Add to pyproject.toml, for the jobs to find it, under [project.entry-points."mlplatform.use_cases"]:\n'
            f'  {name} = "{FOLDER}.{name}:{scaffolded.class_name}"'
        )
    return lines

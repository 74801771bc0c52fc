"""`mlplatform new-use-case`: a folder that runs at once, made from a file or a table."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.inferred import inferred_as_json, say_what_was_inferred
from mlplatform.cli.options import Options
from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import DATE_FORMATS, ENCODINGS, DateFormat, Delimiter, Encoding
from mlplatform.scaffold.estimators import ESTIMATORS, HISTGB, PACKAGES
from mlplatform.task import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.scaffold.given_data import GivenData
    from mlplatform.scaffold.render import Scaffolded
    from mlplatform.scaffold.written import WrittenAs
    from mlplatform.task import TaskName

# A tab can hardly be typed.
_DELIMITERS: dict[str, Delimiter] = {",": ",", ";": ";", "tab": "\t", "|": "|"}


@command(
    "new-use-case",
    examples=(
        "mlplatform new-use-case upsell --task classification --entity account --timestamp asked_on --label bought \\",
        "    --horizon '30 days' --history-by account,branch --from-csv offers.csv",
        "mlplatform new-use-case house_price --task regression --row-numbers --label price --from-csv sales.csv.gz",
        "mlplatform new-use-case house_price --task regression --row-numbers --label price --from-parquet a.parquet",
        "mlplatform new-use-case upsell --task classification --entity account --label bought \\",
        "    --from-table main.sales.offers --workspace databricks",
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
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The data: CSV with a header, also packed by gzip, bzip2 or xz. How it is written is found out, and shown.",
)
@click.option("--from-parquet", "parquet", metavar="FILE", type=click.Path(path_type=Path), help="Or a Parquet file.")
@click.option(
    "--from-delta", "delta", metavar="FOLDER", type=click.Path(path_type=Path), help="Or a Delta table's folder."
)
@click.option(
    "--from-table",
    "table",
    metavar="NAME",
    help="Or a table of the workspace, as in main.sales.offers (Unity Catalog: --workspace databricks).",
)
@click.option("--dry-run", is_flag=True, help="Show what was found out, and write nothing.")
@click.option(
    "--delimiter",
    type=click.Choice(list(_DELIMITERS)),
    metavar="MARK",
    help="Of CSV: what separates values: ',' ';' '|' or the word tab.  [default: found out]",
)
@click.option("--encoding", type=click.Choice(ENCODINGS), help="Of CSV: how letters are written.  [default: found out]")
@click.option(
    "--decimal",
    type=click.Choice([".", ","]),
    help="What separates decimals, where a number can be read in two ways.  [default: as in the other columns]",
)
@click.option(
    "--date-format",
    type=click.Choice(DATE_FORMATS),
    metavar="FORMAT",
    help="How days are written, where they can be read in two ways: dd/MM/yyyy, MM/dd/yyyy, yyyy/MM/dd, or with - or "
    ". between.  [default: found out]",
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
@click.option("--timestamp", metavar="COLUMN", help="When the prediction is made; UTC unless it says else.")
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
    csv: Path | None,
    parquet: Path | None,
    delta: Path | None,
    table: str | None,
    dry_run: bool,
    delimiter: str | None,
    encoding: Encoding | None,
    decimal: str | None,
    date_format: DateFormat | None,
    estimator: str,
    label: str,
    quantile: float | None,
    timestamp: str | None,
    horizon: str | None,
    history_by: str | None,
    options: Options,
) -> None:
    """Write a new use case that runs at once.

    It has settings, tables, features, a model, tests, and a README that names the next five edits. The data have one
    row per prediction: its entity, the facts known at that time, and the label where it is known. The folder is written
    into --use-cases, or else into ./use_cases.
    """
    from mlplatform.scaffold.render import new_use_case as write
    from mlplatform.scaffold.written import WrittenAs

    if row_numbers and entities:
        raise UsageError("--row-numbers is instead of --entity.", hint="Give one of them.")
    if not row_numbers and not entities:
        raise UsageError(
            "What is predicted for? There is no --entity.",
            hint="Name its column by --entity, several by several; or, if the file has no id, --row-numbers.",
        )
    into = options.use_cases or Path("use_cases")
    _check_name(name, into)
    written = WrittenAs(_DELIMITERS[delimiter] if delimiter else None, encoding, decimal, date_format)
    read = _reader(options, written, csv=csv, parquet=parquet, delta=delta, table=table)
    scaffolded = write(
        name,
        read,
        into=into,
        task=task,
        entity=entities,
        label=label,
        timestamp=timestamp,
        horizon=horizon,
        history_by=[column.strip() for column in history_by.split(",")] if history_by else (),
        estimator=estimator,
        quantile=quantile,
        written=written,
        dry_run=dry_run,
    )
    jobs = [] if dry_run else _resources(name, scaffolded)
    steps = [
        options.hints.repeated(f"mlplatform run {name} --as-of {scaffolded.as_of}"),
        options.hints.repeated(f"mlplatform check {name}"),
        options.hints.repeated(f"mlplatform report {name}"),
    ]
    if options.as_json:
        output.show_json(
            {
                "use_case": name,
                "folder": str(scaffolded.folder),
                "dry_run": dry_run,
                **inferred_as_json(scaffolded),
                "as_of": scaffolded.as_of,
                "horizon": scaffolded.horizon,
                "horizon_guessed": horizon is None,
                "estimator": estimator,
                "jobs": jobs,
                "next": steps,
            }
        )
        return
    say_what_was_inferred(scaffolded, guessed=horizon is None, dry_run=dry_run)
    if estimator in PACKAGES and find_spec(estimator) is None:
        click.echo(f"Install:     pip install 'mlplatform[{estimator}]', which the estimator needs and is not there")
    for line in jobs:
        click.echo(line)
    if dry_run:
        click.echo("\nNothing was written. The same command without --dry-run writes it.")
        return
    click.echo(f"\nNext:  {steps[0]}")
    for step in steps[1:]:
        click.echo(f"       {step}")
    click.echo(f"Then the five edits of {scaffolded.folder / 'README.md'}.")


def _reader(
    options: Options,
    written: WrittenAs,
    *,
    csv: Path | None,
    parquet: Path | None,
    delta: Path | None,
    table: str | None,
) -> Callable[[], GivenData]:
    """Return what reads the data from where they are.

    Raises:
        UsageError: If they are to come from nowhere, or from several places.
    """
    from mlplatform.scaffold.csv_file import read_csv
    from mlplatform.scaffold.typed_data import read_delta, read_parquet, read_table

    given = [place for place in (csv, parquet, delta, table) if place is not None]
    if len(given) != 1:
        raise UsageError(
            "Where are the data?" if not given else "The data come from one place.",
            hint="Give one of --from-csv, --from-parquet, --from-delta and --from-table.",
        )
    if csv is None and (written.delimiter or written.encoding):
        raise UsageError("--delimiter and --encoding are of CSV files.", hint="Leave them out.")

    def read() -> GivenData:
        if csv is not None:
            return read_csv(csv, written)
        if parquet is not None:
            return read_parquet(parquet)
        with options.open(read_only=True) as ws:
            return read_delta(ws, delta) if delta is not None else read_table(ws, str(table))

    return read


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

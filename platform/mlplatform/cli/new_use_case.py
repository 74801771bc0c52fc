"""`mlplatform new-use-case`: a folder that runs at once, made from a CSV file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlplatform.scaffold.inference import Task


@click.command(
    "new-use-case",
    epilog="\b\nExamples:\n"
    "  mlplatform new-use-case upsell --task classification --entity account --timestamp asked_on --label bought \\\n"
    "      --from-csv offers.csv\n"
    "  mlplatform new-use-case house_price --task regression --entity house --label price --from-csv sales.csv",
)
@click.argument("name")
@click.option("--task", type=click.Choice(["classification", "regression"]), required=True, help="What is predicted.")
@click.option("--entity", required=True, metavar="COLUMN", help="Names what is predicted for.")
@click.option("--from-csv", "csv", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The data.")
@click.option("--label", required=True, metavar="COLUMN", help="What is predicted; empty where it is not known yet.")
@click.option("--timestamp", metavar="COLUMN", help="When the prediction is made: ISO 8601, UTC unless it says else.")
@click.option(
    "--use-cases",
    "into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("use_cases"),
    show_default=True,
    help="Folder of use cases to put it in.",
)
def new_use_case(name: str, task: Task, entity: str, csv: Path, label: str, timestamp: str | None, into: Path) -> None:
    """Write a use case that runs at once: settings, tables, features, model, tests, README with the next five edits.

    The CSV has one row a prediction: its entity, the facts known at that time, and the label where it is known.
    """
    from mlplatform.scaffold.render import new_use_case as write

    _check_name(name, into)
    made = write(name, csv, into=into, task=task, entity=entity, label=label, timestamp=timestamp)
    found = made.inferred
    roles = {role: [fact.name for fact in found.facts if fact.role == role] for role in ("number", "category", "text")}
    click.echo(f"Wrote {made.folder} from {found.rows} rows, {found.labelled} of them with a label.")
    click.echo(f"Numbers:     {', '.join(roles['number']) or 'none'}")
    click.echo(f"Categories:  {', '.join(roles['category']) or 'none'}")
    if roles["text"]:
        click.echo(f"Not used:    {', '.join(roles['text'])} (text of many values)")
    if found.positive:
        click.echo(f"Label:       {found.label.name} is 1 where {label} is {found.positive!r}")
    if timestamp is None:
        click.echo(
            "No --timestamp: the rows get made-up days by their keys. The model is then judged on a random part of\n"
            "them, not on newer ones; there are no late labels, no histories, and nothing for the monitoring to see.\n"
            "Rows without a label get the last day: the first run scores them."
        )
    _resources(name, made.folder)
    where = "" if into == Path("use_cases") else f" --use-cases {shlex.quote(str(into))}"
    click.echo(f"\nNext:  mlplatform run {name} --as-of {made.as_of}{where}")
    click.echo(f"       mlplatform check {name}{where}")
    click.echo(f"Then the five edits of {made.folder / 'README.md'}.")


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


def _resources(name: str, folder: Path) -> None:
    """Make the use case's jobs, too, where the project around it deploys a bundle."""
    from mlplatform.bundle.generate import generate, generate_shared
    from mlplatform.bundle.project import Project
    from mlplatform.discovery import FOLDER
    from mlplatform.errors import PlatformError

    root = _bundle_around(folder.parent)
    if root is None:
        return
    try:
        project = Project.read(root)
        made = [*generate(project, name, folder), *generate_shared(project)]
        for file in made:
            file.write()
    except PlatformError as error:  # the use case stands, and runs here
        click.echo(f"Jobs:        not made: {error.message} Then: mlplatform bundle generate {name}")
        return
    click.echo(f"Jobs:        {made[0].path}")
    if name not in project.entry_points():
        cls = "".join(part.capitalize() for part in name.split("_"))
        click.echo(
            'Add to pyproject.toml, for the jobs to find it, under [project.entry-points."mlplatform.use_cases"]:\n'
            f'  {name} = "{FOLDER}.{name}:{cls}"'
        )

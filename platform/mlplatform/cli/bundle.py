"""`mlplatform bundle`: the resources files of a Databricks bundle, made from the settings of the use cases."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def bundle() -> None:
    """Make the jobs and Unity Catalog objects of the use cases, as a Databricks bundle deploys them."""


@bundle.command(
    epilog="\b\nExamples:\n  mlplatform bundle generate\n  mlplatform bundle generate credit_risk\n"
    "  mlplatform bundle generate --check"
)
@click.argument("use_cases", nargs=-1, metavar="[USE_CASE]...")
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of databricks.yml, uv.lock and use_cases.  [default: this one]",
)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 and the difference if a file is not as made.")
def generate(use_cases: tuple[str, ...], project: Path, check: bool) -> None:
    """Write resources/USE_CASE.yml from the use case's config.yml; without names, of all in the project.

    The sections `jobs` and `gate.approval` say what differs from one use case to the other; versions come from uv.lock.
    """
    from mlplatform import discovery
    from mlplatform.bundle.generate import generate as make
    from mlplatform.bundle.generate import orphans
    from mlplatform.bundle.project import Project
    from mlplatform.errors import BundleError, UsageError, did_you_mean

    found = Project.read(project)
    home = (project / discovery.FOLDER).resolve()
    folders = {
        name: item.folder
        for name, item in discovery.find_use_cases(home if home.is_dir() else None).items()
        if item.folder is not None and item.folder.parent == home
    }
    for name in use_cases:
        if name not in folders:
            raise UsageError(f"{home} holds no use case {name!r}.", hint=did_you_mean(name, folders))
    made = [make(found, name, folders[name]) for name in use_cases or folders]
    if not use_cases:
        made += orphans(found, list(folders))
    if check:
        differences = [difference for file in made if (difference := file.difference())]
        for difference in differences:
            click.echo(difference)
        if differences:
            raise BundleError(
                f"{len(differences)} of {len(made)} resources files are not as the settings make them.",
                hint="mlplatform bundle generate",
            )
        click.echo(f"{len(made)} resources file(s) are as the settings make them.")
        return
    for file in made:
        if not file.write():
            click.echo(f"Unchanged: {file.path}")
        else:
            click.echo(f"Wrote:     {file.path}" if file.text else f"Removed:   {file.path}")
    for name in sorted({file.use_case for file in made if file.text} - found.entry_points()):
        click.echo(
            f'Note: jobs find {name} once pyproject.toml names it under [project.entry-points."mlplatform.use_cases"].'
        )

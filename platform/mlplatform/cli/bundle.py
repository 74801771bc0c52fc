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

    The sections `jobs` and `gate.approval` say what differs from one use case to the other. Beside it come
    resources/requirements/USE_CASE.txt, all that its jobs install, exported from uv.lock, and
    resources/main_pipeline.yml, one job over all use cases.
    """
    from mlplatform.bundle.generate import generate as make
    from mlplatform.bundle.generate import generate_shared
    from mlplatform.bundle.project import Project
    from mlplatform.discovery import FOLDER
    from mlplatform.errors import DeploymentError, UsageError, did_you_mean

    found = Project.read(project)
    folders = found.use_cases()
    for name in use_cases:
        if name not in folders:
            raise UsageError(
                f"{(project / FOLDER).resolve()} holds no use case {name!r}.", hint=did_you_mean(name, folders)
            )
    made = [file for name in use_cases or folders for file in make(found, name, folders[name])]
    made += generate_shared(found)
    if check:
        differences = [difference for file in made if (difference := file.difference())]
        for difference in differences:
            click.echo(difference)
        if differences:
            raise DeploymentError(
                f"{len(differences)} of {len(made)} files of the bundle are not as the settings and uv.lock make them.",
                hint="mlplatform bundle generate",
            )
        click.echo(f"{len(made)} file(s) of the bundle are as the settings and uv.lock make them.")
        return
    for file in made:
        if not file.write():
            click.echo(f"Unchanged: {file.path}")
        else:
            click.echo(f"Wrote:     {file.path}" if file.text else f"Removed:   {file.path}")
    for name in sorted({file.use_case for file in made if file.text and file.use_case} - found.entry_points()):
        click.echo(
            f'Note: jobs find {name} once pyproject.toml names it under [project.entry-points."mlplatform.use_cases"].'
        )

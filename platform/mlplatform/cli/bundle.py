"""`mlplatform bundle`: the resources files of a Databricks bundle, made from the settings of the use cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlplatform.cli import output
from mlplatform.cli.commands import CommandGroup, command
from mlplatform.cli.options import Options

if TYPE_CHECKING:
    from mlplatform.bundle.files import GeneratedFile


@click.group(cls=CommandGroup, without_workspace=True)
def bundle() -> None:
    """Generate the files of a Databricks bundle.

    They declare the jobs and Unity Catalog objects of the use cases.
    """


@command(
    group=bundle,
    without_workspace=True,
    examples=(
        "mlplatform bundle generate",
        "mlplatform bundle generate credit_risk",
        "mlplatform bundle generate --check",
    ),
)
@click.argument("names", nargs=-1, metavar="[USE_CASE]...")
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of databricks.yml, uv.lock and use_cases.  [default: this one]",
)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 and the difference if a file is not as made.")
def generate(names: tuple[str, ...], project: Path, check: bool, options: Options) -> None:
    """Write each use case's resources and requirements.

    Without names, of all use cases in the project. resources/USE_CASE.yml is made from its config.yml. The sections
    `jobs` and `gate.approval` say what differs from one use case to the other. Beside it come
    resources/requirements/USE_CASE.txt, all that its jobs install, exported from uv.lock, and
    resources/main_pipeline.yml, one job over all use cases.
    """
    from mlplatform.bundle.generate import generate as make
    from mlplatform.bundle.generate import generate_shared
    from mlplatform.bundle.project import Project
    from mlplatform.discovery import FOLDER
    from mlplatform.errors import UsageError, did_you_mean

    if options.use_cases is not None:
        raise UsageError(
            f"The use cases of a bundle are those in the folder {FOLDER} of its project, not in --use-cases.",
            hint="Name the project: --project FOLDER.",
        )
    contents = Project.read(project)
    folders = contents.use_cases()
    for name in names:
        if name not in folders:
            raise UsageError(
                f"{(project / FOLDER).resolve()} holds no use case {name!r}.", hint=did_you_mean(name, folders)
            )
    files = [file for name in names or folders for file in make(contents, name, folders[name])]
    files += generate_shared(contents)
    if check:
        _check(files, options)
        return
    states = [(file, _state(file, changed=file.write())) for file in files]
    unnamed = sorted({file.use_case for file in files if file.text and file.use_case} - contents.entry_points())
    if options.as_json:
        written = [{"path": str(file.path), "state": state} for file, state in states]
        output.show_json({"files": written, "without_entry_point": unnamed})
        return
    for file, state in states:
        click.echo(f"{state.capitalize() + ':':10} {file.path}")
    for name in unnamed:
        click.echo(
            f'Note: jobs find {name} once pyproject.toml names it under [project.entry-points."mlplatform.use_cases"].'
        )


def _state(file: GeneratedFile, *, changed: bool) -> str:
    if not changed:
        return "unchanged"
    return "wrote" if file.text else "removed"


def _check(files: list[GeneratedFile], options: Options) -> None:
    """Print what differs.

    Raises:
        DeploymentError: If anything does.
    """
    from mlplatform.errors import DeploymentError

    differences = {str(file.path): difference for file in files if (difference := file.difference())}
    if options.as_json:
        output.show_json({"files": len(files), "differences": differences})
    else:
        for difference in differences.values():
            click.echo(difference)
    if differences:
        raise DeploymentError(
            f"{len(differences)} of {len(files)} files of the bundle are not as the settings and uv.lock make them.",
            hint="mlplatform bundle generate",
        )
    if not options.as_json:
        click.echo(f"{len(files)} file(s) of the bundle are as the settings and uv.lock make them.")

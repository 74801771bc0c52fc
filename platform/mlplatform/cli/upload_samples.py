"""`mlplatform upload-samples`: the data that a use case brings, put where its files land in a Databricks workspace."""

from __future__ import annotations

from pathlib import Path

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.options import Options


@command(
    examples=(
        "mlplatform upload-samples credit_risk --workspace databricks --env dev",
        "mlplatform upload-samples credit_risk --workspace databricks --from ~/loans",
    ),
)
@click.argument("use_case")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder to upload.  [default: the use case's own data, which an installed wheel does not bring]",
)
@click.option("--overwrite", is_flag=True, help="Send files again that exist with the same size.")
def upload_samples(use_case: str, source: Path | None, overwrite: bool, options: Options) -> None:
    """Upload sample data into the landing volume, for a trial.

    Files that exist with the same size are left alone: running the command again sends what is missing. On the local
    workspace files are read where they lie, and there is nothing to do.
    """
    from mlplatform import discovery
    from mlplatform.config.settings import load_settings
    from mlplatform.protocols.operations import Upload

    file = discovery.config_file(discovery.get(use_case, options.use_cases))
    folder, setting = file.parent, Path(load_settings(file, options.env).landing)
    with options.open(use_case) as ws:
        landing = ws.landing(use_case)
        if landing is None:
            message = f"On the local workspace files are read where they lie, in {folder / setting}: nothing to upload."
            done = Upload(str(folder / setting), uploaded=0, skipped=0, size=0)
        else:
            landing = setting if setting.is_absolute() else landing
            files = _files(source or folder / setting, given=source is not None)
            done = ws.upload(source or folder / setting, files, landing, overwrite=overwrite)
            message = (
                f"{landing}: {done.uploaded} file(s) uploaded ({done.size / 1e6:.1f} MB), "
                f"{done.skipped} existed already."
                if files
                else f"{folder / setting} holds no data, for {use_case} takes it from elsewhere: nothing to upload."
            )
    if options.as_json:
        output.show_json({"use_case": use_case, **vars(done), "message": message})
    else:
        click.echo(message)


def _files(samples: Path, *, given: bool) -> list[Path]:
    from mlplatform.errors import UsageError

    if not samples.is_dir():
        raise UsageError(
            f"There are no samples in {samples}.",
            hint="A wheel brings none: give --from FOLDER. None are needed where a package brings the data (churn).",
        )
    paths = (path for path in samples.rglob("*") if path.is_file() and path.suffix != ".md")
    # Hidden files are somebody's editor's or system's.
    files = sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(samples).parts))
    if given and not files:
        raise UsageError(f"{samples} holds no files of data.", hint="Is it the right folder?")
    return files

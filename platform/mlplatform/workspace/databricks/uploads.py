"""Sends files into a volume through the Files API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.errors.base import DatabricksError

from mlplatform.errors import DeploymentError, StageError
from mlplatform.protocols.operations import Upload

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def upload(
    client: WorkspaceClient, folder: Path, files: Sequence[Path], landing: Path, *, overwrite: bool = False
) -> Upload:
    """Send files of a folder to the same places below the landing folder; the SDK retries what fails in passing.

    Args:
        client: The SDK's client.
        folder: A folder of this machine.
        files: Files in it.
        landing: A folder in a volume.
        overwrite: Also send files that exist with the same size.

    Raises:
        StageError: If the volume does not exist, or a file cannot be sent; files before it are.
        DeploymentError: If the caller may not write there.
    """
    sent = size = 0
    try:
        sizes = {path.parent: _sizes(client, _remote(landing, folder, path.parent)) for path in files}
        for path in files:
            length = path.stat().st_size
            if not overwrite and sizes[path.parent].get(path.name) == length:
                continue
            with path.open("rb") as content:
                client.files.upload(_remote(landing, folder, path), content, overwrite=True)
            sent, size = sent + 1, size + length
    except NotFound as error:
        raise StageError(
            f"{landing} does not exist: {error}",
            hint="The bundle creates the volume: databricks bundle deploy. Names follow --env and --prefix.",
        ) from error
    except PermissionDenied as error:
        raise DeploymentError(
            f"No files can be put into {landing}: {error}", hint="Needed: USE SCHEMA, READ VOLUME and WRITE VOLUME."
        ) from error
    except (DatabricksError, OSError) as error:
        raise StageError(
            f"Sending files to {landing} failed after {sent} of {len(files)}: {type(error).__name__}: {error}",
            hint="Again sends only what is missing.",
        ) from error
    return Upload(landing.as_posix(), sent, len(files) - sent, size)


def _remote(landing: Path, folder: Path, path: Path) -> str:
    return (landing / path.relative_to(folder)).as_posix()


def _sizes(client: WorkspaceClient, directory: str) -> dict[str, int]:
    client.files.create_directory(directory)  # with its parents; no error if it exists
    return {
        entry.name: entry.file_size
        for entry in client.files.list_directory_contents(directory)
        if entry.name and entry.file_size is not None
    }

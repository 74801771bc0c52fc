"""The Files API, with a folder behind it: volumes, and the files of models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.standin.wire import Answer, ApiError, Request, Route

_FILES = "/api/2.0/fs/files"
_FOLDERS = "/api/2.0/fs/directories"


class Files:
    """Files by absolute path, such as `/Volumes/dev/ops/files/x` or `/Models/dev/ml/churn/1/MLmodel`.

    Attributes:
        may_write: Told a path before it is written; may raise an `ApiError`.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder behind."""
        self.folder = folder
        self.may_write: Callable[[str], None] = lambda _: None

    def path(self, path: str) -> Path:
        """Return where a file or folder really is.

        Raises:
            ApiError: If it is outside.
        """
        found = (self.folder / path.strip("/")).resolve()
        if not found.is_relative_to(self.folder.resolve()):
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"The path {path} leads outside.")
        return found

    def remove(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(self.path(path), ignore_errors=True)

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("PUT", f"{_FILES}/{{path:path}}", self._put),
            Route("GET", f"{_FILES}/{{path:path}}", self._get),
            Route("HEAD", f"{_FILES}/{{path:path}}", self._get),
            Route("DELETE", f"{_FILES}/{{path:path}}", self._delete),
            Route("PUT", f"{_FOLDERS}/{{path:path}}", self._make_folder),
            Route("GET", f"{_FOLDERS}/{{path:path}}", self._list_folder),
            Route("HEAD", f"{_FOLDERS}/{{path:path}}", self._head_folder),
            Route("DELETE", f"{_FOLDERS}/{{path:path}}", self._delete_folder),
            Route("POST", "/api/2.0/fs/create-download-url", self._no_presigned_urls),
        ]

    def _no_presigned_urls(self, _: Request) -> Answer:
        # As a workspace that has them switched off: the SDK then reads through the Files API.
        raise ApiError(403, "PERMISSION_DENIED", "Presigned URLs API is not enabled")

    def _put(self, request: Request, path: str) -> Answer:
        self.may_write(path)
        target = self.path(path)
        if target.exists() and request.query.get("overwrite") != "true":
            raise ApiError(409, "ALREADY_EXISTS", f"The file /{path} already exists.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(request.content)
        return Answer(status=204)

    def _get(self, _: Request, path: str) -> Answer:
        target = self.path(path)
        if not target.is_file():
            raise ApiError(404, "NOT_FOUND", f"The file /{path} does not exist.")
        return Answer(target.read_bytes(), headers={"Last-Modified": formatdate(target.stat().st_mtime, usegmt=True)})

    def _delete(self, request: Request, path: str) -> Answer:
        self._get(request, path)
        self.path(path).unlink()
        return Answer(status=204)

    def _make_folder(self, _: Request, path: str) -> Answer:
        self.path(path).mkdir(parents=True, exist_ok=True)
        return Answer(status=204)

    def _folder(self, path: str) -> Path:
        if not self.path(path).is_dir():
            raise ApiError(404, "NOT_FOUND", f"The directory /{path.strip('/')} does not exist.")
        return self.path(path)

    def _list_folder(self, _: Request, path: str) -> dict[str, Any]:
        return {"contents": [self._entry(child) for child in sorted(self._folder(path).iterdir())]}

    def _entry(self, child: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "path": f"/{child.relative_to(self.folder.resolve())}",
            "name": child.name,
            "is_directory": child.is_dir(),
            "last_modified": int(child.stat().st_mtime * 1000),
        }
        return entry if child.is_dir() else entry | {"file_size": child.stat().st_size}

    def _head_folder(self, _: Request, path: str) -> Answer:
        self._folder(path)
        return Answer(status=200)

    def _delete_folder(self, _: Request, path: str) -> Answer:
        folder = self._folder(path)
        if any(folder.iterdir()):
            raise ApiError(400, "FAILED_PRECONDITION", f"The directory /{path.strip('/')} is not empty.")
        folder.rmdir()
        return Answer(status=204)

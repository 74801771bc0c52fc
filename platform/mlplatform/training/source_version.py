"""Which source version is running: for the tag `git_sha`."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

SETTING = "MLPLATFORM_GIT_SHA"
_PATIENCE_SECONDS = 60


@cache
def source_version(folder: Path) -> str:
    """Return the commit of the checkout a folder is in, with `-dirty` when files differ from it.

    A deployed wheel is in no checkout; there the deployment sets `MLPLATFORM_GIT_SHA`. Else `unknown`.
    """
    given = os.environ.get(SETTING)
    if given:
        return given
    git = shutil.which("git")
    if not git:
        return "unknown"
    commit = _git(git, folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(git, folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    if not commit or changed is None:
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(git: str, folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None  # a slow disk, or a busy machine: no reason for a run to fail
    return done.stdout.strip() if done.returncode == 0 else None

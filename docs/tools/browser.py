"""A headless Chromium, for the picture of the report and the tests of pages: the one that the machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

VARIABLE = "MLPLATFORM_BROWSER"
"""Environment variable that names the browser's program, where it is not found by itself."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def program() -> Path | None:
    """Return the browser's program: what `MLPLATFORM_BROWSER` names, else the first Chromium or Chrome; None: none."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    found = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in found if path), _MAC if _MAC.is_file() else None)


def missing() -> str | None:
    """Return what is missing for a browser, and how to get it; None: nothing."""
    path = program()
    if path is None:
        return (
            f"no Chromium was found: install one (Debian, Ubuntu: apt-get install chromium), or name it by {VARIABLE}"
        )
    return None if path.is_file() else f"{VARIABLE} names {path}, which does not exist"


@contextmanager
def opened() -> Iterator[Browser]:
    """Open the browser, and close it in the end.

    Raises:
        FileNotFoundError: If there is none.
    """
    from playwright.sync_api import sync_playwright

    if (reason := missing()) is not None:
        raise FileNotFoundError(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program()))
        try:
            yield browser
        finally:
            browser.close()

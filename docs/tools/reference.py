"""Writes the pages that are made from the code: `make reference`; with `--check` it only says which are not as made."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping

from docs.tools import api_page, commands_page, errors_page, pictures, settings_page
from docs.tools.pages import ROOT

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/commands.md": commands_page.page,
    "docs/settings.md": settings_page.page,
    "docs/errors.md": errors_page.page,
    "docs/api.md": api_page.page,
    **pictures.FILES,
}


def differences() -> dict[str, str]:
    """Return how the files differ from those that the code makes; files that are as made are not among them."""
    found = {}
    for name, make in PAGES.items():
        path = ROOT / name
        written = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        lines = list(
            difflib.unified_diff(written, make().splitlines(), name, f"{name} as the code makes it", lineterm="")
        )
        if lines:
            found[name] = "\n".join(lines)
    return found


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is not as made")
    if parser.parse_args().check:
        found = differences()
        print("\n".join(found.values()) or f"{len(PAGES)} pages and pictures are as the code makes them.")
        return 1 if found else 0
    for name in differences():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"Wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

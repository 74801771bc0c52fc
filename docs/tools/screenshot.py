"""Makes the picture of the report in README: `python -m docs.tools.screenshot`, after `make demo`.

It opens the report that the demo wrote, as it stands, and takes its first screen and its plots: what is shown is what
a run gave, and nothing is drawn by hand. A browser is looked for as `docs/tools/browser.py` says.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from docs.tools import browser
from docs.tools.pages import ROOT

if TYPE_CHECKING:
    from PIL.Image import Image
    from playwright.sync_api import Page

PICTURE = "docs/pictures/report.png"
REPORT = ".mlplatform/reports/credit_risk.html"
MOST_BYTES = 200_000
"""Larger, and the picture would weigh more than the pages that show it."""
WIDTH = 1200
_GAP, _COLOURS = 16, 48


def main() -> int:
    """Take the picture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=ROOT / REPORT, help=f"the report  [default: {REPORT}]")
    parser.add_argument("--out", type=Path, default=ROOT / PICTURE, help=f"the picture  [default: {PICTURE}]")
    options = parser.parse_args()
    if not options.report.is_file():
        print(f"There is no report {options.report}. First: make demo", file=sys.stderr)
        return 1
    if (reason := browser.missing()) is not None:
        print(f"The picture needs a browser, and {reason}.", file=sys.stderr)
        return 1
    size = take(options.report, options.out)
    print(f"Wrote {options.out}: {size:,} bytes")
    if size > MOST_BYTES:
        print(f"That is more than {MOST_BYTES:,}: take less of the page, or fewer colours.", file=sys.stderr)
        return 1
    return 0


def take(report: Path, out: Path) -> int:
    """Write the picture of a report, and return its size in bytes.

    Args:
        report: The report's HTML file.
        out: The PNG file.
    """
    from PIL import Image

    with browser.opened() as opened:
        page = opened.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        parts = [_between(page, "header", ".tiles"), _between(page, "#plot-scores", "#plot-performance")]
    height = sum(part.height for part in parts) + _GAP * (len(parts) + 1)
    picture = Image.new("RGB", (WIDTH, height), parts[0].getpixel((0, 0)))  # type: ignore[arg-type]
    at = _GAP
    for part in parts:
        picture.paste(part, (0, at))
        at += part.height + _GAP
    # A page has few colours: a palette keeps letters sharp at a quarter of the size.
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    return out.stat().st_size


def _between(page: Page, first: str, last: str) -> Image:
    """Return the page's whole width from the top of one element to the bottom of another."""
    from PIL import Image

    top, bottom = (page.locator(name).first.bounding_box() for name in (first, last))
    if top is None or bottom is None:
        raise ValueError(f"The report shows no {first} or no {last}.")
    low = max(top["y"] + top["height"], bottom["y"] + bottom["height"])
    box = {"x": 0, "y": top["y"], "width": WIDTH, "height": low - top["y"]}
    return Image.open(BytesIO(page.screenshot(full_page=True, clip=box))).convert("RGB")  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())

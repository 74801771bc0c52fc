"""From a matplotlib figure to SVG inside a page: its text is set in the page's font, its colours follow the theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET  # for matplotlib's own output  # nosec B405

from mlplatform.reporting.formats import printable

# matplotlib wants colours; the page wants CSS variables, so that dark mode works. These stand in for the variables.
INK, MUTED, LINE, SURFACE = "#010101", "#020202", "#030303", "#040404"
BLUE, ORANGE, GREEN, RED, HEAT = "#050505", "#060606", "#070707", "#080808", "#090909"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    HEAT: "var(--heat)",
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font: ([\d.]+)px [^;]*|font-family: [^;]*")
_REFERENCE = re.compile(r"(?:(?<=url\()|^)#([^)\"]+)")
_POINTS = 72
_SMALLEST, _LARGEST = 0.84, 1.4
_FITS_A_PHONE = 480

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, and read aloud
    "svg.hashsalt": "mlplatform",  # the same figure gives the same bytes
    "text.parse_math": False,  # a column called $x^2$ is a name, not a formula
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def draw(name: str, size: tuple[float, float], paint: Callable[[Any], None], label: str) -> str:
    """Draw a figure and return it as an `<svg>` element for a page.

    Args:
        name: Prefix of the ids inside, unique on the page.
        size: Width and height in SVG units; at a width of 440, text is about as large as the page's.
        paint: Takes the empty matplotlib `Figure` and draws on it.
        label: What a reader who cannot see the plot is told.

    Returns:
        Markup in which every text is escaped. Without `width` and `height`: it takes the width it is given.
    """
    from matplotlib.figure import Figure

    with _styled():
        figure = Figure(figsize=(size[0] / _POINTS, size[1] / _POINTS), layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        # No date: the same facts give the same page.
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib lets through what XML does not allow, and one such name would cost the whole report.
    root = ET.fromstring(printable(buffer.getvalue()))  # nosec B314  # noqa: S314  (matplotlib's own output)
    return _inline(root, name, label)


@contextmanager
def _styled() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is measured by its fallback; the page's fonts then show it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # Too many long names for the space: drawn as they are, rather than no report.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        mpl.rcdefaults()  # a user's matplotlibrc does not reach the report
        mpl.rcParams.update(_STYLE)
        yield


def _inline(root: ET.Element, name: str, label: str) -> str:
    for parent in list(root.iter()):
        for child in list(parent):
            # A <style> in a page would reach beyond its plot; the page's own sheet says the same.
            if _bare(child.tag) in ("metadata", "style"):
                parent.remove(child)
    texts = [value for element in root.iter() for value in element.attrib.values()]
    used = {found for text in texts for found in _REFERENCE.findall(text)}
    for element in root.iter():
        # Names without namespaces: inside HTML the parser knows them, and the page holds no address of any kind.
        element.tag = _bare(element.tag)
        attributes = {_bare(key): _themed(value, name) for key, value in element.attrib.items() if _bare(key) != "id"}
        # Two plots on a page would both have a `patch_1`; only ids that something points to are kept.
        if element.get("id") in used:
            attributes["id"] = f"{name}-{element.get('id')}"
        element.attrib = attributes
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    # Drawn much larger than designed, a plot of few bars would shout; a broad one, squeezed, could not be read.
    width = float(root.attrib["viewBox"].split()[2])
    least = f"min-width: {round(width * _SMALLEST)}px; " if width > _FITS_A_PHONE else ""
    root.set("style", f"{least}max-width: {round(width * _LARGEST)}px")
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode")


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _themed(value: str, name: str) -> str:
    themed = _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
    sized = _FONT.sub(lambda match: f"font-size: {match[1]}px" if match[1] else "font-family: inherit", themed)
    return _REFERENCE.sub(rf"#{name}-\1", sized)

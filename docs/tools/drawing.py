"""A few boxes and arrows as SVG: light and dark, with a text for who cannot see them.

No script, no font and no address from outside: GitHub shows them as the built pages do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

Point = tuple[float, float]
_LINE = 19
_STYLE = """\
text{font:15px system-ui,Roboto,"Noto Sans",sans-serif;fill:var(--text)}
.small{font-size:13px}.strong{font-weight:600}
.mono{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:13px}
.dim{fill:var(--dim);paint-order:stroke;stroke:var(--back);stroke-width:4px}
:root{--back:#ffffff;--text:#1d2731;--dim:#51606e;--line:#51606e;--step:#e3eefb;--step-line:#2f6db2;--store:#eef0f2;--store-line:#77838f;
--good:#def3e4;--good-line:#2c7d47;--new:#fdf0d3;--new-line:#9a6a00;--area:#f7f9fb}
@media(prefers-color-scheme:dark){:root{--back:#14181d;--text:#e6ebf0;--dim:#a9b5c0;--line:#a9b5c0;--step:#17324f;--step-line:#6ba7e8;
--store:#262d35;--store-line:#8a96a2;--good:#14391f;--good-line:#5fbf80;--new:#40300a;--new-line:#dca838;--area:#1b2128}}
.back{fill:var(--back)}
.area{fill:var(--area);stroke:var(--store-line);stroke-dasharray:5 4}
.step{fill:var(--step);stroke:var(--step-line)}.store{fill:var(--store);stroke:var(--store-line)}
.good{fill:var(--good);stroke:var(--good-line)}.new{fill:var(--new);stroke:var(--new-line)}
.line{fill:none;stroke:var(--line);stroke-width:1.6}.dashed{stroke-dasharray:5 4}.head{fill:var(--line)}"""


@dataclass
class Drawing:
    """A picture in the making.

    Attributes:
        width: Its width; wide ones cannot be read on a telephone.
        height: Its height.
        title: What it is.
        text: What it shows, in words: all that somebody needs who cannot see it.
        parts: Its elements.
    """

    width: int
    height: int
    title: str
    text: str
    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, lines: Sequence[str], kind: str = "step") -> None:
        """Draw a box with lines in its middle.

        Args:
            x: Left edge.
            y: Upper edge.
            width: Its width.
            height: Its height.
            lines: What stands in it; the first line is strong where there are more, `small:` or `mono:` begins others.
            kind: `step`, `store`, `good`, `new`, or `area`, which holds others and has its words at the top.
        """
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>')
        top = y + 22 if kind == "area" else y + height / 2 - (len(lines) - 1) * _LINE / 2 + 5
        for number, line in enumerate(lines):
            strong = "strong" if number == 0 and (len(lines) > 1 or kind == "area") else ""
            self.write(x + width / 2, top + number * _LINE, line, strong)

    def write(self, x: float, y: float, line: str, kind: str = "", anchor: str = "middle") -> None:
        """Write a line; `small:` or `mono:` at its beginning says how.

        Args:
            x: Where, by the anchor.
            y: Its base line.
            line: The words.
            kind: `strong`, `dim`, `small`, or several of them.
            anchor: `start`, `middle` or `end`.
        """
        words = kind.split()
        for mark in ("small", "mono"):
            if line.startswith(f"{mark}:"):
                line = line.removeprefix(f"{mark}:")
                words.append(mark)
        names = f' class="{" ".join(words)}"' if words else ""
        self.parts.append(f'<text{names} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(line)}</text>')

    def arrow(
        self, *points: Point, label: str = "", at: Point | None = None, dashed: bool = False, anchor: str = "middle"
    ) -> None:
        """Draw an arrow along points.

        Args:
            *points: From the first to the last, by those in between.
            label: Words beside it.
            at: Where they stand.
            dashed: Whether its line is dashed.
            anchor: Of the label.
        """
        (x0, y0), (x, y) = points[-2:]
        angle = math.atan2(y - y0, x - x0)
        back = (x - 7 * math.cos(angle), y - 7 * math.sin(angle))
        path = " L".join(f"{a:g} {b:g}" for a, b in (*points[:-1], (round(back[0], 1), round(back[1], 1))))
        self.parts.append(f'<path class="line{" dashed" if dashed else ""}" d="M{path}"/>')
        corners = [
            (
                x - 10 * math.cos(angle) + side * 5 * math.sin(angle),
                y - 10 * math.sin(angle) - side * 5 * math.cos(angle),
            )
            for side in (1, -1)
        ]
        head = " L".join(f"{a:.1f} {b:.1f}" for a, b in ((x, y), *corners))
        self.parts.append(f'<path class="head" d="M{head}Z"/>')
        if label:
            assert at is not None
            self.write(*at, f"small:{label}", "dim", anchor)

    def line(self, *points: Point, dashed: bool = False) -> None:
        """Draw a line along points."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="line{" dashed" if dashed else ""}" d="M{path}"/>')

    def dot(self, x: float, y: float, kind: str = "step") -> None:
        """Draw a dot."""
        self.parts.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="6"/>')

    def svg(self) -> str:
        """Return the picture."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-labelledby="title text">'
        )
        made = "<!-- Made by `make reference` from docs/tools/pictures.py: what is changed here is lost. -->"
        told = f'<title id="title">{escape(self.title)}</title><desc id="text">{escape(self.text)}</desc>'
        back = f'<rect class="back" width="{self.width}" height="{self.height}" rx="10"/>'
        return "\n".join([head, made, told, f"<style>{_STYLE}</style>", back, *self.parts, "</svg>\n"])

"""Pages without their pictures being rendered: three of them cost half as much as a decision of the gate without them.

A picture is painted all the same, so that what cannot be painted fails as it does for a user; only matplotlib's layout
and SVG are left out. Who looks at pictures takes the fixture `rendered`. Processes that tests start do without this.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from mlplatform.reporting import svg

if TYPE_CHECKING:
    import pytest

render = svg.draw


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Have pages of this process hold an empty picture, with its words, in the place of each.

    Args:
        patch: What is undone with it.
    """
    patch.setattr(svg, "draw", _painted)


def _painted(name: str, size: tuple[float, float], paint: Callable[[Any], None], label: str) -> str:
    from matplotlib.figure import Figure

    with svg._styled():
        paint(Figure(figsize=(size[0] / svg._POINTS, size[1] / svg._POINTS)))
    return f'<svg id="{escape(name)}" viewBox="0 0 1 1" role="img" aria-label="{escape(label)}"></svg>'

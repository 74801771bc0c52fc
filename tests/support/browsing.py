"""Pages as a person's browser shows them: what it says, asks for, draws, and what axe-core finds wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from docs.tools import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
Media = Literal["screen", "print"]


def axe() -> str:
    """Return the code of axe-core, as the package brings it."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def browser_or_skip() -> None:
    """Skip where there is no browser; where CI runs, fail: what nobody looked at must not seem well.

    `.ci/browser` installs one there.
    """
    if (reason := browser.missing()) is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI looks at pages in a browser, but {reason}", pytrace=False)
    pytest.skip(reason)


@dataclass
class Visit:
    """A page in a browser.

    Attributes:
        page: The page.
        said: What the console said, errors of the page, and dialogs that it opened.
        asked: Every address that it asked for.
    """

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """Return what axe-core finds, a line each: the rule, how grave, and where."""
        # Handed over by the debugger: the page's own policy lets no script in, and stays in force.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(axe())
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(found["passes"]) > 10, "axe looked at the page"
        return [
            f"{item['id']} ({item['impact']}): {item['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for item in found["violations"]
            for node in item["nodes"]
        ]

    def charts(self) -> list[dict[str, Any]]:
        """Return of each chart its name, the size it is drawn in, and the box of what is drawn in it."""
        found: list[dict[str, Any]] = self.page.evaluate(
            """[...document.querySelectorAll("figure svg")].map(svg => {
                const outer = svg.getBoundingClientRect(), inner = svg.getBBox();
                return {
                    name: svg.closest("figure").id, width: outer.width, height: outer.height,
                    drawn: inner.width * inner.height / (svg.viewBox.baseVal.width * svg.viewBox.baseVal.height),
                    texts: [...svg.querySelectorAll("text")].filter(it => it.getBoundingClientRect().width > 0).length,
                    colours: new Set([...svg.querySelectorAll("path, use, line, rect, text")].flatMap(it => {
                        const style = getComputedStyle(it); return [style.fill, style.stroke];
                    })).size,
                };
            })"""
        )
        return found

    def too_wide(self) -> list[str]:
        """Return what reaches beyond the right edge of the window, but for what scrolls in a frame of its own."""
        found: list[str] = self.page.evaluate(
            """() => {
                const width = document.documentElement.clientWidth;
                const beyond = [...document.querySelectorAll("body *")].filter(it =>
                    !it.closest(".scroll, svg, .skip") && it.getBoundingClientRect().right > width + 0.5);
                const whole = document.documentElement.scrollWidth;
                const told = beyond.map(it => it.outerHTML.slice(0, 120));
                return whole > width ? [`the page is ${whole} wide, the window ${width}`, ...told] : told;
            }"""
        )
        return found


@contextmanager
def visited(
    opened: Browser,
    file: Path,
    *,
    scheme: Scheme = "light",
    width: int = 1280,
    media: Media = "screen",
) -> Iterator[Visit]:
    """Open a page in a window of its own.

    Args:
        opened: The browser.
        file: The page's file.
        scheme: Whether its reader likes it light or dark.
        width: Of the window, in pixels.
        media: Whether it is shown or printed.
    """
    context = opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.emulate_media(media=media, color_scheme=scheme)
        visit = Visit(page)
        page.on("console", lambda message: visit.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: visit.said.append(f"error: {error}"))
        page.on("request", lambda request: visit.asked.append(request.url))

        def dialog(shown: Any) -> None:
            visit.said.append(f"dialog: {shown.message}")
            shown.dismiss()

        page.on("dialog", dialog)
        page.goto(file.as_uri())
        yield visit
    finally:
        context.close()

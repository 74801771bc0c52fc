"""Which pages the documentation has, what they link to, and in which order they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
START = "docs/README.md"
"""The page that lists all others, by sections."""
PATTERNS = (
    "docs/**/*.md",
    "*.md",
    "tests/README.md",
    "tests/released/README.md",
    "use_cases/*/README.md",
    "use_cases/*/data/README.md",
)
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Link:
    """A link of a page.

    Attributes:
        page: The page that it stands on, from the project's folder.
        words: What is shown: `the gate`.
        text: Its address as it is written: `gate.md#the-rule`.
        target: The file or folder that it leads to, from the project's folder; "" for an address elsewhere.
        anchor: The heading that it leads to; "" for the page's beginning.
    """

    page: str
    words: str
    text: str
    target: str
    anchor: str


@dataclass(frozen=True)
class Section:
    """Pages that are listed together.

    Attributes:
        title: The heading that they stand under.
        pages: Their paths from the project's folder, in the order in which they are read, and how the start page calls
            them; "": as they call themselves.
    """

    title: str
    pages: Mapping[str, str]


@cache
def pages(root: Path = ROOT) -> Mapping[str, str]:
    """Return the text of each page by its path from the project's folder."""
    found = sorted({path for pattern in PATTERNS for path in root.glob(pattern)})
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in found}


def links(page: str, text: str) -> list[Link]:
    """Return the links and pictures of a page.

    Examples:
        >>> [(it.target, it.anchor) for it in links("docs/gate.md", "[a](search.md#the-budget), `[b](c)`, [d](#here)")]
        [('docs/search.md', 'the-budget'), ('docs/gate.md', 'here')]
    """
    found = []
    for inline in _PARSER.parse(text):
        children = inline.children or []
        for number, token in enumerate(children):
            if token.type == "image":
                found.append(_link(page, token.content, str(token.attrs["src"])))
            elif token.type == "link_open":
                end = next(at for at in range(number, len(children)) if children[at].type == "link_close")
                words = "".join(child.content for child in children[number:end])
                found.append(_link(page, words, str(token.attrs["href"])))
    return found


def _link(page: str, words: str, address: str) -> Link:
    if re.match(r"[a-z]+:", address):
        return Link(page, words, address, "", "")
    path, _, anchor = address.partition("#")
    target = os.path.normpath(Path(page).parent / path) if path else page
    return Link(page, words, address, Path(target).as_posix(), anchor)


def anchors(text: str) -> list[str]:
    r"""Return the anchors of a page's headings, as GitHub and MyST make them; a second one like it ends with `-1`.

    Examples:
        >>> anchors("# How often: `simulate --staleness`\n## Why\n## Why\n")
        ['how-often-simulate---staleness', 'why', 'why-1']
    """
    found: list[str] = []
    tokens = _PARSER.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        heading = "".join(child.content for child in inline.children or [])
        name, number = _NOT_IN_ANCHORS.sub("", heading.strip().lower()).replace(" ", "-"), 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.append(anchor)
    return found


def sections(page: str, text: str, known: Mapping[str, str]) -> list[Section]:
    """Return which pages come below a page: all that the start page lists, and those in the folder of another README.

    Args:
        page: The page.
        text: Its text.
        known: All pages.
    """
    if page == START:
        parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)[1:]
        titled = zip(parts[::2], parts[1::2], strict=True)
    elif Path(page).name == "README.md" and "/" in page:
        titled = iter([("", text)])
    else:
        return []
    found, listed = [], {page}
    for title, part in titled:
        below: dict[str, str] = {}
        for link in links(page, part):
            near = page == START or link.target.startswith(f"{Path(page).parent.as_posix()}/")
            if near and link.target in known and link.target not in listed:
                below.setdefault(link.target, link.words if page == START else "")
        listed.update(below)
        if below:
            found.append(Section(title, below))
    return found


def problems(known: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Return what is wrong with the pages: a link that leads nowhere, a page that is listed nowhere or twice."""
    found = []
    names = {page: anchors(text) for page, text in known.items()}
    for page, text in known.items():
        for link in links(page, text):
            if not link.target:
                continue
            if not (root / link.target).exists():
                found.append(f"{page}: {link.text} does not exist")
            elif link.anchor and link.anchor not in names.get(link.target, []):
                found.append(f"{page}: {link.text}: {link.target} has no such heading")
    listed = [
        below for page, text in known.items() for section in sections(page, text, known) for below in section.pages
    ]
    found += [
        f"{page} is listed by no page above it, from {START} on" for page in sorted(set(known) - {*listed, START})
    ]
    found += [
        f"{page} is listed by more than one page" for page in sorted({it for it in listed if listed.count(it) > 1})
    ]
    return found

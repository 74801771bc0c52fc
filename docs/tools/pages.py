"""Which pages the documentation has, what they link to, and in which order they are read: for Sphinx, and for a test."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$\n?", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}|\t)[^\n]*\n(?:[ \t]*\n(?= {4}))*)+", re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(?:\[([^\]\[]*))?(?<!\\)\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_MARKUP = re.compile(r"`|\*\*|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|!?\[([^\]]*)\]\([^)]*\)")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


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


def prose(text: str) -> str:
    """Return a page without its blocks of code.

    Examples:
        >>> prose("Before.\\n\\n```sh\\nls [a](b)\\n```\\nAfter.\\n\\n    [c](d)\\n")
        'Before.\\n\\nAfter.\\n\\n'
    """
    return _INDENTED.sub("", _FENCE.sub("", text))


def links(page: str, text: str) -> list[Link]:
    """Return the links of a page, those within code left out.

    Examples:
        >>> [(it.target, it.anchor) for it in links("docs/gate.md", "[a](search.md#the-budget), `[b](c)`, [d](#here)")]
        [('docs/search.md', 'the-budget'), ('docs/gate.md', 'here')]
    """
    found = []
    for words, address in _LINK.findall(_CODE.sub("", prose(text))):
        if re.match(r"[a-z]+:", address):
            found.append(Link(page, words, address, "", ""))
            continue
        path, _, anchor = address.partition("#")
        target = os.path.normpath(Path(page).parent / path) if path else page
        found.append(Link(page, words, address, Path(target).as_posix(), anchor))
    return found


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub, and Sphinx with MyST, give a heading.

    Examples:
        >>> anchor_of("How often to retrain: `simulate --staleness`")
        'how-often-to-retrain-simulate---staleness'
    """
    plain = _MARKUP.sub(lambda found: found[1] or "", heading)
    return _NOT_IN_ANCHORS.sub("", plain.strip().lower()).replace(" ", "-")


def anchors(text: str) -> list[str]:
    """Return the anchors of a page; of headings that read alike the second ends with `-1`.

    Examples:
        >>> anchors("# A page\\n## Why\\n## Why\\n")
        ['a-page', 'why', 'why-1']
    """
    found: list[str] = []
    for _, heading in _HEADING.findall(_FENCE.sub("", text)):
        name, number = anchor_of(heading), 0
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
        parts = re.split(r"^## +(.+)$", prose(text), flags=re.MULTILINE)[1:]
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
    found += [f"{page} is listed by no page above it, from {START} on" for page in sorted(set(known) - {*listed, START})]
    found += [f"{page} is listed by more than one page" for page in sorted({it for it in listed if listed.count(it) > 1})]
    return found

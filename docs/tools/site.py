"""What the built pages have more than the files: which page comes below which, docstrings, and links into the code.

A Sphinx extension. All of it is done to a page's text as Sphinx reads it, so that the files are plain Markdown, which
GitHub shows as well: no directive stands in them.
"""

from __future__ import annotations

import os
import re
from typing import Any

from docs.tools import api_page, pages

SOURCE = "MLPLATFORM_DOCS_SOURCE"
"""Address under which the project's files are found, as `https://github.com/<owner>/<repository>/blob/main`.

Unless it is set, files that pages link to are put beside them.
"""


def setup(app: Any) -> dict[str, Any]:
    """Take part in a build."""
    app.connect("source-read", _read)
    # Napoleon takes what stands before the first colon of a property for its type: before it, and after it.
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _put_back, priority=600)
    return {"parallel_read_safe": True}


def _read(_: Any, name: str, source: list[str]) -> None:
    page, known = f"{name}.md", pages.pages()
    text = source[0]
    below = [_contents(section) for section in pages.sections(page, text, known)]
    text = _into_the_code(page, text, known, os.environ.get(SOURCE, "").rstrip("/"))
    if page == api_page.PAGE:
        text = re.sub(r"^## (.+)\n((?:.|\n)*?)(?=^## |\Z)", _with_docstrings, text, flags=re.MULTILINE)
    source[0] = "\n\n".join([text, *below])


_ATTRIBUTES = ("attribute", "data", "property")
_kept: dict[str, list[str]] = {}


def _keep(_: Any, what: str, name: str, __: Any, ___: Any, lines: list[str]) -> None:
    if what in _ATTRIBUTES and ":" in "".join(lines[:1]):
        _kept[name] = list(lines)


def _put_back(_: Any, what: str, name: str, __: Any, ___: Any, lines: list[str]) -> None:
    if what in _ATTRIBUTES and name in _kept:
        lines[:] = _kept.pop(name)


def _contents(section: pages.Section) -> str:
    caption = [f":caption: {section.title}"] if section.title else []
    paths = {page: f"/{page.removesuffix('.md')}" for page in section.pages}
    names = [f"{words} <{paths[page]}>" if words else paths[page] for page, words in section.pages.items()]
    return "\n".join(["```{toctree}", ":hidden:", *caption, "", *names, "```"])


def _with_docstrings(found: re.Match[str]) -> str:
    return f"{found[0].rstrip()}\n\n{api_page.directives(found[1])}\n"


def _into_the_code(page: str, text: str, known: Any, address: str) -> str:
    """Let links to files that are no pages lead into the repository, or to copies; folders have none."""
    for link in dict.fromkeys(pages.links(page, text)):
        if not link.target or link.target in known:
            continue
        written = f"]({link.text})"
        if address:
            text = text.replace(written, f"]({address}/{link.target})")
        elif (pages.ROOT / link.target).is_dir():
            # The words stay.
            text = re.sub(r"\[([^\]\[]*)" + re.escape(written), r"\1", text)
    return text

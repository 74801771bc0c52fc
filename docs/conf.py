"""How Sphinx builds the pages (`make docs`). Its source folder is the project's: links work as in the repository."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from docs.tools.pages import PATTERNS, START  # noqa: E402

project = "mlplatform"
author = copyright = "the authors of mlplatform"  # noqa: A001
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

root_doc = START.removesuffix(".md")
include_patterns = [*PATTERNS, "docs/*.md"]
exclude_patterns = [".*", "build", "dist", "platform", "resources", "tests/[!R]*/[!R]*"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.tools.site"]
nitpicky = True

myst_heading_anchors = 4
highlight_language = "none"
# Docstrings are written as the pages are: what stands in single backticks is code.
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autoclass_content = "class"
python_display_short_literal_types = True
python_use_unqualified_type_names = True
napoleon_use_ivar = True
# Types of other libraries, and names that are not public, have no page to lead to: in signatures they are text.
nitpick_ignore_regex = [(r"py:.*", r".*")]

html_theme = "furo"
html_title = f"mlplatform {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_extra_path = ["front"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

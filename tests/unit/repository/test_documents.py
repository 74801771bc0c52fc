"""The documentation hangs together: links, lists, what is made from the code, runbook, decisions, evidence."""

from __future__ import annotations

import importlib
import re
import tomllib
from xml.etree import ElementTree as ET

import pytest

import mlplatform
from docs.tools import api_page, errors_page, pictures, reference
from docs.tools.pages import START, Section, links, pages, problems, sections
from mlplatform import errors
from mlplatform.errors import PlatformError
from tests.support.documents import PROJECT

SITUATIONS = (
    "failed-job", "stuck-approval", "quarantine-full", "rollback-under-pressure", "credentials", "late-feed",
    "disaster-recovery",
)  # fmt: skip
PARTS = ["What you see", "What it means", "What to do now", "How you know it is mended", "How to avoid it"]
MADE = ("docs/commands.md", "docs/settings.md", "docs/errors.md", "docs/api.md")
PATH = re.compile(r"`((?:tests|platform|use_cases|docs|resources|\.ci|\.github)/[\w./-]*[\w/])(?:::(\w+))?`")
# Of a use case that the tutorial makes, of a workspace's folder, or of a build.
ELSEWHERE = (
    "use_cases/machine_failure",
    "use_cases/config.schema.json",
    "resources/machine_failure",
    "resources/requirements/machine_failure",
)


def test_every_link_leads_somewhere_and_every_page_is_listed_once() -> None:
    assert problems(pages()) == []


def test_a_broken_link_a_lost_page_and_one_listed_twice_are_noticed(tmp_path) -> None:
    known = {
        START: "# Start\n## One\n- [a](a.md)\n- [b](sub/README.md)\n- [c](sub/c.md)\n[gone](gone.md), [no](a.md#x)\n",
        "docs/a.md": "# A\n`[code](nowhere.md)`\n",
        "docs/sub/README.md": "# Sub\n[c](c.md)\n",
        "docs/sub/c.md": "# C\n",
        "docs/lost.md": "# Lost\n",
    }
    for name, text in known.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert problems(known, tmp_path) == [
        f"{START}: gone.md does not exist",
        f"{START}: a.md#x: docs/a.md has no such heading",
        f"docs/lost.md is listed by no page above it, from {START} on",
        "docs/sub/c.md is listed by more than one page",
    ]


def test_the_table_of_contents_is_the_list_that_readers_see() -> None:
    found = sections(START, pages()[START], pages())
    assert [section.title for section in found][:2] == ["Start here", "Build"]
    assert found[0] == Section("Start here", found[0].pages)
    assert next(iter(found[0].pages.items())) == ("README.md", "README")


@pytest.mark.parametrize("name", list(reference.PAGES))
def test_what_is_made_from_the_code_is_as_the_code_makes_it(name: str) -> None:
    made = reference.PAGES[name]()
    written = (PROJECT / name).read_text(encoding="utf-8")
    assert written == made, f"{name} is not as the code makes it: make reference"


def test_a_stale_page_is_shown_with_its_difference(monkeypatch) -> None:
    monkeypatch.setattr(reference, "PAGES", {"docs/errors.md": lambda: errors_page.page() + "one more line\n"})
    assert "+one more line" in reference.differences()["docs/errors.md"]
    assert not reference.differences().keys() - {"docs/errors.md"}


def test_each_public_name_has_its_place_and_each_group_its_docstrings() -> None:
    told = [name for group in api_page.GROUPS if group.module == "mlplatform" for name in group.names]
    assert sorted(told) == sorted(mlplatform.__all__)
    for group in api_page.GROUPS:
        module = importlib.import_module(group.module)
        for name in group.names:
            assert f"{group.module}.{name}" in api_page.directives(group.title)
            assert getattr(module, name).__doc__


def test_each_exit_code_is_explained() -> None:
    def tree(kind: type[PlatformError]) -> set[int]:
        return {kind.exit_code}.union(*map(tree, kind.__subclasses__()))

    assert tree(errors.PlatformError) <= set(errors_page.MEANING)


@pytest.mark.parametrize("name", list(pictures.FILES))
def test_a_picture_says_in_words_what_it_shows_and_asks_nobody(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    title, words = root.find(f"{space}title"), root.find(f"{space}desc")
    assert title is not None
    assert title.text
    assert words is not None
    assert len(words.text or "") > 80
    assert "script" not in text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    width, height = (float(root.attrib[key]) for key in ("width", "height"))
    for box in root.iter(f"{space}rect"):
        x, y, wide, high = (float(box.attrib.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert x + wide <= width
        assert y + high <= height


def test_each_picture_is_shown_with_words_for_who_cannot_see_it() -> None:
    shown = {
        link.target: link.words
        for page, text in pages().items()
        for link in links(page, text)
        if link.target in pictures.FILES
    }
    assert set(shown) == set(pictures.FILES)
    assert all(len(words) > 30 for words in shown.values())


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_page_of_the_runbook_goes_from_what_is_seen_to_how_it_is_avoided(name: str) -> None:
    text = pages()[f"docs/runbook/{name}.md"]
    headings = [it for it in re.findall(r"^## (.+)$", text, re.MULTILINE) if it in PARTS]
    assert headings == PARTS
    now = text.split("## What to do now")[1].split("## How you know")[0]
    assert "mlplatform " in now, "a command"
    assert f"({name}.md)" in pages()["docs/runbook/README.md"].split("## By alert")[0]


def test_each_decision_has_a_status_and_what_is_superseded_says_so() -> None:
    index = pages()["docs/decisions/README.md"]
    rows = dict(re.findall(r"^\| \[(\d{4})\]\(\1[^)]*\.md\) \|.+\| ([^|]+) \|$", index, re.MULTILINE))
    files = {path.name[:4]: path for path in (PROJECT / "docs" / "decisions").glob("[0-9]*.md")}
    assert set(rows) == set(files), "each decision, with its status as the last cell"
    for number, status in rows.items():
        assert re.fullmatch(r"proposed|accepted|withdrawn|superseded by \[\d{4}\]\([\w-]+\.md\)", status), number
        begins = files[number].read_text(encoding="utf-8")[:400]
        assert begins.startswith(f"# {number}. ")
        assert ("uperseded by [" in begins) == status.startswith("superseded"), number


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/") and page not in MADE])
def test_files_and_tests_that_a_page_names_exist(page: str) -> None:
    for path, test in PATH.findall(pages()[page]):
        if path.startswith(ELSEWHERE):
            continue
        target = PROJECT / path
        assert target.exists(), f"{page}: {path}"
        assert not test or f"def {test}" in target.read_text(encoding="utf-8"), f"{page}: {path}::{test}"


def test_each_benchmark_has_its_line() -> None:
    page = pages()["docs/benchmarks.md"]
    for path in (PROJECT / "tests" / "benchmarks").glob("*.py"):
        assert f"[`{path.name}`]" in page, path.name


def test_what_pip_installs_for_developers_is_what_make_installs() -> None:
    (line,) = [
        line
        for line in (PROJECT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    extras = set(re.fullmatch(r"-e \.\[([\w,]+)\]", line)[1].split(","))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras <= set(project["optional-dependencies"])
    synced = re.search(r"^\$\(STAMP\):.*\n\t(.+)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert extras == set(re.findall(r"--extra (\w+)", synced[1]))

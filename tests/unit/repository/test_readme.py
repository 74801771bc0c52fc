"""README.md and README.pt-BR.md say the same: headings, code, links, pictures and figures; and README is short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from docs.tools import screenshot
from docs.tools.pages import links, pages
from tests.support.documents import PROJECT

ENGLISH, PORTUGUESE = "README.md", "README.pt-BR.md"
PARSER = MarkdownIt("commonmark").enable("table")
# One figure, or one file, wherever it stands in the sentence.
FIGURE = re.compile(r"\d+(?:\.\d+)*")


def shape(text: str) -> list[str]:
    """Return what is to be the same in every language, in order: levels of headings, blocks of code, rows, bullets."""
    found = []
    for token in PARSER.parse(text):
        if token.type == "heading_open":
            found.append(token.tag)
        elif token.type in ("fence", "code_block"):
            found.append(f"{token.info}\n{token.content}")
        elif token.type in ("tr_open", "list_item_open", "paragraph_open"):
            found.append(token.type)
    return found


def words_of_code(text: str) -> list[str]:
    """Return what stands in backticks within sentences and cells."""
    inline = (child for token in PARSER.parse(text) for child in token.children or ())
    return sorted(child.content for child in inline if child.type == "code_inline")


def differences(english: str, portuguese: str) -> Iterator[str]:
    """Yield what one has and the other has not."""
    ours, theirs = shape(english), shape(portuguese)
    # One sentence more: that the documents behind the links are in English.
    theirs_less = list(theirs)
    last = len(theirs) - 1 - theirs[::-1].index("h2")
    if theirs[last : last + 2] == ["h2", "paragraph_open"]:
        del theirs_less[last + 1]
    if ours != theirs_less:
        yield f"headings, code or lists: {next((a, b) for a, b in zip(ours, theirs_less, strict=False) if a != b)}"
    for what, of in (
        ("links", lambda page, text: sorted(it.text for it in links(page, text) if not it.target.startswith("README"))),
        ("words of code", lambda _, text: words_of_code(text)),
        ("figures", lambda _, text: sorted(FIGURE.findall(text))),
    ):
        one, other = of(ENGLISH, english), of(PORTUGUESE, portuguese)
        if one != other:
            yield f"{what}: {sorted(set(one) ^ set(other)) or 'how often'}"


def test_both_readmes_say_the_same() -> None:
    assert list(differences(pages()[ENGLISH], pages()[PORTUGUESE])) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("## Três ideias\n", "", "headings"),
        ("seats >= 1", "seats >= 2", "headings"),
        ("(docs/gate.md)", "(docs/canary.md)", "links"),
        ("em no máximo 5 %", "em no máximo 6 %", "figures"),
        ("`mlplatform history`", "`mlplatform status`", "words of code"),
    ],
)
def test_a_readme_that_was_not_kept_up_is_noticed(old: str, new: str, what: str) -> None:
    portuguese = pages()[PORTUGUESE]
    assert old in portuguese
    found = list(differences(pages()[ENGLISH], portuguese.replace(old, new)))
    assert any(line.startswith(what) for line in found), found


def test_each_leads_to_the_other_and_is_in_its_language() -> None:
    for page, other, word in ((ENGLISH, PORTUGUESE, "the"), (PORTUGUESE, ENGLISH, "que")):
        assert other in {link.target for link in links(page, pages()[page])}
        assert len(re.findall(rf"\b{word}\b", pages()[page])) > len(re.findall(rf"\b{word}\b", pages()[other]))


def test_the_readme_stays_short_and_leads_to_what_it_leaves_out() -> None:
    text = pages()[ENGLISH]
    assert len(text.splitlines()) <= 130
    targets = {link.target for link in links(ENGLISH, text)}
    assert {
        "docs/README.md", "docs/commands.md", "docs/demo.md", "docs/comparison.md", "docs/roadmap_crispdm_mlops.md",
        "docs/architecture/containers.md", "docs/architecture/data.md", "docs/runbook/README.md", "CONTRIBUTING.md",
    } <= targets  # fmt: skip


def test_the_picture_is_light_and_says_how_it_was_made() -> None:
    picture = PROJECT / screenshot.PICTURE
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size <= screenshot.MOST_BYTES
    shown = {page for page, text in pages().items() for link in links(page, text) if link.target == screenshot.PICTURE}
    assert {ENGLISH, PORTUGUESE, "docs/demo.md"} <= shown
    assert "python -m docs.tools.screenshot" in pages()["docs/demo.md"]


def test_a_picture_without_a_report_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["screenshot", "--report", str(tmp_path / "none.html")])
    assert screenshot.main() == 1
    assert "First: make demo" in capsys.readouterr().err

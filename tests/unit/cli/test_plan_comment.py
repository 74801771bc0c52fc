"""What a pull request's comment says of a plan."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlplatform.change.differences import Difference, Kind
from mlplatform.change.plan import ChangePlan, PlannedChange, Reading
from mlplatform.cli import plan_comment


def plan(
    *kinds: Kind, text: str = "risk: 3 of 40 rows differ", breaks: tuple[int, ...] = (), name: str = "risk"
) -> ChangePlan:
    """Return the plan of a use case with one table for each kind; what is breaking breaks these versions."""
    changes = [
        PlannedChange(
            f"features_{number}",
            differences=[Difference("~", "code changed", kind, text)],
            readings=[
                Reading(f"v{version} @champion", version, ("risk",), None, breaks=True)
                for version in (breaks if kind is Kind.BREAKING else ())
            ],
        )
        for number, kind in enumerate(kinds)
    ]
    return ChangePlan(name, datetime(2020, 8, 1, tzinfo=UTC), changes)


def written(tmp_path: Path, *plans: ChangePlan) -> str:
    file = tmp_path / "comment.md"
    for item in plans:
        plan_comment.append(file, item)
    return file.read_text(encoding="utf-8")


def test_what_breaks_a_model_is_in_the_heading_with_where_it_is_decided(tmp_path: Path) -> None:
    text = written(tmp_path, plan(Kind.ADDITIVE, Kind.BREAKING, breaks=(9, 8)))
    assert text.startswith("### risk: ⛔ BREAKING for v8, v9\n\n**Something breaking waits in `features_1`.**")
    assert "`mlplatform apply risk`" in text


def test_what_breaks_no_version_but_is_refused_is_breaking_too(tmp_path: Path) -> None:
    assert written(tmp_path, plan(Kind.BREAKING)).startswith("### risk: ⛔ BREAKING\n")


@pytest.mark.parametrize(
    ("kinds", "says"), [((), "nothing changes"), ((Kind.TEXT, Kind.ADDITIVE), "additive"), ((Kind.TEXT,), "text only")]
)
def test_what_breaks_nothing_says_its_gravest_kind_and_asks_for_nothing(
    tmp_path: Path, kinds: tuple[Kind, ...], says: str
) -> None:
    text = written(tmp_path, plan(*kinds))
    assert text.startswith(f"### risk: {says}\n\n```text\n")
    assert "apply" not in text


def test_the_plan_stands_in_it_as_it_is_printed(tmp_path: Path) -> None:
    found = plan(Kind.BREAKING, breaks=(8,))
    _, block, _ = written(tmp_path, found).split("```")
    assert block.removeprefix("text\n").splitlines() == list(found.lines())


def test_no_text_in_a_plan_ends_its_block(tmp_path: Path) -> None:
    text = written(tmp_path, plan(Kind.BREAKING, text="cannot be computed:\n````\n@everybody\n```"))
    assert text.count("\n`````") == 2
    assert text.index("@everybody") < text.rindex("\n`````")


def test_use_cases_stand_below_each_other(tmp_path: Path) -> None:
    text = written(tmp_path, plan(Kind.ADDITIVE, name="one"), plan(Kind.RECOMPUTE, name="two"))
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### one: additive", "### two: recompute"]


def test_a_comment_stays_within_what_a_comment_may_hold_and_no_heading_is_lost(tmp_path: Path) -> None:
    long = "x" * 40_000
    text = written(tmp_path, *(plan(Kind.BREAKING, text=long, breaks=(8,), name=f"case{it}") for it in range(20)))
    assert len(text) < 65_536
    assert text.count("BREAKING for v8") == 20 + 1, "the first one's plan says it, too"
    assert text.count("too long for a comment") == 19

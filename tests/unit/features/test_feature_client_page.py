"""`docs/feature-client.md` lists what the feature client offers and what it does not, as the code says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlplatform.errors import FeatureStoreError
from mlplatform.workspace.databricks.feature_client import DatabricksFeatureClient
from mlplatform.workspace.local.feature_client import LocalFeatureClient
from mlplatform.workspace.shared.feature_methods import NOT_OFFERED, OnlySome

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "feature-client.md").read_text(encoding="utf-8")


def listed(section: str) -> dict[str, str]:
    """Return method -> note of the table below a heading in bold."""
    part = PAGE.split(f"**{section}**", 1)[1].split("\n\n**", 1)[0].split("\nBeyond", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|$", part, re.MULTILINE))


def test_the_page_lists_each_of_47_methods_once():
    sections = [listed(name) for name in ("Ours", "Refused", "Planned")]
    names = [name for section in sections for name in section]
    assert len(names) == len(set(names)) == 47


@pytest.mark.parametrize("client", [LocalFeatureClient, DatabricksFeatureClient])
def test_what_is_ours_is_there_in_both_homes_and_nothing_else_is(client):
    for name in listed("Ours"):
        assert callable(getattr(client, name))
        assert name not in NOT_OFFERED
    for name in NOT_OFFERED:
        assert not hasattr(client, name)


@pytest.mark.parametrize("status", ["refused", "planned"])
def test_reasons_are_those_of_the_code(status):
    assert listed(status.title()) == {name: why for name, (found, why) in NOT_OFFERED.items() if found == status}


@pytest.mark.parametrize("name", sorted(NOT_OFFERED))
def test_asking_for_it_says_why(name):
    with pytest.raises(FeatureStoreError) as told:
        getattr(OnlySome(), name)()
    status, why = NOT_OFFERED[name]
    assert f"no {name} ({status}): {why}." in str(told.value)
    assert not hasattr(OnlySome(), name)

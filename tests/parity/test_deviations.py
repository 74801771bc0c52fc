"""Where ours differs from the real client on purpose, the difference is the one that was written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.parity import ours
from tests.support.cases import CASES, Case, load_cases
from tests.support.compare import assert_same
from tests.support.renaming import in_schema

if TYPE_CHECKING:
    from pathlib import Path

    from mlplatform.protocols.workspace import Workspace
    from tests.parity.judge import Judge

_CASES = load_cases(CASES / "ours_differs")


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_the_real_client_still_does_what_ours_replaces(judge: Judge, case: Case) -> None:
    outcome = judge.answer(case)

    assert outcome.table is not None, outcome.failure
    assert case.expect.answer is not None
    assert_same(outcome.table, case.expect.answer)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_ours_follows_the_contract(ws: Workspace, tmp_path: Path, case: Case) -> None:
    outcome = ours.run(ws, in_schema(case, f"differs_{case.name}"), tmp_path)

    assert outcome.table is not None, outcome.failure
    assert case.ours is not None
    assert_same(outcome.table, case.ours)

"""Random training sets: our rows, columns and types are the judge's.

`MLPLATFORM_PARITY_SCENARIOS` says how many (70 unless told), `MLPLATFORM_PARITY_FIRST_SEED` where to begin. A scenario
that differs is left as a case file in `MLPLATFORM_PARITY_FINDINGS`, if that names a folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.parity import ours
from tests.parity.deviations import as_ours
from tests.parity.scenarios import scenario
from tests.support.casefile import case_text, case_to_json
from tests.support.compare import Answer, difference

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace
    from tests.parity.judge import Judge
    from tests.parity.outcome import Outcome
    from tests.support.cases import Case

_FIRST = int(os.environ.get("MLPLATFORM_PARITY_FIRST_SEED", "0"))
_SEEDS = range(_FIRST, _FIRST + int(os.environ.get("MLPLATFORM_PARITY_SCENARIOS", "70")))
_FINDINGS = os.environ.get("MLPLATFORM_PARITY_FINDINGS")


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_training_set_is_the_judges(judge: Judge, ws: Workspace, tmp_path: Path, seed: int) -> None:
    case = scenario(seed)
    answer = judge.ask(case)
    try:
        mine = ours.run(ws, case, tmp_path)
    finally:
        judged = answer()

    text = _difference(mine, judged, case)
    if text is not None:
        pytest.fail(f"seed {seed}: {text}{_kept(case, judged)}", pytrace=False)


def _difference(mine: Outcome, judged: Outcome, case: Case) -> str | None:
    if judged.failure is not None:
        # The generator makes valid scenarios only. One that the judge refuses says nothing about parity.
        return f"the judge failed, so the generator or the harness is wrong: {judged.failure}"
    if mine.failure is not None:
        return f"ours failed, the judge did not: {mine.failure}"
    assert mine.table is not None
    assert judged.table is not None
    return difference(mine.table, as_ours(judged.table, case))


def _kept(case: Case, judged: Outcome) -> str:
    """Write the scenario down as a case, and say where."""
    if _FINDINGS is None:
        return ""
    path = Path(_FINDINGS) / f"{case.name}.json"
    answer = None if judged.table is None else Answer.of(judged.table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(case_text(case_to_json(case, answer)), encoding="utf-8")
    return f"\nThe case is in {path}"

"""What the stage does with its decision: trains, recalibrates, or leaves it."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.monitoring import retrain
from mlplatform.monitoring.retrain import Retrain, RetrainDecision

if TYPE_CHECKING:
    from mlplatform.monitoring.retrain import Cure


@pytest.mark.parametrize(
    ("due", "cure", "executed"),
    [
        (True, "train", ["training", "its gate"]),
        (True, "recalibrate", ["recalibration", "its gate by proper scores"]),
        (False, "train", []),
        (False, "recalibrate", []),
    ],
)
def test_what_is_due_is_what_is_executed(
    monkeypatch: pytest.MonkeyPatch, due: bool, cure: Cure, executed: list[str]
) -> None:
    done: list[Any] = []
    decision = RetrainDecision(due=due, reasons=("calibration: off",), cure=cure)
    monkeypatch.setattr(retrain, "decide_now", lambda _: decision)
    monkeypatch.setattr(retrain, "_begun", lambda _: None)
    monkeypatch.setattr(retrain, "details_of", lambda _, decided: decided)
    context: Any = SimpleNamespace(
        ws=SimpleNamespace(lock=lambda _: nullcontext()), model="m", progress=lambda _: None, execute=done.append
    )
    then: Any = ("training", "its gate")
    recalibrating: Any = ("recalibration", "its gate by proper scores")
    result = Retrain(then=then, recalibrating=recalibrating).run(context)
    assert done == executed
    assert result.details is decision

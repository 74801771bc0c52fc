"""When a training is done again: another version where the code changed, wherever that stands; else the same one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.training.stage import Train, TrainDetails
from mlplatform.training.trainer import Trainer
from tests.support.tiny_gate import FIRST
from tests.support.tiny_runs import open_tiny

PACKAGE = "moved_constant"
MODEL = """
from tests.support.tiny_use_case import TinyTrainer
{strength}

class Moved(TinyTrainer):
    default_params = {{"C": STRENGTH}}

    def search_space(self):
        return {{}}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the folder of a use case's code; return its trainer, imported anew."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_files(**files: str) -> type[Trainer]:
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        importlib.invalidate_caches()
        trainer: type[Trainer] = importlib.import_module(f"{PACKAGE}.model").Moved
        return trainer

    yield write_files
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_constant_counts_wherever_it_stands_and_a_comment_does_not(gate_at, wide, write):
    ws = gate_at("trained")
    use_case = open_tiny(ws, wide.folder)

    def trained(trainer: type[Trainer]) -> TrainDetails:
        stage = Train(
            trainer(use_case.namespace, use_case.settings, use_case.spine),
            use_case.label_spine(),
            use_case.folder,
            lambda *_: None,
            use_case.functions,
            register_only=True,
        )
        return stage.run(use_case.context(ws, parse_as_of(FIRST), "run")).details

    first = trained(write(model=MODEL.format(strength="STRENGTH = 0.5")))
    assert (first.version, first.reused, first.params) == (2, False, {"C": 0.5})
    # What it was trained on stands with it on record: the report tells tables -> version -> predictions.
    region = use_case.namespace.features("region")
    assert first.feature_tables == {str(region): ws.tables.version(region)}
    moved = MODEL.format(strength=f"from {PACKAGE}.strength import STRENGTH")
    assert trained(write(model=moved, strength="STRENGTH = 0.5\n")).version == 3
    # The model's own module is as it was: a digest of that module alone would give the version before again.
    changed = trained(write(strength="STRENGTH = 0.25\n"))
    assert (changed.version, changed.reused, changed.params) == (4, False, {"C": 0.25})
    same = trained(write(strength="# How much it is regularised.\nSTRENGTH = 0.25\n"))
    assert (same.version, same.reused) == (4, True)
    # Found again, a training says what it said then: the process that trained may have died before its record.
    assert same.of_the_training() == changed.of_the_training()
    assert same.importance

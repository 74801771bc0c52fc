"""A use case with a year behind it, of which the tests damage copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.simulation import simulate
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.doctor_case import STEPS, Case, state_of
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def doctor_tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    tiny = write_tiny_use_case(tmp_path_factory.mktemp("doctor"), rows_a_month=200, gate={"margin": 0.3})
    tiny.soil()
    return tiny


@pytest.fixture(scope="session")
def doctor_base(tmp_path_factory: pytest.TempPathFactory, doctor_tiny: TinyFolder) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("doctor_base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        simulate(ws, open_tiny(ws, doctor_tiny.folder), [parse_as_of(step) for step in STEPS])
    return root, state_of(root, doctor_tiny)


@pytest.fixture
def case(tmp_path: Path, doctor_base: tuple[Path, dict[str, Any]], doctor_tiny: TinyFolder) -> Case:
    root, twin = doctor_base
    return Case(clone(root, tmp_path / "home"), doctor_tiny, twin)

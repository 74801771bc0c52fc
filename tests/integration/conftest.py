"""Workspaces that several files of integration tests go on from: made once a run of the tests, copied for each."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from mlplatform.reporting import svg
from tests.support import pictures
from tests.support.homes import Homes, build_homes
from tests.support.once import made_once
from tests.support.tiny_gate import build_bases
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlplatform.workspace.local.workspace import LocalWorkspace


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    """Leave pictures out of pages, but for the tests that take `rendered`."""
    with pytest.MonkeyPatch.context() as patch:
        pictures.leave_out(patch)
        yield


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages of this test hold their pictures, as outside of tests."""
    monkeypatch.setattr(svg, "draw", pictures.render)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """Homes before and after undisturbed runs; to be copied."""
    return made_once(tmp_path_factory, "homes", build_homes)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """The tiny use case with so wide a margin that every fair model is promoted."""
    return write_tiny_use_case(tmp_path_factory.mktemp("wide"), gate={"margin": 0.2})


@pytest.fixture(scope="session")
def gate_bases(tmp_path_factory: pytest.TempPathFactory, wide: TinyFolder) -> dict[str, Path]:
    return made_once(tmp_path_factory, "gate_bases", lambda folder: build_bases(folder, wide))


@pytest.fixture
def gate_at(tmp_path: Path, gate_bases: dict[str, Path]) -> Iterator[Callable[[str], LocalWorkspace]]:
    """Open a copy of a workspace at the gate: `trained`, `challenged` or `overridden`."""
    from mlplatform.workspace.local.workspace import LocalWorkspace

    opened: list[LocalWorkspace] = []

    def open_copy(base: str) -> LocalWorkspace:
        ws = LocalWorkspace.open(root=clone(gate_bases[base], tmp_path / f"{base}{len(opened)}"))
        opened.append(ws)
        return ws

    yield open_copy
    for ws in opened:
        ws.close()
        shutil.rmtree(ws.root)

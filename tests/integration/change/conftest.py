"""A workspace in which a use case has a champion, before an edit of the use case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.edited_use_case import AS_OF, NAMES, run_edited, write_data, write_use_case
from tests.support.once import made_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "edited_data", lambda folder: write_data(folder, months=8))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A closed workspace in which the use case, not edited, has a champion and its predictions."""

    def make(folder: Path) -> Path:
        use_cases = write_use_case(folder / "use_cases", data)
        with LocalWorkspace.open(root=folder / "ws") as ws:
            run_edited(ws, use_cases, AS_OF, ["ingest", "refine", "features", "train", "gate", "score"])
            assert ws.registry.aliases(NAMES.model) == {"champion": 1}
        return folder / "ws"

    return made_once(tmp_path_factory, "edited_base", make)

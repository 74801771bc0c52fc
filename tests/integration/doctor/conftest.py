"""A use case with two champions behind it, of which the tests damage copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.doctor_case import Case, state_of
from tests.support.once import made_once
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import Homes
    from tests.support.tiny_use_case import TinyFolder


@pytest.fixture(scope="session")
def doctor_tiny(homes: Homes) -> TinyFolder:
    return homes.tiny


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> dict[str, Any]:
    return made_once(
        tmp_path_factory, "twin", lambda folder: state_of(clone(homes.second, folder / "home"), homes.tiny)
    )


@pytest.fixture
def case(tmp_path: Path, homes: Homes, twin: dict[str, Any]) -> Case:
    return Case(clone(homes.second, tmp_path / "home"), homes.tiny, twin)

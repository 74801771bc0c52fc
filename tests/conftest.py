"""Fixtures that every kind of test shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.workspace.local.workspace import LocalWorkspace


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    """A local workspace of this module, in a folder of its own; its engine starts when first used."""
    from mlplatform.workspace.local.workspace import LocalWorkspace

    with LocalWorkspace.open(env="dev", root=tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace

"""What to do with tests that need the real Databricks client where it cannot run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUIRED = "MLPLATFORM_REQUIRE_PARITY"

# MLflow and its dependencies warn a lot when models are logged; a warning of theirs says nothing about parity.
# The first test of a module waits for what all of it needs: minutes, where JVM Spark runs whole stages for it.
MARKS = (pytest.mark.parity, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(2400))


def keep_one(config: pytest.Config, items: list[pytest.Item], ours: Sequence[pytest.Item], reason: str | None) -> None:
    """Where tests cannot run, keep one that says so and drop the others.

    A skip for each of hundreds of tests would bury the reason, so they become one line.

    Args:
        config: The run's.
        items: All tests of the run; changed in place.
        ours: Those that need the real client.
        reason: What is missing, and how to get it; None: nothing.
    """
    if reason is None or not ours:
        return
    first, *others = ours
    if not _is_required():
        first.add_marker(pytest.mark.skip(reason=f"{reason}; {len(ours)} tests not run"))
    dropped = set(others)
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=others)


def fail_where_required(reason: str | None) -> None:
    """Where parity is required, fail with the reason."""
    if reason is not None and _is_required():
        pytest.fail(f"{REQUIRED}=1, but {reason}", pytrace=False)


def _is_required() -> bool:
    return os.environ.get(REQUIRED) == "1"

"""What a local workspace keeps beside tables and models: the record of functions, and feature specs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mlplatform.errors import PlatformError
from mlplatform.protocols.maintenance import Damage
from mlplatform.workspace.local.feature_specs import read_spec
from mlplatform.workspace.local.functions import read_record

FUNCTIONS, SPECS = "functions.json", "feature_specs"


def inspect(home: Path) -> Iterator[Damage]:
    """Yield what is damaged.

    Args:
        home: The workspace's folder.
    """
    try:
        read_record(home / FUNCTIONS)
    except PlatformError:
        yield Damage(FUNCTIONS, "does not hold the registered functions any more")
    for file in sorted((home / SPECS).glob("*.yaml")):
        try:
            read_spec(file)
        except PlatformError as error:
            yield Damage(f"{SPECS}/{file.name}", f"cannot be read ({error.message})")


def mend(home: Path, aside: Path, *, dry_run: bool) -> tuple[str, ...]:
    """Put what is damaged aside, where a run makes it again; feature specs only their author can.

    Args:
        home: The workspace's folder.
        aside: The folder that takes it.
        dry_run: Only say so.

    Returns:
        What was done, a sentence each.
    """
    damaged = [damage for damage in inspect(home) if damage.file == FUNCTIONS]
    for damage in () if dry_run else damaged:
        aside.mkdir(parents=True, exist_ok=True)
        shutil.move(home / damage.file, aside / damage.file)
    return tuple(f"{damage}: put aside; functions are registered again by whoever runs" for damage in damaged)

"""The classes of a stored model: which column of its probabilities belongs to which, as its own files say.

They stand in the metadata of the model's `MLmodel`, so that they are among the files that are checked before scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlplatform.errors import FeatureStoreError

CLASSES = "classes"
"""Their name in the metadata, and that of the version's tag for people."""


def classes_of(raw_model: Path, uri: str) -> tuple[str, ...]:
    """Return the classes of a model, in the order of its columns.

    Args:
        raw_model: The folder of the model as its flavor saved it.
        uri: The model, for messages.

    Raises:
        FeatureStoreError: If it does not say.
    """
    metadata = (yaml.safe_load((raw_model / "MLmodel").read_text(encoding="utf-8")) or {}).get("metadata") or {}
    found = metadata.get(CLASSES)
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise FeatureStoreError(
            f"Model {uri} does not say which classes its probabilities are of.",
            hint="Train it by the platform, or log it with metadata={'classes': [...]}, in the order of its columns.",
        )
    return tuple(found)


@dataclass(frozen=True)
class ClassPlaces:
    """Where a model has the probabilities of the classes that are wanted.

    Attributes:
        of_wanted: For each of them which of the model's columns it is; None: the model does not know it.
        known: How many columns the model has.
    """

    of_wanted: tuple[int | None, ...]
    known: int


def places(wanted: Sequence[str], known: Sequence[str], uri: str) -> ClassPlaces:
    """Return where a model has the probabilities of the classes that are wanted.

    Args:
        wanted: The declared classes, in order.
        known: The model's.
        uri: The model, for messages.

    Raises:
        FeatureStoreError: If the model knows a class that is not wanted, or one twice.

    Examples:
        >>> places(["a", "b", "c"], ["a", "c"], "models:/m/1")
        ClassPlaces(of_wanted=(0, None, 1), known=2)
    """
    other = [name for name in known if name not in wanted]
    if other or len(set(known)) < len(known):
        raise FeatureStoreError(
            f"Model {uri} gives probabilities of {', '.join(known)}; the classes are {', '.join(wanted)}.",
            hint="Train a new version; to go on with this one, let label.classes name all of its classes.",
        )
    of_wanted = tuple(known.index(name) if name in known else None for name in wanted)
    return ClassPlaces(of_wanted, len(known))

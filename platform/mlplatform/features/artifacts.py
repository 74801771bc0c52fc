"""A stored model is checked before our code loads it: its files are those registered, and its types are allowed.

MLflow stores the list of trusted types IN the model, which is no safeguard: whoever can change the model can change it.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Collection
from pathlib import Path

from mlplatform.errors import RegistryError

DIGEST_TAG = "artifact_digest"
# What a model in the skops format consists of; anything else might be a pickle by another name.
_FILES = ("MLmodel", "registered_model_meta")
_SUFFIXES = (".skops", ".yaml", ".yml", ".json", ".txt", ".toml", ".lock", ".csv")
# Beside scikit-learn's own classes: what fitted estimators hold of NumPy.
_TYPES = frozenset(
    {
        "numpy.dtype",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "numpy.random.mtrand.RandomState",
    }
)


def digest(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of all files of a model.

    Args:
        folder: The model's folder.

    Raises:
        RegistryError: If the folder holds no file.
    """
    total = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "registered_model_meta")
    if not files:
        raise RegistryError(f"{folder} holds no model.", hint="Was the artifact store emptied?")
    for path in files:
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def verify(folder: Path, expected_digest: str, trusted: Collection[str] = ()) -> None:
    """Refuse a model whose files changed since registration, or that holds types we do not allow.

    Args:
        folder: The model's folder, downloaded.
        expected_digest: The digest recorded at registration.
        trusted: Further types that may occur, fully qualified.

    Raises:
        RegistryError: Naming what differs; the model has not been loaded.
    """
    if not expected_digest:
        raise RegistryError(
            f"No digest is recorded for the model in {folder}.", hint="Only models trained by the platform are loaded."
        )
    actual = digest(folder)
    if actual != expected_digest:
        raise RegistryError(
            f"The files of the model in {folder} are not those registered: digest {actual[:12]} instead of "
            f"{expected_digest[:12]}.",
            hint="The model was not loaded. Find out who changed its files; train again to replace it.",
        )
    check_types(folder, trusted)


def check_types(folder: Path, trusted: Collection[str] = ()) -> None:
    """Refuse a model that is pickled, or that holds types outside the allow-list.

    Raises:
        RegistryError: Naming the files or types.
    """
    strange = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _FILES and path.suffix not in _SUFFIXES
    ]
    if strange:
        raise RegistryError(
            f"The model in {folder} holds files that may be pickled ({', '.join(strange)}); loading one runs code.",
            hint="Log it in the skops format.",
        )
    stores = sorted(folder.rglob("*.skops"))
    if not stores:
        raise RegistryError(f"The model in {folder} holds no skops file.", hint="Log it in the skops format.")
    for store in stores:
        refused = [name for name in untrusted_types(store) if not allowed(name, trusted)]
        if refused:
            raise RegistryError(
                f"The model in {folder} holds types that are not allowed: {', '.join(refused)}.",
                hint="If the model needs them, list them in the Trainer's trusted_types, or pass trusted_types.",
            )


def allowed(name: str, trusted: Collection[str]) -> bool:
    """Tell whether a type may occur in a model: scikit-learn's classes, a few of NumPy's, and what is trusted by name.

    Functions are not allowed, whatever library they are in: there are some in every library that run or load what they
    are given.

    Examples:
        >>> allowed("sklearn.linear_model._logistic.LogisticRegression", ())
        True
        >>> allowed("sklearn.datasets.load_files", ()), allowed("builtins.eval", ())
        (False, False)
    """
    return name in trusted or name in _TYPES or (name.startswith("sklearn.") and _is_class(name))


def _is_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        value = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(value, type)


def untrusted_types(store: Path) -> list[str]:
    """Return the types in a skops file that skops itself does not vouch for.

    Raises:
        RegistryError: If the file cannot be read as skops.
    """
    from skops.io import get_untrusted_types

    try:
        return list(get_untrusted_types(file=store))
    except Exception as error:
        # A file that cannot even be looked into is not one that we load, whatever is wrong with it.
        raise RegistryError(
            f"{store} is no skops file: {error}", hint="The model was not loaded. Train again to replace it."
        ) from error

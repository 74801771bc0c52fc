"""A stored model is checked before our code loads it: its files are those registered, and its types are allowed.

MLflow stores the list of trusted types IN the model, which is no safeguard: whoever can change the model can change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from mlplatform.errors import ArtifactError

DIGEST_TAG = "artifact_digest"
_PREFIXES = ("sklearn.", "numpy.", "scipy.sparse.", "builtins.")
# Of the prefixes above, what could run code of somebody's choosing.
_NEVER = (
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "builtins.__import__",
    "builtins.getattr",
    "builtins.open",
)


def digest(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of all files of a model.

    Args:
        folder: The model's folder.

    Raises:
        ArtifactError: If the folder holds no file.
    """
    total = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "registered_model_meta")
    if not files:
        raise ArtifactError(f"{folder} holds no model.", hint="Was the artifact store emptied?")
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
        ArtifactError: Naming what differs; the model has not been loaded.
    """
    if not expected_digest:
        raise ArtifactError(
            f"No digest is recorded for the model in {folder}.", hint="Only models trained by the platform are loaded."
        )
    found = digest(folder)
    if found != expected_digest:
        raise ArtifactError(
            f"The files of the model in {folder} are not those registered: digest {found[:12]} instead of "
            f"{expected_digest[:12]}.",
            hint="The model was not loaded. Find out who changed its files; train again to replace it.",
        )
    check_types(folder, trusted)


def check_types(folder: Path, trusted: Collection[str] = ()) -> None:
    """Refuse a model that is pickled, or that holds types outside the allow-list.

    Raises:
        ArtifactError: Naming the files or types.
    """
    pickles = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in (".pkl", ".pickle", ".joblib")
    ]
    if pickles:
        raise ArtifactError(
            f"The model in {folder} is pickled ({', '.join(pickles)}), which runs code when it is loaded.",
            hint="Log it in the skops format.",
        )
    stores = sorted(folder.rglob("*.skops"))
    if not stores:
        raise ArtifactError(f"The model in {folder} holds no skops file.", hint="Log it in the skops format.")
    for store in stores:
        refused = [name for name in untrusted_types(store) if not allowed(name, trusted)]
        if refused:
            raise ArtifactError(
                f"The model in {folder} holds types that are not allowed: {', '.join(refused)}.",
                hint="If the use case needs them, list them in its Trainer's trusted_types.",
            )


def allowed(name: str, trusted: Collection[str]) -> bool:
    """Tell whether a type may occur in a model."""
    return name in trusted or (name.startswith(_PREFIXES) and name not in _NEVER)


def untrusted_types(store: Path) -> list[str]:
    """Return the types in a skops file that skops itself does not vouch for."""
    from skops.io import get_untrusted_types

    return list(get_untrusted_types(file=store))

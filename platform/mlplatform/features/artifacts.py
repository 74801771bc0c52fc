"""A stored model is checked before our code loads it: its files are those judged, and they hold nothing that runs.

MLflow stores how a model is loaded, and the list of trusted types, IN the model, which is no safeguard: whoever can
change the model can change it. So nothing is taken for harmless because of a name or a suffix: what may be there is
listed (`model_formats`), and each file is looked into (`file_contents`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlplatform.errors import RegistryError
from mlplatform.features.file_contents import check_yaml
from mlplatform.features.model_formats import (
    FORMATS,
    FUNCTION,
    OF_EVERY_FUNCTION,
    PACKAGES,
    RAW_MODEL,
    RECALIBRATED,
    WRAPPERS,
    Allows,
    ModelFormat,
    matches,
)

DIGEST_TAG = "artifact_digest"
_DESCRIPTION = "MLmodel"
_COPY = "metadata/MLmodel"
_EXAMPLE = "saved_input_example_info"
_EXAMPLES = ("input_example.json", "serving_input_example.json")
_MOST_FILES = 1000


def digest(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of all files of a model.

    Args:
        folder: The model's folder.

    Raises:
        RegistryError: If the folder holds no file, or something that is neither a file nor a folder.
    """
    total = hashlib.sha256()
    files = {name: path for name, path in files_in(folder).items() if path.name != "registered_model_meta"}
    if not files:
        raise RegistryError(f"{folder} holds no model.", hint="Was the artifact store emptied?")
    for name, path in sorted(files.items(), key=lambda item: Path(item[0])):
        total.update(name.encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def verify(folder: Path, expected_digest: str, trusted: Collection[str] = (), *, of: str = "registered") -> None:
    """Refuse a model whose files are others than those on record, or that holds what we do not load.

    Args:
        folder: The model's folder, downloaded.
        expected_digest: The digest on record.
        trusted: Further types that may occur, fully qualified.
        of: Which files the digest is of: those registered, or those that a decision judged.

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
            f"The files of the model in {folder} are not those {of}: digest {actual[:12]} instead of "
            f"{expected_digest[:12]}.",
            hint="The model was not loaded. Find out who changed its files; train again to replace it.",
        )
    check_files(folder, trusted)


@contextmanager
def named(folder: Path, name: str) -> Iterator[None]:
    """Let errors name the model by what it is called, in the place of the folder that it was downloaded into.

    Raises:
        RegistryError: As it comes, renamed.
    """
    try:
        yield
    except RegistryError as error:
        raise RegistryError(error.message.replace(str(folder), name), hint=error.hint) from error.__cause__


def check_files(folder: Path, trusted: Collection[str] = ()) -> None:
    """Refuse a model that is not stored in one of the ways that we load; nothing of it is loaded.

    Args:
        folder: The model's folder: with its features around it, or the model alone.
        trusted: Further types that may occur, fully qualified.

    Raises:
        RegistryError: Naming the files, settings or types.
    """
    layers: list[tuple[Path, dict[str, Path], Sequence[ModelFormat]]] = []
    files = files_in(folder)
    for place, around in ((RAW_MODEL, PACKAGES), (RECALIBRATED, WRAPPERS)):
        within = {name.removeprefix(f"{place}/"): path for name, path in files.items() if name.startswith(f"{place}/")}
        if within:
            outside = {name: path for name, path in files.items() if not name.startswith(f"{place}/")}
            layers.append((folder, outside, around))
            folder, files = folder / place, within
    layers.append((folder, files, FORMATS))
    for path, found, formats in layers:
        _refuse_strange(path, found, formats)
    for path, found, formats in layers:
        _check_model(path, found, formats, trusted)


def files_in(folder: Path) -> dict[str, Path]:
    """Return the files of a model by their paths within it.

    Raises:
        RegistryError: If there is something that is neither a file nor a folder, such as a link out of it, or more
            files than any model has.
    """
    files = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    if len(files) > _MOST_FILES:
        raise RegistryError(
            f"The model in {folder} consists of more than {_MOST_FILES} files.", hint="It was not loaded."
        )
    return files


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            else:
                raise RegistryError(
                    f"{entry.name!r} of the model in {folder} is a link, or no file at all.",
                    hint="The model was not loaded: its files lie in its own folder. Train again to replace it.",
                )


def _refuse_strange(folder: Path, files: Mapping[str, Path], formats: Sequence[ModelFormat]) -> None:
    """Refuse files that no model of ours has, wherever MLmodel says that they are used."""
    strange = [name for name in sorted(files) if all(item.look_of(name) is None for item in formats)]
    if strange:
        raise RegistryError(
            f"The model in {folder} holds files that may be pickled or code ({', '.join(strange[:10])}); loading them "
            "would run it.",
            hint="Log it in a format that is loaded (skops, or a booster's own text), without code_paths and extra "
            "files.",
        )


def _check_model(
    folder: Path, files: Mapping[str, Path], formats: Sequence[ModelFormat], trusted: Collection[str]
) -> None:
    """Check one folder with an MLmodel: what it says, which files there are, and what they hold."""
    if _DESCRIPTION not in files:
        raise RegistryError(f"The model in {folder} has no {_DESCRIPTION}.", hint="Was its folder copied in part?")
    found = _format_of(files[_DESCRIPTION], formats, trusted)
    if _COPY in files and _format_of(files[_COPY], formats, trusted) is not found:
        raise RegistryError(f"{_COPY} of the model in {folder} describes another model.", hint="It was not loaded.")
    lacking = [pattern for pattern in found.files if not any(matches(pattern, name) for name in files)]
    if lacking:
        raise RegistryError(
            f"The model in {folder} has no {', '.join(lacking)}, which belongs to {found.name}.",
            hint=f"Log it again, as {found.name}.",
        )
    for name, path in sorted(files.items()):
        look = found.look_of(name)
        if look is None:
            raise RegistryError(
                f"The model in {folder} holds the file {name}, which is no part of {found.name}.",
                hint=f"It was not loaded. Log it again, as {found.name}.",
            )
        look(path, trusted)


def _format_of(description: Path, formats: Sequence[ModelFormat], trusted: Collection[str]) -> ModelFormat:
    """Read an MLmodel, and return the way in which the model is stored; every setting that matters is checked."""
    content = check_yaml(description)
    flavors = content.get("flavors")
    function = flavors.get(FUNCTION) if isinstance(flavors, dict) else None
    loader = function.get("loader_module") if isinstance(function, dict) else None
    found = next((item for item in formats if item.loader == loader), None)
    if not isinstance(flavors, dict) or not isinstance(function, dict) or found is None:
        raise _not_loaded(description, f"its loader is {loader!r}", formats)
    if flavors.keys() != {FUNCTION, found.flavor} - {""}:
        raise _not_loaded(description, f"its flavors are {', '.join(sorted(map(str, flavors)))}", formats)
    _check_settings(description, FUNCTION, function, {**OF_EVERY_FUNCTION, **found.function}, trusted)
    if found.flavor:
        _check_settings(description, found.flavor, flavors[found.flavor], found.settings, trusted)
    example = content.get(_EXAMPLE)
    if example is not None and not _is_example(example):
        raise _not_loaded(description, f"{_EXAMPLE} names other files than {' and '.join(_EXAMPLES)}", formats)
    return found


def _check_settings(
    description: Path, flavor: str, settings: Any, known: Mapping[str, Allows], trusted: Collection[str]
) -> None:
    if not isinstance(settings, dict):
        raise _not_loaded(description, f"its flavor {flavor} has no settings")
    for name in sorted(settings.keys() - known.keys(), key=str):
        raise _not_loaded(description, f"{flavor} has the setting {name!r}: {settings[name]!r:.100}")
    for name, allows in known.items():
        # A missing one is checked, too: MLflow's default for a format is a pickle.
        if not allows(settings.get(name), trusted):
            raise _not_loaded(description, f"{flavor} has {name}: {settings.get(name)!r:.100}")


def _is_example(example: Any) -> bool:
    if not isinstance(example, dict):
        return False
    return example.get("artifact_path") in _EXAMPLES and example.get("serving_input_path") in (None, *_EXAMPLES)


def _not_loaded(description: Path, why: str, formats: Sequence[ModelFormat] = ()) -> RegistryError:
    names = dict.fromkeys(item.name for item in formats)
    return RegistryError(
        f"The model in {description.parent} is not stored in a way that is loaded: {why} (in {description.name}).",
        hint="Loading it may run code." + (f" What is loaded: {'; '.join(names)}." if names else ""),
    )

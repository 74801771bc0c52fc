"""What a model's files hold, whatever they are called: text, YAML, JSON, or scikit-learn in the skops format.

A file is never believed by its name: a pickle is one in `model.txt`, too. Nothing here loads what it looks at.
"""

from __future__ import annotations

import json
import pickletools  # reads what a pickle says, and runs nothing  # nosec B403
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlplatform.config.yaml_file import read_yaml
from mlplatform.errors import ConfigError, RegistryError

MOST_TEXT = 2 * 1024**2
"""Bytes of a text file of a model: specs of thousands of columns have a tenth of it."""
MOST_SCHEMA = 512 * 1024**2
"""Bytes of the description of an estimator in a skops file; a large forest has a tenth of it."""
_MOST_UNPACKED = 100
"""How many times as large as the file its content may be, beyond what any small file may hold."""
_SMALL = 100 * 1024**2

_ZIP = b"PK\x03\x04"
_NUMPY = b"\x93NUMPY"
_SCHEMA = "schema.json"
_MEMBER = re.compile(r"[0-9A-Za-z_-]+\.(npy|npz|bin)")
_ENCRYPTED = 0x1
# Opcodes of a pickle that name something to call, or call it.
_CALLS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "EXT1", "EXT2", "EXT4"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def is_pickle(content: bytes) -> bool:
    """Tell whether bytes are a pickle that would call something when it is loaded.

    Examples:
        >>> import pickle
        >>> is_pickle(pickle.dumps(print)), is_pickle(pickle.dumps(print, 0)), is_pickle(b"mlflow==3.8.1")
        (True, True, False)
    """
    calls = False
    try:
        for opcode, _, _ in pickletools.genops(content):
            calls = calls or opcode.name in _CALLS
    except Exception:  # noqa: BLE001  (whatever stops the reading: it is no whole pickle, and none could be loaded)
        # A damaged end keeps nothing from having run: unpickling calls as it reads.
        return calls and content[:1] == b"\x80"
    return calls


def check_text(path: Path, *, most: int = MOST_TEXT) -> str:
    """Return a file's text.

    Args:
        path: The file.
        most: How many bytes it may have.

    Raises:
        RegistryError: If it is none, is a pickle in letters, or is larger.
    """
    size = path.stat().st_size
    if size > most:
        raise refused(path, f"has {size} bytes; a text of a model has at most {most}")
    content = path.read_bytes()
    if is_pickle(content):
        raise refused(path, "is a pickle")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise refused(path, "is no text") from None
    if _CONTROL.search(text):
        raise refused(path, "is no text")
    return text


def check_yaml(path: Path) -> dict[Any, Any]:
    """Return the mapping that a YAML file holds: plain values only, each key once, and no tags that make objects.

    Raises:
        RegistryError: If it holds anything else.
    """
    check_text(path)
    try:
        return read_yaml(path, what="mapping", expected="names and plain values").content
    except (OSError, ConfigError) as error:
        said = error.message if isinstance(error, ConfigError) else str(error)
        raise refused(path, f"is not read: {said}") from None


def check_json(path: Path, *, most: int = MOST_TEXT) -> Any:
    """Return what a JSON file holds.

    Args:
        path: The file.
        most: How many bytes it may have.

    Raises:
        RegistryError: If it is no JSON.
    """
    text = check_text(path, most=most)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"is no JSON: {error}") from None


def check_skops(path: Path) -> list[str]:
    """Look into a skops file: an archive of a description and of arrays, none of which holds Python objects.

    Returns:
        The types in it that skops itself does not vouch for.

    Raises:
        RegistryError: If it is anything else.
    """
    with path.open("rb") as file:
        begins = file.read(len(_ZIP))
    if begins != _ZIP:
        raise refused(path, "is a pickle" if begins[:1] == b"\x80" else "is no skops file")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise refused(path, f"is no skops file: {error}") from None
    return untrusted_types(path)


def untrusted_types(path: Path) -> list[str]:
    """Return the types in a skops file that skops itself does not vouch for.

    Raises:
        RegistryError: If the file cannot be read as skops.
    """
    from skops.io import get_untrusted_types

    try:
        return list(get_untrusted_types(file=path))
    except Exception as error:
        # A file that cannot even be looked into is not one that we load, whatever is wrong with it.
        raise refused(path, f"is no skops file: {error}") from error


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if names.count(_SCHEMA) != 1 or len(set(names)) != len(names):
        raise refused(path, "is no skops file: it has not one description and each array once")
    unpacked = sum(member.file_size for member in members)
    if unpacked > _SMALL + _MOST_UNPACKED * path.stat().st_size:
        raise refused(path, f"would unpack to {unpacked} bytes")
    for member in members:
        if member.flag_bits & _ENCRYPTED:
            raise refused(path, f"holds {member.filename!r}, which is encrypted")
        if member.filename == _SCHEMA:
            if member.file_size > MOST_SCHEMA:
                raise refused(path, f"describes its estimator in {member.file_size} bytes")
            continue
        with archive.open(member) as file:
            _check_member(path, member.filename, file)


def _check_member(path: Path, name: str, file: IO[bytes]) -> None:
    match = _MEMBER.fullmatch(name)
    if match is None:
        raise refused(path, f"holds the file {name!r}, which is no part of the format")
    if match[1] == "npy":
        _check_array(path, name, file)
    elif match[1] == "npz":
        _check_arrays(path, name, file.read())
    elif is_pickle(file.read()):
        raise refused(path, f"holds the pickle {name!r}")


def _check_arrays(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_array(path, f"{name}/{member.filename}", file)


def _check_array(path: Path, name: str, file: IO[bytes]) -> None:
    """Read the head of an array: one of Python objects is a pickle."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None or read(file)[2].hasobject:
        raise refused(path, f"holds the array {name!r} of Python objects, which are pickled")


def refused(path: Path, why: str) -> RegistryError:
    """Return the error about a file that is not what it should be.

    Args:
        path: The file.
        why: As the rest of a sentence that begins with it.
    """
    return RegistryError(
        f"{path.name} of the model in {path.parent} {why}.",
        hint="The model was not loaded. Find out who wrote the file; train again to replace the model.",
    )

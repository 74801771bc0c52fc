"""The two Delta jars that JVM Spark needs, from Maven Central, checked against their digests and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_MAVEN = "https://repo1.maven.org/maven2"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Jar:
    """A file on Maven Central, and what it must be."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


# They belong to pyspark 4.2 (Scala 2.13); nothing else is needed beside pyspark's own jars.
JARS = (
    Jar(
        "io/delta/delta-spark_4.2_2.13/4.4.0/delta-spark_4.2_2.13-4.4.0.jar",
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    ),
    Jar(
        "io/delta/delta-storage/4.4.0/delta-storage-4.4.0.jar",
        "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
    ),
)


def cache_folder() -> Path:
    """Return where the jars are kept: below `XDG_CACHE_HOME`, else below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform" / "jars"


def delta_jars(folder: Path | None = None) -> list[Path]:
    """Return the jars, downloading those that are not there.

    Raises:
        OSError: If a jar can be neither found nor downloaded.
        ValueError: If what was downloaded is not the jar.
    """
    kept = folder or cache_folder()
    return [_get(jar, kept) for jar in JARS]


def missing(folder: Path | None = None) -> str | None:
    """Say in one line which jars cannot be had and how to get them, or None."""
    try:
        delta_jars(folder)
    except (OSError, ValueError) as error:
        urls = " and ".join(f"{_MAVEN}/{jar.path}" for jar in JARS)
        return f"{urls} in {folder or cache_folder()}: {error}"
    return None


def _get(jar: Jar, folder: Path) -> Path:
    kept = folder / jar.name
    if kept.is_file() and _digest(kept.read_bytes()) == jar.sha256:
        return kept
    try:
        with urllib.request.urlopen(f"{_MAVEN}/{jar.path}", timeout=_TIMEOUT_SECONDS) as answer:
            content = answer.read()
    except urllib.error.URLError as error:
        raise OSError(f"{jar.name} cannot be downloaded: {error.reason}") from error
    if _digest(content) != jar.sha256:
        raise ValueError(f"{jar.name} as downloaded has the SHA-256 {_digest(content)}, not {jar.sha256}")
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed at the end: another process never finds half a jar.
    handle, part = tempfile.mkstemp(dir=folder, prefix=f".{jar.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(part).replace(kept)
    return kept


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

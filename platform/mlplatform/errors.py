"""One tree of errors: each message says what is wrong and where, and carries a hint about the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(wrong: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Return the known names closest to a wrong one, best first.

    Examples:
        >>> nearest("horizn", ["horizon", "owner"])
        ['horizon']
    """
    return difflib.get_close_matches(wrong, sorted(set(known)), n=most, cutoff=0.5)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known names, or all of them when none is near.

    Examples:
        >>> did_you_mean("champoin", ["champion", "challenger"])
        'Did you mean champion?'
    """
    names = sorted(set(known))
    close = nearest(wrong, names)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}." if names else "There are none."


class PlatformError(Exception):
    """Base of every error this library raises on purpose.

    Attributes:
        message: What is wrong, and where.
        hint: What to do next; empty when there is nothing to add.
        exit_code: What the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each front end can lay them out."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return message and hint in one text."""
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class UsageError(PlatformError, ValueError):
    """Raised when a command or call is used wrongly: an unknown use case, stage or argument."""

    exit_code = 2


class ConfigError(PlatformError, ValueError):
    """Raised when a `config.yml` or a setting does not hold what it should."""

    exit_code = 2


class InvalidNameError(PlatformError, ValueError):
    """Raised when a table, column, model or alias name is not one."""

    exit_code = 2


class IngestError(PlatformError):
    """Raised when a landed file cannot be read or is not what its source declares."""


class TableError(PlatformError, ValueError):
    """Raised when a table is missing, or a frame does not fit the table it goes to."""


class WriteConflictError(PlatformError):
    """Raised when other writers kept winning until the retries of a write were used up."""


class FeatureStoreError(PlatformError, ValueError):
    """Raised when the feature client refuses a declaration, a frame or a call."""


class FunctionError(FeatureStoreError):
    """Raised when a feature function is unknown, wrongly declared, or fails on a row."""


class LabelError(PlatformError):
    """Raised when there are no labels to work with: none is known yet, or one class is missing."""


class LeakError(PlatformError):
    """Raised when a feature table uses what was not known at the time it claims."""


class IncrementalError(PlatformError):
    """Raised when a feature table computed step by step differs from one computed at once."""


class ContractError(PlatformError):
    """Raised when a use case breaks a promise that every use case must keep."""


class RegistryError(PlatformError):
    """Raised when the model registry cannot be read or written; never means "there is no champion"."""


class MissingVersionError(RegistryError):
    """Raised when the registry answers, and says that there is no such version: asking again gives the same."""


class JobError(PlatformError):
    """Raised when a job does not exist, cannot be started, or its run cannot be read."""


class MonitorError(PlatformError):
    """Raised when data profiling of a table cannot be set up."""


class BundleError(PlatformError):
    """Raised when the bundle's files, or what it deployed, are not what the use cases say."""


class AccessError(PlatformError):
    """Raised when a privilege is unknown, or may not be granted."""


class WorkspaceUnreachableError(PlatformError):
    """Raised when a Databricks workspace does not answer, or does not know who asks; names the host and the setting."""


class ArtifactError(PlatformError):
    """Raised when a model's files are not those registered, or hold types outside the allow-list."""


class EngineError(PlatformError):
    """Raised when the Spark engine does not start or stops answering."""


class MissingDependencyError(PlatformError):
    """Raised when an optional package is needed and not installed."""


class StageError(PlatformError):
    """Raised when a stage cannot do its work; earlier stages' results stay."""


class NotPromotedError(PlatformError):
    """Raised by the command line when a gate or promotion ended without promotion."""

    exit_code = 3

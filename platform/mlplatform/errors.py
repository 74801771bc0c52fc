"""One tree of errors: each message says what is wrong and where, and carries a hint about the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_NAME, _LONGEST_NUMBER, _LONGEST_TEXT = 1000, 256, 300


def shortened(value: object, most: int = 80) -> str:
    """Return a value as it is quoted in a message; of a long one the beginning, and how long it is.

    Examples:
        >>> shortened("soon"), shortened("a" * 5_000_000, most=5)
        ("'soon'", "'aaaaa'... (5,000,000 characters)")
    """
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]!r}... ({len(value):,} characters)"
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return f"a number of {value.bit_length():,} bits"  # Python writes none so long
    text = repr(value)
    return text if len(text) <= most + 2 else f"{text[:most]}..."


def nearest(wrong: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """Return the names closest to a wrong one, best first.

    Examples:
        >>> nearest("horizn", ["horizon", "owner"])
        ['horizon']
    """
    if len(wrong) > _LONGEST_NAME:
        return []  # nobody's slip: comparing it letter by letter would only take long
    return difflib.get_close_matches(wrong, sorted(set(names)), n=most, cutoff=0.5)


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """Return a hint with the names closest to a wrong one, or with all of them if none is close.

    Examples:
        >>> did_you_mean("champoin", ["champion", "challenger"])
        'Did you mean champion?'
    """
    choices = sorted(set(names))
    close = nearest(wrong, choices)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(choices)}." if choices else "There are none."


def in_one_line(error: BaseException) -> str:
    r"""Return any error in one line, cut off where it is long.

    Examples:
        >>> in_one_line(ValueError("no such column:\n  load"))
        'ValueError: no such column: load'
    """
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return f"{type(error).__name__}: {text[:_LONGEST_TEXT]}{'...' if len(text) > _LONGEST_TEXT else ''}"


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
    """Raised when a command or call is used wrongly: an unknown use case or stage, a name or argument that is none."""

    exit_code = 2


class ConfigError(PlatformError, ValueError):
    """Raised when a `config.yml`, a setting or another file of the project does not hold what it should."""

    exit_code = 2


class TableError(PlatformError, ValueError):
    """Raised when a table is missing, or a frame does not fit the table it goes to."""


class DamagedTableError(TableError):
    """Raised when files of a table are damaged or gone: what the table holds cannot be read, or not be trusted.

    Attributes:
        table: The table's three-level name.
        file: The file, relative to the table's folder.
        last_good: The newest Delta version whose files are all whole; None: there is none.
    """

    def __init__(
        self, message: str, *, hint: str = "", table: str = "", file: str = "", last_good: int | None = None
    ) -> None:
        """Keep what is damaged beside message and hint; `of` says both."""
        super().__init__(message, hint=hint)
        self.table = table
        self.file = file
        self.last_good = last_good

    @classmethod
    def of(cls, table: str, file: str, what: str, *, last_good: int | None = None) -> DamagedTableError:
        """Return the error that says what is damaged, and which commands lead out.

        Args:
            table: The table's three-level name.
            file: The file, relative to the table's folder.
            what: What is wrong with it, as in "is gone".
            last_good: The newest Delta version whose files are all whole; None: there is none.

        Examples:
            >>> print(DamagedTableError.of("dev.churn.gold_spine", "a.parquet", "is gone", last_good=3))
            The table dev.churn.gold_spine is damaged: a.parquet is gone; its last good version is 3.
            Hint: See all that is damaged: mlplatform doctor --data churn; then mend it: mlplatform repair churn
        """
        whole = "no version of it is whole" if last_good is None else f"its last good version is {last_good}"
        schema = table.split(".")[1] if "." in table else ""
        # The platform's own tables belong to no single use case.
        name = schema if schema and not schema.endswith("ops") else "USE_CASE"
        return cls(
            f"The table {table} is damaged: {file} {what}; {whole}.",
            hint=f"See all that is damaged: mlplatform doctor --data {name}; then mend it: mlplatform repair {name}",
            table=table,
            file=file,
            last_good=last_good,
        )


class FeatureStoreError(PlatformError, ValueError):
    """Raised when the feature client refuses a declaration, a function, a frame or a call."""


class RegistryError(PlatformError):
    """Raised when the registry cannot be read or written, or a model's files are not those registered.

    It never means "there is no champion".
    """


class LostRegistryError(RegistryError):
    """Raised when there was a registry, and its database is gone, empty or damaged: never taken for a new one."""


class MissingVersionError(RegistryError):
    """Raised when the registry answers, and says that there is no such version: asking again gives the same."""


class StageError(PlatformError):
    """Raised when a stage cannot do its work; earlier stages' results stay."""


class NotFiniteError(StageError):
    """Raised when a model predicts what is no finite number, where one is needed."""


class LabelError(PlatformError):
    """Raised when there are no labels to work with: none is known yet, or one class is missing."""


class ContractError(PlatformError):
    """Raised when a use case breaks a promise that every use case must keep.

    Among them: a feature table uses only what was known at the time it claims, and one that is computed step by step
    equals one that is computed at once.
    """


class DeploymentError(PlatformError):
    """Raised when a job, a monitor, a privilege or a file of the bundle does not exist, or cannot be set up."""


class UnavailableError(PlatformError):
    """Raised when an engine or a workspace does not answer, or other writers kept winning: later it may work."""


class MissingDependencyError(PlatformError):
    """Raised when an optional package is needed and not installed."""


class NotPromotedError(PlatformError):
    """Raised by the command line when a gate or promotion ended without promotion."""

    exit_code = 3


class BreakingChangeError(PlatformError):
    """Raised by the command line when a plan holds what changes a model that is in use, or cannot be computed."""

    exit_code = 4

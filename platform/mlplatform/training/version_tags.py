"""The tags by which a version says what it was trained on."""

from __future__ import annotations

from datetime import datetime

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.errors import StageError
from mlplatform.protocols.registry import ModelVersion

KEY_TAG = "training_key"
TRAINED_AS_OF_TAG = "trained_as_of"
TRAINED_THROUGH_TAG = "trained_through"
LEARNED_EVENTS_TAG = "learned_events_through"
"""The newest prediction time of a row that was fitted on before its label was mature; not set without any."""
FITTED_AS_OF_TAG = "fitted_as_of"
"""Of a version that was made of another one without a fit: as of when that one was trained."""
TRAINING_ROWS_TAG, KNOWN_ROWS_TAG = "training_rows", "known_rows"


def trained_as_of(version: ModelVersion) -> datetime:
    """Return the time as of which a version was trained: it may know whatever was known by then.

    A version that does not say so was trained before it was registered.
    """
    text = version.tags.get(TRAINED_AS_OF_TAG)
    return parse_as_of(text) if text else version.created_at


def fitted_as_of(version: ModelVersion) -> datetime:
    """Return the time as of which a version's estimator was fitted: earlier than `trained_as_of` where it was moved.

    Raises:
        StageError: If the version does not say as of when it was trained.
    """
    return time_of(version, FITTED_AS_OF_TAG if FITTED_AS_OF_TAG in version.tags else TRAINED_AS_OF_TAG)


def time_of(version: ModelVersion, tag: str) -> datetime:
    """Return the time that a tag says.

    Args:
        version: The version.
        tag: `TRAINED_AS_OF_TAG`: labels known by then were trained on. `TRAINED_THROUGH_TAG`: the newest prediction
            time that was fitted on.

    Raises:
        StageError: If the version does not have the tag.
    """
    text = version.tags.get(tag)
    if not text:
        raise StageError(
            f"Version {version.version} of {version.name} lacks the tag {tag}: what it was trained on is not known.",
            hint="Only versions that the platform trained can be compared; train a new one.",
        )
    return parse_as_of(text)


def learned_events(version: ModelVersion, horizon: Duration) -> tuple[datetime, datetime] | None:
    """Return the prediction times, the first excluded, of which a version learned events before labels were mature.

    Args:
        version: The version.
        horizon: The label's.

    Returns:
        None where it learned from mature rows alone.
    """
    text = version.tags.get(LEARNED_EVENTS_TAG)
    return (horizon.before(fitted_as_of(version)), parse_as_of(text)) if text else None

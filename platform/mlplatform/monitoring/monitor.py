"""What a use case may say about its monitoring; the default watches every input and the prediction."""

from __future__ import annotations

from typing import ClassVar

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts

_CRITICAL = frozenset({alerts.PERFORMANCE, alerts.CALIBRATION, alerts.WORSE_THAN_BASELINE, alerts.MONITOR})


class Monitor:
    """Base class of a use case's monitoring.

    Attributes:
        ignored_columns: Inputs whose drift is expected and means nothing (a running number, say).
        slices: Columns of the label spine by whose values realised performance is measured apart, beside the whole.
    """

    ignored_columns: ClassVar[tuple[str, ...]] = ()
    slices: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the use case's limits."""
        self.settings = settings

    def severity(self, kind: str) -> str:
        """Return how urgent an alert of a kind is: `warning` (look at it) or `critical` (act).

        Args:
            kind: One of `mlplatform.monitoring.alerts.KINDS`.
        """
        return "critical" if kind in _CRITICAL else "warning"

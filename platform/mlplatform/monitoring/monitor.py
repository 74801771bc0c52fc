"""What a use case may say about its monitoring; the default watches every input and the prediction."""

from __future__ import annotations

from typing import ClassVar

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts

_CRITICAL = frozenset(
    {
        alerts.PERFORMANCE,
        alerts.CALIBRATION,
        alerts.WORSE_THAN_BASELINE,
        alerts.IMMATURE_CALIBRATION,
        alerts.IMMATURE_PERFORMANCE,
        alerts.CANARY,
        alerts.MONITOR,
    }
)


class Monitor:
    """Base class of a use case's monitoring.

    Terms are explained in docs/glossary.md.

    Attributes:
        ignored_columns: Inputs whose drift is expected and means nothing (a running number, say).
        slices: Columns of the label spine by whose values performance is measured apart, realised and immature, beside
            the whole.

    Examples:
        >>> from mlplatform.monitoring import alerts
        >>> class LoanMonitor(Monitor):
        ...     ignored_columns = ("loan_id",)
        ...     slices = ("region",)
        ...
        ...     def severity(self, kind):
        ...         return "critical" if kind == alerts.DRIFT else super().severity(kind)
        >>> from mlplatform.config.gate import GateSettings
        >>> from mlplatform.config.label import LabelSettings
        >>> from mlplatform.config.settings import UseCaseSettings
        >>> monitor = LoanMonitor(UseCaseSettings(owner="risk", label=LabelSettings(horizon="1 year"),
        ...                                       gate=GateSettings(floor=0.6)))
        >>> monitor.severity(alerts.DRIFT), monitor.severity(alerts.WINDOW_SHIFT)
        ('critical', 'warning')
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

"""What the monitor writes of performance: records of one window, appended exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from mlplatform.monitoring.late_labels import Reconciled
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PERFORMANCE_METRICS, PerformanceRecord
from mlplatform.protocols.tables import Transaction


@dataclass(frozen=True)
class RecordBase:
    """What the records of one window have in common."""

    context: StageContext
    basis: str
    alias: str
    version: int | None
    start: datetime
    end: datetime
    counted: Reconciled | None = None
    fingerprint: str | None = None
    slice: str | None = None

    def records(self, measured: Sequence[PerformanceMetric], count: int) -> list[PerformanceRecord]:
        """Return the records of metrics that were measured on so many rows."""
        counted = self.counted
        return [
            PerformanceRecord(
                use_case=self.context.name,
                as_of=self.context.as_of,
                basis=self.basis,
                alias=self.alias,
                model_version=self.version,
                window_start=self.start,
                window_end=self.end,
                slice=self.slice,
                rows=count,
                fingerprint=self.fingerprint,
                **(asdict(counted) if counted else {}),
                coverage=counted.coverage if counted else 0.0,
                **asdict(metric),
            )
            for metric in measured
        ]


def append(context: StageContext, part: str, records: list[PerformanceRecord]) -> None:
    """Append records of one part of the monitoring at `as_of`, once however often it is run."""
    if records:
        once = Transaction(f"monitor:{context.name}:{context.as_of.isoformat()}:{part}")
        PERFORMANCE_METRICS.append(context.ws, context.namespace, records, transactions=[once])

"""What a canary came to: a challenger whose decisions did surely worse than the champion's is not promoted."""

from __future__ import annotations

from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck


class NotWorseAsCanary(GateCheck):
    """As a canary, the challenger did not do surely worse than the champion beside it; there is a canary to look at.

    What is looked at is what the monitor recorded of it last: the gate compares nothing anew.
    """

    name = "canary"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at the record."""
        record = evidence.canary
        if record is None:
            return self.skipped("it has decided for nobody yet whose outcome was looked at")
        if record.value is None or record.low is None or record.high is None:
            return self.skipped(f"its decisions could not be compared yet: {record.note}")
        detail = (
            f"decisions as a canary, as of {record.as_of:%Y-%m-%d}: gain {record.value:+.4f} "
            f"[{record.low:+.4f}, {record.high:+.4f}] on {record.rows} labels, {record.note}"
        )
        return self.verdict(not record.violated, detail, record.high, 0.0, gain=record.value, low=record.low)

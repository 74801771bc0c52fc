"""Data profiling on the local workspace: the platform's own metrics tables are all there is."""

from __future__ import annotations

from mlplatform.naming import ObjectName
from mlplatform.protocols.operations import InferenceProfile

NOT_HERE = "not available here"


class LocalMonitors:
    """Profiles nothing; see `mlplatform.protocols.operations.Monitors`."""

    offered = False

    def ensure(self, table: ObjectName | str, profile: InferenceProfile) -> str:
        """Say that there is no data profiling here."""
        ObjectName.parse(table)
        del profile
        return NOT_HERE

    def refresh(self, table: ObjectName | str) -> str:
        """Say that there is no data profiling here."""
        ObjectName.parse(table)
        return NOT_HERE

"""Settings of the tables' maintenance."""

from __future__ import annotations

from pydantic import Field

from mlplatform.config.base import Settings
from mlplatform.config.values import LONGEST_DAYS, MOST


class MaintenanceSettings(Settings):
    """When small files are put together, and how long old versions of the tables are kept."""

    small_files: int = Field(
        default=50, ge=2, le=MOST, description="A table with more small files than this has them put together."
    )
    target_mb: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="At home: size that a file grows to by compaction, in megabytes; null: 32. A local merge rewrites "
        "whole files: the smaller they are, the less a small change costs. Databricks chooses by the table's size.",
    )
    keep_days: int = Field(
        default=30,
        ge=1,
        le=LONGEST_DAYS,
        description="How long a version of a table can be read after it was the newest. Versions that champion, "
        "previous_champion or challenger were trained on are kept longer.",
    )
    keep_unused_days: int = Field(
        default=90,
        ge=1,
        le=LONGEST_DAYS,
        description="How long a table stays of which a newer version is written, and that no model in use reads.",
    )
    after_runs: bool = Field(
        default=True,
        description="At home: put small files together at the end of a run, too. Nothing is removed then.",
    )

    @property
    def target_size(self) -> int | None:
        """Size that a file grows to, in bytes; None: the workspace's own."""
        return None if self.target_mb is None else self.target_mb * 1024**2

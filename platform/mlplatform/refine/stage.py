"""Refine: new bronze rows become silver or quarantined rows; then the gold label spine and its known labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.kept import KeptParts, nothing
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.gold_refining import gold_tables, refine_gold
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.silver_refining import NAME, bring_up, create_silver, tables_of
from mlplatform.refine.spine import LabelSpine


@dataclass(frozen=True)
class Refine(Stage[RefineDetails]):
    """Bronze becomes silver, silver becomes gold.

    Attributes:
        silver: The silver tables.
        spine: The label spine.
        kept: Gives what is computed on by earlier code, for models in use.
        rebuild: Silver tables that are refined again whole, by their bare names.
    """

    name: ClassVar[str] = NAME

    silver: tuple[type[SilverTable], ...]
    spine: LabelSpine
    kept: KeptParts = nothing
    rebuild: tuple[str, ...] = ()

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the bronze tables."""
        return tuple(dict.fromkeys(names.bronze(silver.source.name) for silver in self.silver))

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the silver tables, their quarantines, and the gold tables."""
        silver = (table for silver in self.silver for table in tables_of(silver, names))
        return (*silver, *(names.gold(gold.name) for gold in gold_tables(self.spine)))

    def create_tables(self, context: StageContext) -> None:
        """Create the silver, quarantine and gold tables if they do not exist."""
        for silver in self.silver:
            create_silver(context, silver())
        for gold in gold_tables(self.spine):
            gold.create(context)

    def run(self, context: StageContext) -> StageResult[RefineDetails]:
        """Bring silver and gold up to `as_of`.

        Raises:
            StageError: If a table's SQL cannot be computed.
        """
        result = StageResult(details=RefineDetails(), rows_in=0, rows_out=0, rows_quarantined=0)
        for silver in self.silver:
            whole = context.namespace.silver(silver.name).name in self.rebuild
            bring_up(context, silver(), result, whole=whole)
        for kept in self.kept(context):
            with kept.installed():
                for silver in kept.silver:
                    bring_up(kept.context, silver(), result)
        changed = [refine_gold(context, gold, result) for gold in gold_tables(self.spine)]
        if not result.rows_in and not any(changed):
            result.skipped = "nothing new in bronze, and no label became known"
        return result

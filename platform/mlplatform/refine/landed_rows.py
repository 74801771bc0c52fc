"""Landed rows of a silver table as Spark reads them: by the table's SQL, with what each fails of its expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from mlplatform.errors import StageError, TableError
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.expectations import REASONS, over_landed, with_reasons
from mlplatform.refine.finite import expect_finite, with_nulls
from mlplatform.refine.silver import SilverTable, as_read
from mlplatform.types import spark_type

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

    from mlplatform.columns import Column

OURS = "__ours"
LANDED_TEXT = "__landed_text"
# No column of a table has such a name; the expectations know it as `raw`.
_RAW = "__raw"


@dataclass(frozen=True)
class LandedRows:
    """Rows of some files in a bronze table, as a silver table reads them.

    Attributes:
        ws: The workspace.
        silver: The silver table's declaration.
        target: The silver table.
        bronze: The bronze table.
        version: Its Delta version.
        files: The files.
    """

    ws: Workspace
    silver: SilverTable
    target: ObjectName
    bronze: ObjectName
    version: int
    files: Sequence[str]

    @contextmanager
    def judged(self) -> Iterator[Frame]:
        """Compute the rows once: typed columns and provenance.

        Beside them stand:

        - `__ours`: whether the row is the table's;
        - `_reasons`: the names of the expectations that it fails, empty where it passes all;
        - `__landed_text`: of those that fail, the row as it landed, as JSON.

        Raises:
            StageError: If an expression of the table cannot be computed.
        """
        from pyspark.errors import PySparkException

        with ExitStack() as stack:
            try:
                rows = stack.enter_context(self.ws.frames.staged(self._judged()))
            except PySparkException as error:
                self._raise_unreadable(error)
            except TableError as error:
                if isinstance(error.__cause__, PySparkException):
                    self._raise_unreadable(error.__cause__)
                raise
            yield rows

    @contextmanager
    def landed_texts(self, rows: Frame) -> Iterator[Frame]:
        """Read rows as they landed.

        Args:
            rows: Their files and numbers.

        Yields:
            File, number and `__landed_text` of each.
        """
        ids = self.ws.frames.to_spark(rows.select(FILE, ROW))
        texts = self._landed().join(ids, on=[FILE, ROW], how="left_semi").select(FILE, ROW, self._text())
        with self.ws.frames.staged(texts) as frame:
            yield frame

    def _landed(self) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        rows = self.ws.tables.read(self.bronze, version=self.version)
        return rows.where(F.col(FILE).isin(list(self.files)))

    def _raw(self) -> SparkColumn:
        from pyspark.sql import functions as F  # noqa: N812

        return F.struct(*(F.col(quote(column)) for column in self.silver.source.columns))

    def _text(self) -> SparkColumn:
        from pyspark.sql import functions as F  # noqa: N812

        return F.to_json(self._raw()).alias(LANDED_TEXT)

    def _judged(self) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        silver, landed = self.silver, self._landed()
        ours = F.lit(True) if silver.where is None else F.coalesce(F.expr(silver.where), F.lit(False))
        typed = landed.select(
            *(expression.alias(f"t_{name}") for name, expression in silver.select().items()),
            self._raw().alias(_RAW),
            ours.alias(OURS),
            *(F.col(column) for column in (FILE, ROW, AVAILABLE_AT)),
        )
        kinds = dict(typed.dtypes)
        # Two steps: landed and typed names may differ in case only, which Spark does not tell apart.
        typed = typed.select(
            *(_typed(f"t_{column.name}", column, kinds).alias(column.name) for column in silver.columns),
            *(F.col(column) for column in (_RAW, OURS, FILE, ROW, AVAILABLE_AT)),
        )
        typed = with_nulls(typed, only=[column.name for column in silver.columns if column.not_finite == "null"])
        expectations = [over_landed(expectation, _RAW) for expectation in silver.all_expectations()]
        judged = with_reasons(typed, [*expectations, *expect_finite(typed)])
        fails = F.col(OURS) & (F.col(REASONS) != "")
        return judged.select(
            *(F.col(quote(column.name)) for column in silver.columns),
            *(F.col(column) for column in (FILE, ROW, AVAILABLE_AT, OURS, REASONS)),
            F.when(fails, F.to_json(F.col(_RAW))).alias(LANDED_TEXT),
        )

    def _raise_unreadable(self, error: Exception) -> NoReturn:
        reason = str(error).strip().splitlines()[0]
        raise StageError(
            f"{self.target.name} cannot be read from {self.bronze}: {reason}",
            hint=f"Nothing was written. Look at the SQL of {type(self.silver).__name__}'s columns and expectations: "
            + "; ".join(f"{column.name}: {column.sql}" for column in self.silver.columns if column.sql),
        ) from error


def _typed(name: str, column: Column, kinds: Mapping[str, str]) -> SparkColumn:
    """Return a column of the typed rows.

    What has no type, as a NULL, takes the declared one: no file can hold it. A text takes it, too, where another type
    is declared: as texts, two ways to write one number or time would be two keys.
    """
    from pyspark.sql import functions as F  # noqa: N812

    kind = column.field().type
    if kinds[name] == "void":
        return F.col(name).cast(spark_type(kind))
    if kinds[name].startswith(("string", "varchar", "char")) and spark_type(kind) != "string":
        return F.expr(as_read(name, kind))
    return F.col(name)

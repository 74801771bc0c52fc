"""The embedded feature client: the real client's methods and keyword arguments, over local Delta tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from mlplatform import stopping
from mlplatform.errors import FeatureStoreError
from mlplatform.features.by_halves import all_of_them, predicting_what_it_can
from mlplatform.workspace.local import model_logging, scoring, staging
from mlplatform.workspace.local.feature_frames import FrameExchange, rows_in
from mlplatform.workspace.local.feature_specs import LocalFeatureSpecs
from mlplatform.workspace.local.feature_tables import OpenDeltaTable, open_tables
from mlplatform.workspace.local.lookup_sources import Sources
from mlplatform.workspace.local.parquet_rows import ParquetRows
from mlplatform.workspace.local.training_set import Engine, LocalTrainingSet
from mlplatform.workspace.shared import model_store
from mlplatform.workspace.shared.feature_client import FeatureClientBase
from mlplatform.workspace.shared.feature_frames import Rows, frame_in
from mlplatform.workspace.shared.frames import is_lazy
from mlplatform.workspace.shared.model_logging import log_derived, refusals_in_our_words
from mlplatform.workspace.shared.scoring import BatchScoring, Environment, ScoredFrame

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.tables import FrameLike
    from mlplatform.workspace.local.functions import LocalFunctions
    from mlplatform.workspace.local.registry import LocalRegistry
    from mlplatform.workspace.local.tables import LocalTables
    from mlplatform.workspace.shared.model_logging import ModelToLog
    from mlplatform.workspace.shared.training_set import Declaration

MEMORY_LIMIT = "4GB"
RowsToScore = pa.Table | ParquetRows


class LocalFeatureClient(FeatureClientBase[RowsToScore, OpenDeltaTable, LocalTrainingSet]):
    """The feature client of the local workspace.

    Attributes:
        memory_limit: What DuckDB may hold in memory before it spills to disk, as in `4GB`.
    """

    training_set_type = LocalTrainingSet

    def __init__(
        self,
        *,
        tables: LocalTables,
        registry: LocalRegistry,
        functions: LocalFunctions,
        specs: Path,
        scratch: Callable[[], Path],
        spark: Callable[[], SparkSession],
        prefix: str = "",
    ) -> None:
        """Take the parts of a local workspace.

        Args:
            tables: Its tables.
            registry: Its registered models.
            functions: Its registered functions.
            specs: The folder of its feature specs.
            scratch: Gives a folder for temporary files, emptied when the workspace is closed.
            spark: Gives the Spark session.
            prefix: What the workspace puts before the names of schemas.
        """
        super().__init__(
            tables=tables,
            registry=registry,
            functions=functions,
            specs=LocalFeatureSpecs(specs),
            scratch=scratch,
            prefix=prefix,
        )
        self._delta_tables = tables
        self._local_registry = registry
        self._exchange = FrameExchange(scratch, spark)
        self.memory_limit: str | None = MEMORY_LIMIT

    def real_client(self) -> NoReturn:
        """Refuse: the feature client is embedded.

        Raises:
            FeatureStoreError: Always.
        """
        raise FeatureStoreError(
            "The local workspace has no FeatureEngineeringClient: its feature client is embedded.",
            hint="Open a Databricks workspace for it; what ws.fe offers works in both.",
        )

    def build_model_env(self, model_uri: str, save_path: str) -> NoReturn:
        """Refuse: models are scored in this very environment.

        Raises:
            FeatureStoreError: Always.
        """
        del save_path
        raise FeatureStoreError(
            f"No environment is built for {model_uri} here: the local workspace scores in its own.",
            hint="Build it on Databricks, where score_batch(prebuilt_env_uri=...) takes it.",
        )

    def _rows(self, df: Any, *, of: str) -> AbstractContextManager[Rows]:
        return rows_in(self._delta_tables.frames, df, of=of)

    def _frame(self, df: Any, *, of: str) -> RowsToScore:
        if isinstance(df, ParquetRows):
            return df
        if is_lazy(df):
            return ParquetRows.of(self._delta_tables.frames.file_of(df))
        return frame_in(df, of=of)

    def _open(self, names: Iterable[str]) -> dict[str, OpenDeltaTable]:
        return open_tables(self._delta_tables, names)

    def _training_set(
        self, frame: RowsToScore, declaration: Declaration, tables: Mapping[str, OpenDeltaTable]
    ) -> LocalTrainingSet:
        engine = Engine(tables=self._delta_tables, exchange=self._exchange, memory_limit=self.memory_limit)
        recorded = {item.table_name: tables[item.table_name] for item in declaration.spec.tables}
        return LocalTrainingSet(engine, frame, declaration, recorded)

    def _log(self, request: ModelToLog, training_set: LocalTrainingSet) -> ModelInfo:
        with self._scratch_folder() as folder:
            return model_logging.log_model(self._local_registry, folder, request, training_set)

    def _log_derived(self, package: Path, name: str, original: Path, registered_model_name: str) -> ModelInfo:
        self._local_registry.activate()
        return log_derived(
            self._local_registry,
            package,
            name,
            original,
            refusals=refusals_in_our_words,
            registered_model_name=registered_model_name,
            # A registration is immediate here.
            await_registration_for=0,
        )

    def _check_environment(self, environment: Environment) -> None:
        if environment.prebuilt_env_uri is not None:
            raise FeatureStoreError(
                f"The environment {environment.prebuilt_env_uri} is not used here: the local workspace scores in its "
                "own.",
                hint="Leave prebuilt_env_uri out; on Databricks it takes what build_model_env made.",
            )
        if environment.env_manager != "local":
            raise FeatureStoreError(
                f"env_manager {environment.env_manager!r} is not supported here.", hint="Use 'local'."
            )

    def _scored(self, request: BatchScoring[RowsToScore, OpenDeltaTable]) -> DataFrame:
        return self._exchange.to_spark(self._batches(request, self._predict(request)), request.plan.schema)

    def _scored_arrow(self, request: BatchScoring[RowsToScore, OpenDeltaTable]) -> pa.Table:
        return pa.Table.from_batches(list(self._batches(request, self._predict(request))), schema=request.plan.schema)

    @contextmanager
    def _rows_to_score(self, frame: FrameLike, keys: Sequence[str]) -> Iterator[ParquetRows]:
        with self._delta_tables.frames.staged_files(frame, order_by=keys) as folder:
            yield ParquetRows.of(staging.only_file(folder))

    def _scored_frame(self, request: BatchScoring[RowsToScore, OpenDeltaTable], wanted: ScoredFrame) -> Frame:
        model = self._predict(request)
        predict = predicting_what_it_can(model, stopping.check, wanted.may_fail)
        # With a reference value in the place of its own, any row may be one that the model has never seen.
        again = predicting_what_it_can(model, stopping.check, all_of_them)
        folder = request.scratch / "scored"
        folder.mkdir()
        batches = self._batches(request, predict, wanted.batch_rows)
        written = scoring.score_into(folder / "rows.parquet", request.plan, batches, again, wanted)
        if isinstance(request.frame, ParquetRows) and written != request.frame.num_rows:
            raise FeatureStoreError(
                f"{request.model.uri} scored {written} of {request.frame.num_rows} rows.", hint="Report this."
            )
        return self._delta_tables.frames.of_staged(folder)

    def _predict(self, request: BatchScoring[RowsToScore, OpenDeltaTable]) -> scoring.Predict:
        model, params = model_store.load_model(request.model), request.environment.params

        def predict(rows: Any) -> Any:
            return model.predict(rows, params=dict(params)) if params else model.predict(rows)

        return predict

    def _batches(
        self,
        request: BatchScoring[RowsToScore, OpenDeltaTable],
        predict: scoring.Predict,
        batch_rows: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        sources = Sources(
            tables={name: table.handle for name, table in request.tables.items()},
            functions=request.functions,
            scratch=request.scratch,
            spill=self._delta_tables.scratch,
            memory_limit=self.memory_limit,
        )
        at_once = scoring.rows_at_once(len(request.plan.columns), batch_rows)
        return scoring.score(request.plan, request.frame, predict, sources, batch_rows=at_once)

"""The embedded feature client: the real client's methods and keyword arguments, over local Delta tables."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.declaration import declare, looked_up, split
from mlplatform.features.named_spec import NamedSpec, check_same, inferred_sources, spelled_out
from mlplatform.features.training_set import sources_needed
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import Lineage, frame_rule
from mlplatform.workspace.local import model_logging
from mlplatform.workspace.local.feature_frames import FrameExchange
from mlplatform.workspace.local.feature_specs import LocalFeatureSpecs
from mlplatform.workspace.local.feature_tables import open_tables
from mlplatform.workspace.local.lookup_engine import Sources
from mlplatform.workspace.local.scoring import BatchScoring
from mlplatform.workspace.local.training_set import Engine, LocalTrainingSet
from mlplatform.workspace.shared import feature_writes, model_store
from mlplatform.workspace.shared.feature_frames import ArrowRows, frame_in
from mlplatform.workspace.shared.feature_methods import OnlySome
from mlplatform.workspace.shared.model_store import Verify

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from pyspark.sql import DataFrame

    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import TableInfo
    from mlplatform.workspace.local.workspace import LocalWorkspace

MEMORY_LIMIT = "4GB"


class LocalFeatureClient(OnlySome):
    """Feature tables, training sets, and models that carry their feature spec.

    See `mlplatform.protocols.feature_client.FeatureClient`. Frames go in as Spark DataFrames, `pyarrow.Table` or
    pandas frames. Arguments that only tune the real client are taken, and change nothing here.

    Attributes:
        verify_model: Called with a model's files before anything in them is deserialised; raises to refuse it.
        memory_limit: What DuckDB may hold in memory before it spills to disk, as in `4GB`.
    """

    def __init__(self, ws: LocalWorkspace) -> None:
        """Work in a local workspace."""
        self._ws = ws
        self._exchange = FrameExchange(lambda: ws.scratch, lambda: ws.spark)
        self._specs = LocalFeatureSpecs(ws.root)
        self.verify_model: Verify | None = None
        self.memory_limit: str | None = MEMORY_LIMIT

    def create_table(
        self,
        *,
        name: ObjectName | str,
        primary_keys: str | Sequence[str],
        df: Any = None,
        timeseries_column: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        schema: Any = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create a feature table; the same declaration again returns the table that is there, and merges `df`.

        Args:
            name: Three-level name.
            primary_keys: Key columns in order, the timeseries column among them.
            df: The first rows; their schema is the table's unless `schema` is given.
            timeseries_column: The column that says when a row was known.
            partition_columns: Taken for the real client's sake: local tables are not partitioned.
            schema: A Spark `StructType` or an Arrow schema.
            description: The table's comment.
            tags: Free key-value tags.

        Returns:
            What is known about the table.

        Raises:
            FeatureStoreError: If the declaration does not fit itself or the table that is there.
            TableError: If rows have null or duplicate keys; the table then stays empty, or as it was.
        """
        del partition_columns
        return feature_writes.create(
            self._ws.tables,
            name,
            primary_keys,
            None if df is None else ArrowRows(frame_in(df, of=f"the frame for {name}")),
            timeseries_column=timeseries_column,
            schema=schema,
            description=description,
            tags=tags,
        )

    def write_table(self, *, name: ObjectName | str, df: Any, mode: str = "merge") -> None:
        """Upsert rows by primary key.

        Columns that `df` lacks keep their values on update and are null on insert; a timeseries table must be given
        all its columns; new columns are added.

        Raises:
            FeatureStoreError: If the mode is not `merge`, or columns of a timeseries table are missing.
            TableError: If there is no such table, or the rows do not fit it, or keys are null or repeated.
            UnavailableError: If other writers kept winning.
        """
        rows = ArrowRows(frame_in(df, of=f"the frame for {name}"))
        feature_writes.write(self._ws.tables, name, rows, mode)

    def read_table(self, *, name: ObjectName | str) -> DataFrame:
        """Return the table, pinned at its newest version, as a Spark DataFrame.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        return self._ws.tables.read(name)

    def get_table(self, *, name: ObjectName | str) -> TableInfo:
        """Return name, keys, timeseries column, description, tags and features.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        return self._ws.tables.describe(name)

    def drop_table(self, *, name: ObjectName | str) -> None:
        """Remove table and metadata.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        self._ws.tables.drop(name)

    def set_feature_table_tag(self, *, name: ObjectName | str, key: str, value: str) -> None:
        """Set a tag."""
        self._ws.tables.set_tag(name, key, str(value))

    def delete_feature_table_tag(self, *, name: ObjectName | str, key: str) -> None:
        """Take a tag away; no error if it is not there."""
        self._ws.tables.set_tag(name, key, None)

    def create_training_set(
        self,
        *,
        df: Any,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction] | None = None,
        feature_spec: str | None = None,
        features: Sequence[Any] | None = None,
        label: str | Sequence[str] | None,
        exclude_columns: Sequence[str] | None = None,
        use_spark_native_join: bool = False,
        use_timeseries_filtering: bool = False,
    ) -> LocalTrainingSet:
        """Extend a spine by features as of each row's own time; nothing is computed before it is loaded.

        Args:
            df: The spine.
            feature_lookups: Lookups and functions; their outputs come in this order.
            feature_spec: Name of a feature spec instead of lookups; see `create_feature_spec`.
            features: Not supported.
            label: The label column or columns, or None.
            exclude_columns: Columns that are left out of the result; unknown names are ignored.
            use_spark_native_join: Changes nothing here.
            use_timeseries_filtering: Changes nothing here.

        Returns:
            The training set.

        Raises:
            FeatureStoreError: If the declaration does not fit the spine, the tables or the functions, or a function is
                not registered.
            TableError: If a table does not exist.
        """
        del use_spark_native_join, use_timeseries_filtering
        if features is not None or (feature_lookups is not None and feature_spec is not None):
            raise FeatureStoreError(
                "A training set is made from feature_lookups or from a feature_spec, not from both or from features.",
                hint="Declare FeatureLookup and FeatureFunction, or name what create_feature_spec made.",
            )
        named = None if feature_spec is None else self._named(feature_spec)
        if named is not None:
            feature_lookups = named.features()
        labels = [label] if isinstance(label, str) else list(label or ())
        excluded = {exclude_columns} if isinstance(exclude_columns, str) else set(exclude_columns or ())
        if named is not None:
            excluded |= set(named.excluded())
        lookups, functions = split(feature_lookups)
        frame = frame_in(df, of="the spine")
        registered = {item.udf_name: self._ws.functions.get(item.udf_name) for item in functions}
        tables = open_tables(self._ws.tables, [lookup.table_name for lookup in lookups])
        spec = declare(
            frame.column_names,
            lookups,
            functions,
            labels=labels,
            exclude_columns=excluded,
            tables={name: table.info for name, table in tables.items()},
            table_ids={name: table.table_id for name, table in tables.items()},
            registered=registered,
        )
        read = {item.table_name: tables[item.table_name] for item in spec.tables}
        made = LocalTrainingSet(self._engine(), frame, spec, labels, registered, read)
        made.extra_pip_requirements = named.extra_pip_requirements if named is not None else ()
        return made

    def create_feature_spec(
        self,
        *,
        name: ObjectName | str,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None = None,
        extra_pip_requirements: Sequence[str] | None = None,
    ) -> FeatureSpec:
        """Keep lookups and functions under a name, to make training sets from; the same again returns what is there.

        Args:
            name: Three-level name; feature functions and feature specs share one space of names.
            features: Lookups and functions.
            exclude_columns: Columns that are left out of every training set made from it.
            extra_pip_requirements: What the functions need; goes into the models trained on it.

        Returns:
            The feature spec.

        Raises:
            FeatureStoreError: If the features do not fit tables or functions, another spec has the name, or a function
                is not registered.
            TableError: If a table does not exist.
        """
        full = ObjectName.parse(name)
        declared = self._declared(features, exclude_columns, extra_pip_requirements)
        existing = self._specs.find(full)
        if existing is not None:
            check_same(str(full), existing, declared)
            return existing.spec
        self._specs.create(full, declared)
        return declared.spec

    def delete_feature_spec(self, *, name: ObjectName | str) -> None:
        """Remove a feature spec; models trained on it carry their own.

        Raises:
            FeatureStoreError: If there is none of that name.
        """
        self._specs.delete(ObjectName.parse(name))

    def log_model(
        self,
        *,
        model: Any,
        artifact_path: str,
        flavor: Any,
        training_set: Any = None,
        registered_model_name: ObjectName | str | None = None,
        await_registration_for: int | None = None,
        infer_input_example: bool = False,
        extra_pip_requirements: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> ModelInfo:
        """Log a model with the feature spec of its training set, in the caller's run or one of its own.

        Args:
            model: The fitted model.
            artifact_path: Its name within the run.
            flavor: An MLflow module: `mlflow.sklearn`, `mlflow.pyfunc`.
            training_set: What it was fitted on.
            registered_model_name: Registers a version of this model.
            await_registration_for: Seconds to wait for the registration; it is immediate here.
            infer_input_example: Store the spine's first row as an example.
            extra_pip_requirements: Added to the installed versions of the flavor's packages.
            **kwargs: `output_schema`, `signature`, `input_example` and `pip_requirements` are ours; the rest
                (`skops_trusted_types`, `pyfunc_predict_fn`, ...) goes to the flavor's `save_model`.

        Returns:
            MLflow's `ModelInfo`; its `registered_model_version` is the new version.

        Raises:
            FeatureStoreError: If the training set is none of ours, or no signature can be derived.
        """
        with self._scratch_folder() as scratch:
            return model_logging.log_model(
                self._ws.registry,
                scratch,
                model,
                artifact_path,
                flavor=flavor,
                training_set=training_set,
                registered_model_name=None if registered_model_name is None else str(registered_model_name),
                await_registration_for=await_registration_for,
                infer_input_example=infer_input_example,
                extra_pip_requirements=extra_pip_requirements,
                **kwargs,
            )

    def score_batch(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, Any] | None = None,
        use_spark_native_join: bool = False,
        prebuilt_env_uri: str | None = None,
    ) -> DataFrame:
        """Look the model's features up for each row, and add the column `prediction`.

        A column that `df` has already wins over lookup and function. Rows come in any order.

        Args:
            model_uri: `models:/catalog.schema.model@alias`, `models:/catalog.schema.model/3`, `runs:/<run>/<name>` or
                `models:/m-<id>`.
            df: The rows to score.
            result_type: Spark type of `prediction`. Where the model gives the probabilities of two classes, `double`
                is the last one's, `array<double>` both.
            env_manager: `local`, the only one here.
            params: Passed to the model.
            use_spark_native_join: Changes nothing here.
            prebuilt_env_uri: Not here: models are scored in this very environment.

        Returns:
            The frame's columns, the features it lacked, and `prediction`.

        Raises:
            FeatureStoreError: If the frame cannot be scored by this model.
            RegistryError: If the model cannot be read.
        """
        del use_spark_native_join
        if prebuilt_env_uri is not None:
            raise FeatureStoreError(
                f"The environment {prebuilt_env_uri} is not used here: the local workspace scores in its own.",
                hint="Leave prebuilt_env_uri out; on Databricks it takes what build_model_env made.",
            )
        with self._scoring(model_uri, df, result_type, env_manager, params) as (schema, batches):
            return self._exchange.to_spark(batches, schema)

    def score_batch_arrow(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, Any] | None = None,
        matches: bool = False,
    ) -> pa.Table:
        """As `score_batch`, with Arrow out.

        Args:
            model_uri: As `score_batch`.
            df: As `score_batch`.
            result_type: As `score_batch`.
            env_manager: As `score_batch`.
            params: As `score_batch`.
            matches: Add a boolean column `matched:<table>` for each lookup: whether a row was found.
        """
        with self._scoring(model_uri, df, result_type, env_manager, params, matches=matches) as (schema, batches):
            return pa.Table.from_batches(list(batches), schema=schema)

    def real_client(self) -> NoReturn:
        """Refuse: there is no real client here.

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

    def lineage(self, model_uri: str) -> Lineage:
        """Return which tables (with their Delta versions) and functions a model was trained on.

        Raises:
            FeatureStoreError: If the model was not logged with a training set.
            RegistryError: If it cannot be read.
        """
        with self._scratch_folder() as scratch:
            artifact = model_store.fetch(self._ws.registry, model_uri, scratch)
            return Lineage.load(artifact.spec_folder, model_uri=model_uri)

    def _named(self, name: ObjectName | str) -> NamedSpec:
        return self._specs.get(ObjectName.parse(name))

    def _declared(
        self,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None,
        extra_pip_requirements: Sequence[str] | None,
    ) -> NamedSpec:
        lookups, functions = split(features)
        tables = open_tables(self._ws.tables, [lookup.table_name for lookup in lookups])
        infos = {name: table.info for name, table in tables.items()}
        ids = {name: table.table_id for name, table in tables.items()}
        spelt_out = [spelled_out(lookup, looked_up(lookup, infos[lookup.table_name])) for lookup in lookups]
        spec = declare(
            inferred_sources(spelt_out, functions),
            lookups,
            functions,
            labels=[],
            exclude_columns=set(exclude_columns or ()),
            tables=infos,
            table_ids=ids,
            registered={item.udf_name: self._ws.functions.get(item.udf_name) for item in functions},
        )
        return NamedSpec(spec, tuple(extra_pip_requirements or ()))

    @contextmanager
    def _scoring(
        self,
        model_uri: str,
        df: Any,
        result_type: str,
        env_manager: str,
        params: Mapping[str, Any] | None,
        *,
        matches: bool = False,
    ) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        if env_manager != "local":
            raise FeatureStoreError(f"env_manager {env_manager!r} is not supported here.", hint="Use 'local'.")
        frame = frame_in(df, of="the frame to score")
        with self._scratch_folder() as scratch:
            artifact = model_store.fetch(self._ws.registry, model_uri, scratch)
            spec = FeatureSpec.load(artifact.spec_folder)
            names, functions = sources_needed(spec, spec.included, frame.column_names)
            tables = open_tables(self._ws.tables, names)
            registered = {name: self._ws.functions.get(name) for name in functions}
            infos = {name: table.info for name, table in tables.items()}
            rule = frame_rule(artifact.spec_folder, model_uri=model_uri)
            scoring = BatchScoring(
                spec, frame, result_type, tables=infos, functions=registered, matches=matches, rule=rule
            )
            model = model_store.load_model(artifact, self.verify_model)

            def predict(given: Any) -> Any:
                return model.predict(given, params=dict(params)) if params else model.predict(given)

            sources = Sources(
                tables={name: table.handle for name, table in tables.items()},
                functions=registered,
                scratch=scratch,
                memory_limit=self.memory_limit,
            )
            yield scoring.schema, scoring.run(predict, sources)

    def _engine(self) -> Engine:
        return Engine(tables=self._ws.tables, exchange=self._exchange, memory_limit=self.memory_limit)

    @contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        folder = self._ws.scratch / "models" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

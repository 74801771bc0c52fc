"""The feature client's face and the flow behind it: names, arguments and checks are the same in both homes."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features import artifacts, by_halves, model_classes
from mlplatform.features.declaration import declare, looked_up, split
from mlplatform.features.named_spec import NamedSpec, check_same, inferred_sources, spelled_out
from mlplatform.features.scoring import plan_scoring
from mlplatform.features.training_set import make_plan, sources_needed
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_client import ReasonCodes, RowsDone, uncounted
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.judged_models import JudgedModels
from mlplatform.protocols.lineage import Lineage, frame_rule
from mlplatform.workspace.shared import feature_writes, model_store
from mlplatform.workspace.shared.feature_methods import OnlySome
from mlplatform.workspace.shared.feature_specs import FeatureSpecs, SpecDeclaration
from mlplatform.workspace.shared.model_logging import ModelToLog, model_to_log
from mlplatform.workspace.shared.model_store import Trust
from mlplatform.workspace.shared.scoring import BatchScoring, Environment, FrameT, OpenTable, ScoredFrame, TableT
from mlplatform.workspace.shared.training_set import Declaration, SpineWithFeatures, own_training_set

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from pyspark.sql import DataFrame

    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.functions import FunctionInfo, Functions
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import FrameLike, TableInfo, Tables
    from mlplatform.workspace.shared.feature_frames import Rows
    from mlplatform.workspace.shared.registry import MlflowRegistry


SetT = TypeVar("SetT", bound=SpineWithFeatures)


class FeatureClientBase(OnlySome, ABC, Generic[FrameT, TableT, SetT]):
    """Feature tables, training sets, and models that carry their feature spec.

    See `mlplatform.protocols.feature_client.FeatureClient`. Frames go in as Spark DataFrames, `pyarrow.Table` or
    pandas frames; rows for feature tables as frames of `ws.frames`, too. Arguments that only tune the real client are
    taken, and change nothing where they do not apply.

    A home says how frames are taken, tables opened, training sets computed, models logged and frames scored; whatever
    can be refused before that is refused here.

    Attributes:
        training_set_type: What `create_training_set` returns.
    """

    training_set_type: type[SetT]

    def __init__(
        self,
        *,
        tables: Tables,
        registry: MlflowRegistry,
        functions: Functions,
        specs: FeatureSpecs,
        scratch: Callable[[], Path | None],
        prefix: str = "",
    ) -> None:
        """Take the parts of a workspace that the client works with.

        Args:
            tables: The workspace's tables.
            registry: Its registered models.
            functions: Its registered functions.
            specs: Its feature specs.
            scratch: Gives a folder for temporary files; None: the system's.
            prefix: What the workspace puts before the names of schemas.
        """
        self._tables = tables
        self._registry = registry
        self._functions = functions
        self._specs = specs
        self._scratch = scratch
        self._judged = JudgedModels(tables, prefix)

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
        """Create a feature table; the same declaration again returns the existing table, and merges `df`.

        Args:
            name: Three-level name.
            primary_keys: Key columns in order, the timeseries column among them.
            df: The first rows; their schema is the table's unless `schema` is given.
            timeseries_column: The column that says when a row was known.
            partition_columns: Taken for the real client's sake; tables are clustered by their keys on Databricks, and
                not partitioned at home.
            schema: A Spark `StructType` or an Arrow schema.
            description: The table's comment.
            tags: Free key-value tags.

        Returns:
            What is known about the table.

        Raises:
            FeatureStoreError: If the declaration does not fit itself or the existing table.
            TableError: If rows have null or duplicate keys; the table then stays empty, or as it was.
        """
        del partition_columns
        with nullcontext() if df is None else self._rows(df, of=f"the frame for {name}") as rows:
            return feature_writes.create(
                self._tables,
                name,
                primary_keys,
                rows,
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
            TableError: If the table does not exist, the rows do not fit it, or keys are null or repeated.
            UnavailableError: If other writers kept winning.
        """
        with self._rows(df, of=f"the frame for {name}") as rows:
            feature_writes.write(self._tables, name, rows, mode)

    def read_table(self, *, name: ObjectName | str) -> DataFrame:
        """Return the table, pinned at its newest version, as a Spark DataFrame.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        return self._tables.read(name)

    def get_table(self, *, name: ObjectName | str) -> TableInfo:
        """Return name, keys, timeseries column, description, tags and features.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        return self._tables.describe(name)

    def drop_table(self, *, name: ObjectName | str) -> None:
        """Remove a table and its metadata.

        Raises:
            TableError: If it does not exist; the message suggests similar names.
        """
        self._tables.drop(name)

    def set_feature_table_tag(self, *, name: ObjectName | str, key: str, value: str) -> None:
        """Set a tag."""
        self._tables.set_tag(name, key, str(value))

    def delete_feature_table_tag(self, *, name: ObjectName | str, key: str) -> None:
        """Remove a tag; no error if it does not exist."""
        self._tables.set_tag(name, key, None)

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
    ) -> SetT:
        """Extend a spine by features as of each row's own time; nothing is computed before it is loaded.

        Args:
            df: The spine.
            feature_lookups: Lookups and functions; their outputs come in this order.
            feature_spec: Name of a feature spec instead of lookups; see `create_feature_spec`.
            features: Not supported.
            label: The label column or columns, or None.
            exclude_columns: Columns that are left out of the result; unknown names are ignored.
            use_spark_native_join: Changes nothing: the real client's native join compares ages in whole seconds.
            use_timeseries_filtering: Passed on to the real client; changes nothing at home.

        Returns:
            The training set.

        Raises:
            FeatureStoreError: If the declaration does not fit the spine, the tables or the functions, or a function is
                not registered.
            TableError: If a table does not exist.
        """
        del use_spark_native_join
        if features is not None or (feature_lookups is not None and feature_spec is not None):
            raise FeatureStoreError(
                "A training set is made from feature_lookups or from a feature_spec, not from both or from features.",
                hint="Declare FeatureLookup and FeatureFunction, or name what create_feature_spec made.",
            )
        named = None if feature_spec is None else self._specs.get(ObjectName.parse(feature_spec))
        if named is not None:
            feature_lookups = named.features()
        labels = [label] if isinstance(label, str) else list(label or ())
        excluded = [exclude_columns] if isinstance(exclude_columns, str) else list(exclude_columns or ())
        if named is not None:
            excluded += named.excluded()
        lookups, functions = split(feature_lookups)
        frame = self._frame(df, of="the spine")
        registered = self._registered(functions)
        tables = self._open(lookup.table_name for lookup in lookups)
        spec = declare(
            frame.schema.names,
            lookups,
            functions,
            labels=labels,
            exclude_columns=set(excluded),
            tables=_infos(tables),
            table_ids=_ids(tables),
            registered=registered,
        )
        outputs = [column.output_name for column in spec.columns]
        plan = make_plan(spec, frame.schema, outputs=outputs, tables=_infos(tables), functions=registered)
        declaration = Declaration(
            features=[*lookups, *functions],
            labels=labels,
            exclude_columns=excluded,
            spec=spec,
            plan=plan,
            functions=registered,
            use_timeseries_filtering=use_timeseries_filtering,
            rows=df.num_rows if isinstance(df, pa.Table) else None,
        )
        training_set = self._training_set(frame, declaration, tables)
        training_set.extra_pip_requirements = named.extra_pip_requirements if named is not None else ()
        return training_set

    def create_feature_spec(
        self,
        *,
        name: ObjectName | str,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None = None,
        extra_pip_requirements: Sequence[str] | None = None,
    ) -> FeatureSpec:
        """Keep lookups and functions under a name, to make training sets from; the same again returns the existing one.

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
        lookups, functions = split(features)
        tables = self._open(lookup.table_name for lookup in lookups)
        infos = _infos(tables)
        spelt_out = [spelled_out(lookup, looked_up(lookup, infos[lookup.table_name])) for lookup in lookups]
        spec = declare(
            inferred_sources(spelt_out, functions),
            lookups,
            functions,
            labels=[],
            exclude_columns=set(exclude_columns or ()),
            tables=infos,
            table_ids=_ids(tables),
            registered=self._registered(functions),
        )
        declared = NamedSpec(spec, tuple(extra_pip_requirements or ()))
        existing = self._specs.find(full)
        if existing is not None:
            check_same(str(full), existing, declared)
            return existing.spec
        self._specs.create(SpecDeclaration(full, [*lookups, *functions], list(exclude_columns or ()), infos, declared))
        return spec

    def delete_feature_spec(self, *, name: ObjectName | str) -> None:
        """Remove a feature spec; models trained on it carry their own.

        Raises:
            FeatureStoreError: If it does not exist.
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
            await_registration_for: Seconds to wait for the registration; None for the real client's default. At home
                it is immediate.
            infer_input_example: Store the spine's first row as an example.
            extra_pip_requirements: Added to the installed versions of the flavor's packages.
            **kwargs: `output_schema`, `signature`, `input_example` and `pip_requirements` are ours; the rest
                (`skops_trusted_types`, `pyfunc_predict_fn`, ...) goes to the flavor's `save_model`.

        Returns:
            MLflow's `ModelInfo`; its `registered_model_version` is the new version.

        Raises:
            FeatureStoreError: If the training set is not one of ours, no signature can be derived, or the real client
                or MLflow refuses.
            RegistryError: If no version was registered, or the registry cannot be read.
        """
        fitted_on = own_training_set(training_set, self.training_set_type)
        request = model_to_log(
            model,
            artifact_path,
            flavor=flavor,
            training_set=fitted_on,
            registered_model_name=registered_model_name,
            await_registration_for=await_registration_for,
            infer_input_example=infer_input_example,
            extra_pip_requirements=extra_pip_requirements,
            arguments=kwargs,
        )
        return self._log(request, fitted_on)

    def log_derived_model(
        self,
        *,
        model_uri: str,
        artifact_path: str,
        registered_model_name: ObjectName | str,
        change: Callable[[Path], object],
        trusted_types: Collection[str] = (),
        digest: str = "",
    ) -> ModelInfo:
        """Log a model that is made of a registered one, with the same feature spec, lineage and signature.

        Not a method of the real client. Nothing is looked up and no training set made: what the model is given stays
        what it was.

        Args:
            model_uri: The registered model, as for `score_batch`. Its files are checked as for scoring, before anything
                in them is read.
            artifact_path: The new one's name within the run.
            registered_model_name: Gets a version.
            change: Takes the folder of a copy of the model, as its flavor stored it, and leaves the new one there.
            trusted_types: Types that both may hold beyond the platform's allow-list.
            digest: Which files of the registered model; empty: those on record.

        Returns:
            MLflow's `ModelInfo`; its `registered_model_version` is the new version.

        Raises:
            FeatureStoreError: If the model carries no features, or MLflow refuses the new one.
            RegistryError: If its files are not those judged or registered, or either holds what is not loaded.
        """
        with self._scratch_folder() as scratch:
            artifact = model_store.fetch(self._registry, model_uri, scratch)
            model_store.check_model(artifact, Trust(trusted_types, digest), self._judged)
            package = scratch / "package" / model_store.SPEC_FOLDER.name
            shutil.copytree(artifact.spec_folder, package)
            change(package / model_store.RAW_MODEL)
            # What is registered is what will be loaded: refused now rather than at the first scoring.
            artifacts.check_files(package / model_store.RAW_MODEL, trusted_types)
            return self._log_derived(package, artifact_path, artifact.path, str(registered_model_name))

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
        trusted_types: Collection[str] | None = None,
    ) -> DataFrame:
        """Look the model's features up for each row, and add the column `prediction`.

        A column that `df` already has wins over lookup and function. Rows come in any order. The model's files are
        checked before anything in them is loaded.

        Args:
            model_uri: `models:/catalog.schema.model@alias`, `models:/catalog.schema.model/3`, `runs:/<run>/<name>` or
                `models:/m-<id>`.
            df: The rows to score.
            result_type: Spark type of `prediction`. Where the model gives the probabilities of two classes, `double`
                is the last one's, `array<double>` both.
            env_manager: As for MLflow's `spark_udf`; at home only `local`.
            params: Passed to the model.
            use_spark_native_join: Changes nothing, as in `create_training_set`.
            prebuilt_env_uri: An archive that `build_model_env` made, to score in; not at home, where models are scored
                in this very environment.
            trusted_types: Not an argument of the real client: types that the model may hold beyond the platform's
                allow-list (fully qualified). Given, even empty, only a model that the platform registered is scored.
                None: a model that somebody else registered is scored unchecked, as the real client does; one that the
                platform registered is checked against the allow-list all the same.

        Returns:
            The frame's columns, the features it lacked, and `prediction`.

        Raises:
            FeatureStoreError: If the frame cannot be scored by this model.
            RegistryError: If the model cannot be read, its files are not those judged or registered, or they hold what
                is not loaded: pickles, code, types that are not allowed.
        """
        del use_spark_native_join
        environment = Environment(env_manager, params, prebuilt_env_uri)
        with self._scoring(model_uri, df, result_type, environment, Trust(trusted_types)) as scoring:
            return self._scored(scoring)

    def score_batch_arrow(  # noqa: PLR0913  (all by keyword)
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, Any] | None = None,
        matches: bool = False,
        trusted_types: Collection[str] | None = None,
        digest: str = "",
        classes: Sequence[str] = (),
    ) -> pa.Table:
        """As `score_batch`, with Arrow out.

        Args:
            model_uri: As `score_batch`.
            df: As `score_batch`.
            result_type: As `score_batch`.
            env_manager: As `score_batch`.
            params: As `score_batch`.
            matches: Add a boolean column `matched:<table>` for each lookup: whether a row was found.
            trusted_types: As `score_batch`.
            digest: Which files of it are scored with; empty: those that a decision on record judged, or without one
                those that the version's tag names.
            classes: The classes whose probabilities `prediction` holds as `array<double>`, in this order, whatever
                order the model has: 0 for one that it does not know, null where it gives no finite numbers. The model
                must say which classes it knows, and know no others. Empty: what the model gives, in its own order.
        """
        environment, trust = Environment(env_manager, params), Trust(trusted_types, digest)
        with self._scoring(model_uri, df, result_type, environment, trust, matches=matches, classes=classes) as scoring:
            return self._scored_arrow(scoring)

    @contextmanager
    def score_frame(  # noqa: PLR0913  (all by keyword)
        self,
        *,
        model_uri: str,
        frame: FrameLike,
        keys: Sequence[str],
        reasons: ReasonCodes | None = None,
        trusted_types: Collection[str] | None = None,
        batch_rows: int | None = None,
        done: RowsDone = uncounted,
        all_may_fail: bool = False,
        classes: Sequence[str] = (),
    ) -> Iterator[Frame]:
        """Score as many rows as there are; see `mlplatform.protocols.feature_client.FeatureClient.score_frame`."""
        may_fail = by_halves.all_of_them if all_may_fail else by_halves.most_failing
        wanted = ScoredFrame(tuple(keys), reasons, batch_rows, done, may_fail)
        with (
            self._rows_to_score(frame, keys) as rows,
            self._scoring(
                model_uri, rows, "double", Environment(), Trust(trusted_types), matches=True, classes=classes
            ) as scoring,
        ):
            yield self._scored_frame(scoring, wanted)

    @abstractmethod
    def real_client(self) -> Any:
        """Return the real `FeatureEngineeringClient`, for what this face does not offer; nothing of ours is around it.

        Raises:
            MissingDependencyError: If the package is not installed.
            FeatureStoreError: If it cannot be made; always at home.
        """

    @abstractmethod
    def build_model_env(self, model_uri: str, save_path: str) -> str:
        """Build the Python environment of a model into an archive, for `score_batch(prebuilt_env_uri=...)`.

        Args:
            model_uri: As for `score_batch`.
            save_path: A folder, as in `/Volumes/...`.

        Returns:
            The archive's path.

        Raises:
            FeatureStoreError: If it cannot be built; MLflow does so within Databricks' runtime only.
        """

    def lineage(self, model_uri: str) -> Lineage:
        """Return which tables (with their Delta versions) and functions a model was trained on.

        Raises:
            FeatureStoreError: If the model was not logged with a training set.
            RegistryError: If it cannot be read.
        """
        with self._scratch_folder() as folder:
            artifact = model_store.fetch(self._registry, model_uri, folder)
            return Lineage.load(artifact.spec_folder, model_uri=model_uri)

    @abstractmethod
    def _rows(self, df: Any, *, of: str) -> AbstractContextManager[Rows]:
        """Take rows for a feature table while they are checked and written; `of` says what they are, for messages."""

    @abstractmethod
    def _frame(self, df: Any, *, of: str) -> FrameT:
        """Take rows that features are looked up for; `of` says what they are, for messages."""

    @abstractmethod
    def _open(self, names: Iterable[str]) -> Mapping[str, TableT]:
        """Open feature tables at their newest versions, each once."""

    @abstractmethod
    def _training_set(self, frame: FrameT, declaration: Declaration, tables: Mapping[str, TableT]) -> SetT:
        """Make a training set."""

    @abstractmethod
    def _log(self, request: ModelToLog, training_set: SetT) -> ModelInfo:
        """Log a model."""

    @abstractmethod
    def _log_derived(self, package: Path, name: str, original: Path, registered_model_name: str) -> ModelInfo:
        """Log what was packaged: feature spec, lineage and model; `original` is the model that it was made of."""

    @abstractmethod
    def _check_environment(self, environment: Environment) -> None:
        """Refuse an environment that the home cannot score in."""

    @abstractmethod
    def _scored(self, scoring: BatchScoring[FrameT, TableT]) -> DataFrame:
        """Score, with a Spark DataFrame out."""

    @abstractmethod
    def _scored_arrow(self, scoring: BatchScoring[FrameT, TableT]) -> pa.Table:
        """Score, with Arrow out."""

    @abstractmethod
    def _rows_to_score(self, frame: FrameLike, keys: Sequence[str]) -> AbstractContextManager[Any]:
        """Give rows of any number in the way in which `_frame` takes them; in the order of keys, where there is one."""

    @abstractmethod
    def _scored_frame(self, scoring: BatchScoring[FrameT, TableT], wanted: ScoredFrame) -> Frame:
        """Score, with a frame out."""

    @contextmanager
    def _scoring(
        self,
        model_uri: str,
        df: Any,
        result_type: str,
        environment: Environment,
        trust: Trust,
        *,
        matches: bool = False,
        classes: Sequence[str] = (),
    ) -> Iterator[BatchScoring[FrameT, TableT]]:
        self._check_environment(environment)
        frame = self._frame(df, of="the frame to score")
        with self._scratch_folder() as scratch:
            model = model_store.fetch(self._registry, model_uri, scratch)
            # Before anything in it is read: its feature spec says what is looked up.
            model_store.check_model(model, trust, self._judged)
            spec = FeatureSpec.load(model.spec_folder)
            names, functions = sources_needed(spec, spec.included, frame.schema.names)
            tables = self._open(names)
            registered = {name: self._functions.get(name) for name in functions}
            known = model_classes.classes_of(model.raw_model, model.uri) if classes else ()
            places = model_classes.places(classes, known, model.uri) if classes else None
            plan = plan_scoring(
                spec,
                frame.schema,
                result_type,
                tables=_infos(tables),
                functions=registered,
                matches=matches,
                rule=frame_rule(model.spec_folder, model_uri=model_uri),
                classes=places,
            )
            yield BatchScoring(plan, frame, model, tables, registered, environment, scratch)

    def _registered(self, functions: Sequence[FeatureFunction]) -> dict[str, FunctionInfo]:
        return {item.udf_name: self._functions.get(item.udf_name) for item in functions}

    @contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        with TemporaryDirectory(dir=self._scratch(), ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def _infos(tables: Mapping[str, OpenTable]) -> dict[str, TableInfo]:
    return {name: table.info for name, table in tables.items()}


def _ids(tables: Mapping[str, OpenTable]) -> dict[str, str]:
    return {name: table.table_id for name, table in tables.items()}

"""The feature client of any home: names, arguments and checks are the same. Here: training sets, specs and models."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa

from mlplatform.features import artifacts
from mlplatform.features.declaration import split
from mlplatform.features.named_spec import check_same
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.judged_models import JudgedModels
from mlplatform.protocols.lineage import Lineage
from mlplatform.workspace.shared import model_store
from mlplatform.workspace.shared.feature_declarations import (
    WantedFeatures,
    spec_declaration,
    training_set_declaration,
    wanted_features,
)
from mlplatform.workspace.shared.feature_methods import OnlySome
from mlplatform.workspace.shared.feature_specs import FeatureSpecs
from mlplatform.workspace.shared.feature_table_methods import FeatureTableMethods
from mlplatform.workspace.shared.model_logging import ModelToLog, model_to_log
from mlplatform.workspace.shared.model_store import Trust
from mlplatform.workspace.shared.scoring import FrameT, TableT
from mlplatform.workspace.shared.scoring_methods import ScoringMethods
from mlplatform.workspace.shared.training_set import Declaration, SpineWithFeatures, own_training_set

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from mlplatform.protocols.functions import FunctionInfo, Functions
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import Tables
    from mlplatform.workspace.shared.registry import MlflowRegistry


SetT = TypeVar("SetT", bound=SpineWithFeatures)


class FeatureClientBase(OnlySome, FeatureTableMethods, ScoringMethods[FrameT, TableT], Generic[FrameT, TableT, SetT]):
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
        wanted = wanted_features(
            self._specs,
            feature_lookups=feature_lookups,
            feature_spec=feature_spec,
            features=features,
            label=label,
            exclude_columns=exclude_columns,
        )
        frame = self._frame(df, of="the spine")
        registered = self._registered(wanted.functions)
        tables = self._open(wanted.table_names)
        declaration = training_set_declaration(
            wanted,
            frame.schema,
            tables,
            registered,
            use_timeseries_filtering=use_timeseries_filtering,
            rows=df.num_rows if isinstance(df, pa.Table) else None,
        )
        return self._training_set(frame, declaration, tables)

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
        wanted = WantedFeatures(
            lookups,
            functions,
            exclude_columns=list(exclude_columns or ()),
            extra_pip_requirements=tuple(extra_pip_requirements or ()),
        )
        tables = self._open(wanted.table_names)
        declaration = spec_declaration(full, wanted, tables, self._registered(functions))
        existing = self._specs.find(full)
        if existing is not None:
            check_same(str(full), existing, declaration.spec)
            return existing.spec
        self._specs.create(declaration)
        return declaration.spec.spec

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
    def _training_set(self, frame: FrameT, declaration: Declaration, tables: Mapping[str, TableT]) -> SetT:
        """Make a training set."""

    @abstractmethod
    def _log(self, request: ModelToLog, training_set: SetT) -> ModelInfo:
        """Log a model."""

    @abstractmethod
    def _log_derived(self, package: Path, name: str, original: Path, registered_model_name: str) -> ModelInfo:
        """Log what was packaged: feature spec, lineage and model; `original` is the model that it was made of."""

    def _registered(self, functions: Sequence[FeatureFunction]) -> dict[str, FunctionInfo]:
        return {item.udf_name: self._functions.get(item.udf_name) for item in functions}

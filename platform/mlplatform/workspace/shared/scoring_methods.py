"""The feature client's methods for scoring: what can be refused is refused here, before a home scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic

import pyarrow as pa

from mlplatform.features import by_halves, model_classes
from mlplatform.features.scoring import plan_scoring
from mlplatform.features.training_set import sources_needed
from mlplatform.protocols.feature_client import ReasonCodes, RowsDone, uncounted
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import frame_rule
from mlplatform.workspace.shared import model_store
from mlplatform.workspace.shared.model_store import Trust
from mlplatform.workspace.shared.scoring import BatchScoring, Environment, FrameT, ScoredFrame, TableT, infos

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.functions import Functions
    from mlplatform.protocols.judged_models import JudgedModels
    from mlplatform.protocols.tables import FrameLike
    from mlplatform.workspace.shared.registry import MlflowRegistry


class ScoringMethods(ABC, Generic[FrameT, TableT]):
    """How a feature client scores: the model's files are checked, its features found, and the home scores.

    A home says how it takes frames, opens tables and scores.
    """

    _registry: MlflowRegistry
    _functions: Functions
    _judged: JudgedModels
    _scratch: Callable[[], Path | None]

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
    def _frame(self, df: Any, *, of: str) -> FrameT:
        """Take rows that features are looked up for; `of` says what they are, for messages."""

    @abstractmethod
    def _open(self, names: Iterable[str]) -> Mapping[str, TableT]:
        """Open feature tables at their newest versions, each once."""

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
                tables=infos(tables),
                functions=registered,
                matches=matches,
                rule=frame_rule(model.spec_folder, model_uri=model_uri),
                classes=places,
            )
            yield BatchScoring(plan, frame, model, tables, registered, environment, scratch)

    @contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        with TemporaryDirectory(dir=self._scratch(), ignore_cleanup_errors=True) as folder:
            yield Path(folder)

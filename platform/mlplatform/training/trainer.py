"""What a use case declares of its model: lookups, estimator, search space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from mlplatform.as_of import Duration
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup

if TYPE_CHECKING:
    from mlplatform.config.settings import UseCaseSettings
    from mlplatform.features.functions import FeatureFunctionSpec
    from mlplatform.features.table import FeatureTable
    from mlplatform.naming import Namespace
    from mlplatform.refine.spine import LabelSpine
    from mlplatform.training.fit_rows import FitRows
    from mlplatform.training.weights import WeightColumn


class Trainer(ABC):
    """Base class of a use case's model.

    See the glossary: docs/glossary.md

    The estimator is a scikit-learn estimator or pipeline that takes the training set's columns as a pandas frame.

    Attributes:
        exclude_columns: Spine columns and looked-up features that the model does not get. Entity keys and the
            prediction time never reach it.
        default_params: Parameters when there is no search.
        categorical_columns: Inputs that are categories, by name: LightGBM, XGBoost, CatBoost and scikit-learn's
            gradient boosting then split by them as such. Text goes through `coded` first.
        weight_column: How much each row counts in the fit: the name of a number of the spine (which has all columns of
            its silver table) or of a looked-up feature, or a `WeightColumn` of another silver table. It is not among
            the model's inputs. Metrics are not weighted.
        group_column: Which rows belong together: a key, or the name of a column as above. A group is on one side of
            each split: its rows are not fitted on where it goes on in newer rows. Estimators that take groups get them.
        requirements: Further packages that the model needs where it is scored: names, for the installed version, or
            whole requirements. What it is made of is found by itself.
        flavor: The MLflow flavor that stores the model: `sklearn`, `lightgbm`, `xgboost` or `catboost`; empty: chosen
            by the model (see docs/adding-a-use-case.md).
        trusted_types: Types beyond the platform's own allow-list that the stored model may hold (fully qualified).

    Examples:
        >>> from mlplatform.config.settings import UseCaseSettings
        >>> from mlplatform.naming import Namespace
        >>> from mlplatform.refine.spine import LabelSpine
        >>> class Scorecard(Trainer):
        ...     exclude_columns = ("loan",)
        ...     default_params = {"C": 0.5}
        ...
        ...     def lookups(self):
        ...         return []
        ...
        ...     def estimator(self, params):
        ...         from sklearn.linear_model import LogisticRegression
        ...
        ...         return LogisticRegression(**params, random_state=self.settings.training.seed)
        >>> settings = UseCaseSettings.model_validate(
        ...     {"owner": "risk", "label": {"horizon": "3 months"}, "gate": {"floor": 0.7}}
        ... )
        >>> trainer = Scorecard(Namespace("dev", "credit_risk"), settings, LabelSpine)
        >>> trainer.estimator(trainer.default_params).C
        0.5
    """

    exclude_columns: ClassVar[tuple[str, ...]] = ()
    default_params: ClassVar[Mapping[str, Any]] = {}
    categorical_columns: ClassVar[tuple[str, ...]] = ()
    weight_column: ClassVar[str | WeightColumn | None] = None
    group_column: ClassVar[str | None] = None
    requirements: ClassVar[tuple[str, ...]] = ()
    flavor: ClassVar[str] = ""
    trusted_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, namespace: Namespace, settings: UseCaseSettings, spine: type[LabelSpine]) -> None:
        """Take where the use case's tables are, its settings, and the spine that its features are looked up for."""
        self.namespace = namespace
        self.settings = settings
        self.spine = spine

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns of the training set that are weights and groups: fitted with, and no inputs."""
        columns = (self.weight_column, self.group_column)
        return tuple(dict.fromkeys(name for name in columns if name and isinstance(name, str)))

    @property
    def left_out(self) -> tuple[str, ...]:
        """All columns that the model does not get, beside keys and the prediction time."""
        return tuple(dict.fromkeys([*self.exclude_columns, *self.beside]))

    def lookup(
        self,
        table: type[FeatureTable],
        features: str | Sequence[str] | None = None,
        *,
        keys: str | Sequence[str] | None = None,
        lookback: str | None = None,
        default_values: Mapping[str, Any] | None = None,
    ) -> FeatureLookup:
        """Return the lookup of one of the use case's feature tables as of the spine's prediction time.

        Args:
            table: The table.
            features: What to look up; None: all its features.
            keys: The spine's key columns; None: they are named as the table's.
            lookback: How old a row may be, as in `2 days`; None: any age.
            default_values: By feature, the value where no row is found.

        Raises:
            ConfigError: If the lookback is in months, whose length the feature client does not know, or the list of
                features is empty.
        """
        wanted = [features] if isinstance(features, str) else features
        if wanted is not None and not wanted:
            raise ConfigError(f"The lookup of {table.name} names no feature.", hint="Leave features out for all.")
        by = [keys] if isinstance(keys, str) else keys
        window = Duration.parse(lookback) if lookback else None
        if window and window.months:
            raise ConfigError(
                f"The lookback of {table.name} is {lookback!r}: months differ in length.", hint="Give weeks or days."
            )
        return FeatureLookup(
            table_name=str(self.namespace.features(table.name)),
            lookup_key=list(by or table.keys),
            feature_names=list(wanted) if wanted is not None else None,
            timestamp_lookup_key=self.spine.prediction_time,
            lookback_window=timedelta(seconds=window.seconds) if window else None,
            default_values=dict(default_values) if default_values else None,
        )

    def function(self, function: FeatureFunctionSpec, **bindings: str) -> FeatureFunction:
        """Return the use of one of the use case's feature functions, under the function's name.

        Args:
            function: The function.
            **bindings: Column by parameter, where it is not named as the parameter.

        Raises:
            ConfigError: If the function has no such parameter.
        """
        names = [name for name, _ in function.parameters]
        for name in bindings:
            if name not in names:
                raise ConfigError(f"Function {function.name} has no parameter {name}.", hint=did_you_mean(name, names))
        return FeatureFunction(
            udf_name=str(self.namespace.table(function.name)),
            input_bindings={name: bindings.get(name, name) for name in names},
            output_name=function.name,
        )

    @abstractmethod
    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Return the feature lookups and feature functions of the training set."""

    @abstractmethod
    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Return an unfitted estimator.

        Args:
            params: `default_params`, overlaid by what the search tries. The seed is `settings.training.seed`.
        """

    def fit(self, estimator: Any, rows: FitRows) -> Any:
        """Return what was fitted; by default the estimator, with all of the rows that it takes.

        The default knows the arguments of scikit-learn, LightGBM, XGBoost and CatBoost, also within a pipeline and a
        `TransformedTargetRegressor`: weights, groups, categorical columns, and the validation rows where the estimator
        is told to stop early (`early_stopping_rounds`). Override it for what else an estimator takes; what is returned
        may be another object, such as a `lightgbm.Booster`.

        Args:
            estimator: What `estimator` returned.
            rows: What it is fitted on. In each trial of the search the validation rows come with it; in the last fit
                they are among the fitted ones, and `rows.rounds` says after how many rounds it stopped by them.

        Raises:
            StageError: If the estimator cannot be given weights or categories that are declared.
        """
        from mlplatform.training.fit_arguments import fit_with_arguments

        return fit_with_arguments(estimator, rows)

    def search_space(self) -> dict[str, Any]:
        """Return the hyperopt search space; empty: no search."""
        return {}

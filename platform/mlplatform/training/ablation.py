"""What each lookup is worth: the model is trained without it, and compared on the same holdout.

Unlike a feature's importance, which says what one model goes by, this says what cannot be had from the other columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import NotFiniteError, StageError
from mlplatform.features.declaration import looked_up
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.stage_runs import RECENT, as_run
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import paired_difference
from mlplatform.statistics.metrics import Vector
from mlplatform.training.candidate import TrainingData, train, training_data
from mlplatform.training.importance import CONFIDENCE
from mlplatform.training.label_frame import known_labels, training_start
from mlplatform.training.search import Told
from mlplatform.training.stage import NAME, TrainDetails
from mlplatform.training.trainer import Trainer

_DRAWS = 500


@dataclass(frozen=True)
class Ablated:
    """A model that was trained without a lookup.

    Attributes:
        lookup: The feature table, or the feature function.
        features: The inputs that came of it, those that functions computed of them included.
        value: The primary metric without it, on the holdout; None: there is none.
        cost: How much worse that is; above zero: the lookup is worth something.
        low: Lower end of the cost's 95 % interval.
        high: Upper end.
        failure: Why there is no value; empty where there is one.
    """

    lookup: str
    features: tuple[str, ...]
    value: float | None = None
    cost: float | None = None
    low: float | None = None
    high: float | None = None
    failure: str = ""

    @property
    def judgement(self) -> str:
        """In words, whether the lookup is worth it."""
        if self.failure:
            return f"not known: {self.failure}"
        if not self.features:
            return "no input of the model"
        if self.low is None or self.high is None:
            return "not known: the holdout is too small"
        if self.low > 0:
            return "worth it"
        return "better without it" if self.high < 0 else "no difference that can be told from chance"


@dataclass(frozen=True)
class Ablation:
    """What each lookup is worth.

    Attributes:
        metric: The primary metric.
        value: On the holdout, with all lookups.
        rows: Labelled rows.
        holdout: Rows of the holdout.
        params: The parameters that all were trained with.
        lookups: What costs most comes first.
    """

    metric: str
    value: float
    rows: int
    holdout: int
    params: dict[str, Any]
    lookups: tuple[Ablated, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"lookups": [asdict(it) | {"judgement": it.judgement} for it in self.lookups]}


def ablate(
    context: StageContext, trainer: Trainer, spine: LabelSpine, functions: Sequence[FeatureFunctionSpec] = ()
) -> Ablation:
    """Train without each lookup, and compare on the holdout; nothing is recorded, and no model is registered.

    All are trained with the parameters of the newest training on record, else with the trainer's own. A column that is
    left out is the same for all rows, so that an estimator that names it finds it, and learns nothing.

    Args:
        context: The time, whose known labels are trained on.
        trainer: Declares lookups and estimator.
        spine: The use case's label spine.
        functions: The feature functions that the lookups name.

    Raises:
        LabelError: If too few labels are known.
        StageError: If the model with all lookups cannot be trained.
    """
    ws, settings, params = context.ws, context.settings, _params(context, trainer)
    register_functions(ws, context.namespace, functions)
    after = training_start(settings.training, context.as_of)
    frame = known_labels(ws, context.namespace, spine, context.as_of, after=after)
    data = training_data(ws, trainer, spine, frame, settings)
    inputs = [str(name) for name in data.inputs.columns]
    groups = columns_by_lookup(
        trainer.lookups(), lambda lookup: looked_up(lookup, ws.tables.describe(lookup.table_name)), inputs
    )
    context.progress(f"training with all lookups on {frame}")
    whole = _holdout(trainer, data, settings, params)
    labels = data.labels[-len(whole) :]
    metric = metrics.primary(settings)
    found = []
    for lookup, columns in groups.items():
        if not columns:
            found.append(Ablated(lookup, ()))
            continue
        context.progress(f"training without {lookup}: {', '.join(columns)}")
        try:
            without = _holdout(trainer, _constant(data, columns), settings, params)
        except StageError as error:
            found.append(Ablated(lookup, columns, failure=error.message))
            continue
        found.append(_compared(lookup, columns, settings, labels, whole, without))
    return Ablation(
        metric=metric.name,
        value=metric.compute(labels, whole),
        rows=data.labels.size,
        holdout=len(whole),
        params=dict(params),
        lookups=tuple(sorted(found, key=lambda it: (-(it.cost if it.cost is not None else -np.inf), it.lookup))),
    )


def _params(context: StageContext, trainer: Trainer) -> dict[str, Any]:
    recorded = STAGE_RUNS.newest(context.ws, context.namespace, RECENT, [("stage", "=", NAME)])
    trained = [as_run(record, TrainDetails).details.params for record in recorded]
    return next((params for params in reversed(trained) if params), dict(trainer.default_params))


def columns_by_lookup(
    lookups: Iterable[FeatureLookup | FeatureFunction],
    features_of: Callable[[FeatureLookup], Sequence[str]],
    inputs: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Return which inputs would be missing without each lookup: its own, and what functions compute of them.

    Args:
        lookups: The lookups and functions, in the order in which they are declared.
        features_of: The features that a lookup asks for.
        inputs: The model's inputs.

    Examples:
        >>> lender = FeatureLookup("dev.risk.features_lender", "lender", feature_names=["loans", "risk"])
        >>> share = FeatureFunction(udf_name="dev.risk.share", input_bindings={"of": "loans"}, output_name="share")
        >>> columns_by_lookup([lender, share], lambda it: it.feature_names, ["share", "risk", "amount"])
        {'features_lender': ('share', 'risk'), 'share': ('share',)}
    """
    declared = list(lookups)
    functions = [it for it in declared if isinstance(it, FeatureFunction)]
    groups: dict[str, set[str]] = {}
    for item in declared:
        if isinstance(item, FeatureFunction):
            name = _output(item)
            gone = {name}
        else:
            name = ObjectName.parse(item.table_name).name
            gone = {item.output_name(feature) for feature in features_of(item)}
        while more := {_output(it) for it in functions if gone & set(it.input_bindings.values())} - gone:
            gone |= more
        # Two lookups of one table are one question: what is the table worth?
        groups[name] = groups.get(name, set()) | gone
    return {name: tuple(column for column in inputs if column in gone) for name, gone in groups.items()}


def _output(function: FeatureFunction) -> str:
    return function.output_name or ObjectName.parse(function.udf_name).name


def _holdout(trainer: Trainer, data: TrainingData, settings: UseCaseSettings, params: Mapping[str, Any]) -> Vector:
    """Return what a model predicts for its holdout, trained as the platform trains, without a search."""
    alone = settings.training.search.model_copy(update={"max_evals": 1})
    training = settings.training.model_copy(update={"search": alone, "importance_rows": 0})
    options = settings.model_copy(update={"training": training})
    candidate = train(_WithParams(trainer, params), data, options, Told(lambda *_: None))  # type: ignore[arg-type]
    if candidate.not_finite:
        raise NotFiniteError(f"{candidate.not_finite}.", hint="Nothing can be measured by it.")
    return candidate.holdout_predictions


class _WithParams:
    """A trainer whose default parameters are others."""

    def __init__(self, trainer: Trainer, params: Mapping[str, Any]) -> None:
        self._trainer = trainer
        self.default_params = dict(params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)


def _constant(data: TrainingData, columns: Sequence[str]) -> TrainingData:
    changed = data.inputs.copy(deep=False)
    for name in columns:
        values = changed[name].dropna()
        changed[name] = [values.iloc[0] if len(values) else None] * len(changed)
        changed[name] = changed[name].astype(data.inputs[name].dtype)
    return replace(data, inputs=changed)


def _compared(
    lookup: str, columns: tuple[str, ...], settings: UseCaseSettings, labels: Vector, whole: Vector, without: Vector
) -> Ablated:
    metric = metrics.primary(settings)
    value = metric.compute(labels, without)
    try:
        difference = paired_difference(
            metric,
            labels,
            whole,
            without,
            stratify=metric.within_classes,
            confidence=CONFIDENCE,
            draws=_DRAWS,
            seed=settings.training.seed,
        )
    except ArithmeticError:
        return Ablated(lookup, columns, value)
    return Ablated(lookup, columns, value, difference.gain, difference.low, difference.high)

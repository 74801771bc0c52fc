"""The label spine (gold): one row per entity and prediction time, and the labels with the time each became known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mlplatform.columns import Column, Described, arrow_schema, refuse_names
from mlplatform.derived_attributes import derived, is_derived
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.refine.inputs import inferred_inputs
from mlplatform.refine.silver import SilverTable
from mlplatform.types import SortOrder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.config.settings import UseCaseSettings
    from mlplatform.refine.as_of_view import WorkspaceAsOf

SPINE = "spine"
LABELS = "labels"
LABEL_KNOWN_AT = "label_known_at"
# What stands beside the columns of a spine, and beside its keys in the tables of predictions, labels and profiles.
_BESIDE_COLUMNS = frozenset({LABEL_KNOWN_AT, "_label", "_shadow", "_rows", "_newest", "_before", "_exists"})
_BESIDE_KEYS = _BESIDE_COLUMNS | {"prediction", "model_version", "alias", "decided", "as_of", "scored_at", "run_id"}


def _keys(spine: type[LabelSpine]) -> tuple[str, ...]:
    if is_derived(spine, "entity_keys"):
        return spine.entity_keys
    return spine.primary_keys  # what `keys` meant where they were declared so


def _entity_keys(spine: type[LabelSpine]) -> tuple[str, ...]:
    if not is_derived(spine, "keys"):
        return spine.keys
    if spine.table is None:
        return tuple(column.name for column in spine.key_columns if column.name != spine.prediction_time)
    return tuple(key for key in spine.table.keys if key not in (spine.table.known_at, spine.prediction_time))


def _prediction_time(spine: type[LabelSpine]) -> str:
    return spine.table.known_at if spine.table is not None else spine.key_columns[-1].name


def _key_columns(spine: type[LabelSpine]) -> tuple[Column, ...]:
    raise ConfigError(
        f"{spine.__name__} has neither a table nor key_columns.",
        hint="Name the silver table whose rows are the spine, or declare the columns of its keys and prediction time.",
    )


class LabelSpine(Described, ABC):
    """Base class of a use case's label spine: whom to predict for, when, and what turned out.

    See the glossary: docs/glossary.md

    Attributes:
        table: The silver table whose rows are the spine, when one is: the spine then has all its columns.
        keys: Columns that name the entity, without the time; unless declared, taken from `table` or `key_columns`.
        prediction_time: Timestamp column: the moment the prediction is made; features are looked up as of it. Unless
            declared, the time at which the rows of `table` were known, or the last of `key_columns`.
        primary_keys: Keys and prediction time: what identifies a row.
        label: The label's column.
        label_type: Its Spark type.
        columns: The spine's columns besides keys and prediction time: facts known at the prediction time. Taken from
            `table`, if one is named.
        key_columns: Declarations of the keys and the prediction time; taken from `table`, too.
        inputs: Bare names of the tables it is made from; unless declared, those that `spine` and `labels` read.
        entity_keys: The earlier name of `keys`, never with the time. Where it is declared and `keys` is not, `keys`
            holds the prediction time as well, as it did then.

    Examples:
        >>> class Loans(SilverTable):
        ...     keys = ("loan_id",)
        ...     known_at = "approved_at"
        ...     columns = (
        ...         Column("loan_id", "string", "Number of the loan"),
        ...         Column("approved_at", "timestamp", "When it was approved"),
        ...         Column("amount", "double", "In dollars"),
        ...     )
        >>> class Defaults(LabelSpine):
        ...     table = Loans
        ...     label = "defaulted"
        ...
        ...     def labels(self, ws):
        ...         known_at = "add_months(approved_at, 12) AS label_known_at"
        ...         return ws.read(Loans).selectExpr("loan_id", "approved_at", "0.0 AS defaulted", known_at)
        >>> Defaults.keys, Defaults.prediction_time, [column.name for column in Defaults.columns]
        (('loan_id',), 'approved_at', ['amount'])
        >>> Defaults(settings=None).order
        [('approved_at', 'ascending'), ('loan_id', 'ascending')]
    """

    table: ClassVar[type[SilverTable] | None] = None
    keys: ClassVar[tuple[str, ...]] = derived(_keys)
    entity_keys: ClassVar[tuple[str, ...]] = derived(_entity_keys)
    prediction_time: ClassVar[str] = derived(_prediction_time)
    primary_keys: ClassVar[tuple[str, ...]] = derived(lambda cls: (*cls.entity_keys, cls.prediction_time))
    label: ClassVar[str]
    label_type: ClassVar[str] = "double"
    key_columns: ClassVar[tuple[Column, ...]] = derived(_key_columns)
    columns: ClassVar[tuple[Column, ...]]
    inputs: ClassVar[tuple[str, ...]] = inferred_inputs("spine", "labels")

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the use case's settings (the label's horizon)."""
        self.settings = settings

    def __init_subclass__(cls, **declared: Any) -> None:
        """Take the columns from the silver table, where one is named, unless they are declared."""
        super().__init_subclass__(**declared)
        own = vars(cls)
        for attribute, taken in (("key_columns", _BESIDE_KEYS), ("columns", _BESIDE_COLUMNS)):
            if attribute in own:
                refuse_names(cls.__name__, (column.name for column in own[attribute]), taken)
        if "label" in own:
            refuse_names(cls.__name__, (cls.label,), _BESIDE_KEYS)
        if "keys" in own and cls.prediction_time in cls.keys:
            raise ConfigError(
                f"{cls.__name__}.keys holds the prediction time, {cls.prediction_time}.",
                hint="Keys name the entity; primary_keys adds the prediction time.",
            )
        if cls.table is None:
            return
        columns = {column.name: column for column in cls.table.columns}
        for key in cls.primary_keys:
            if key not in columns:
                raise ConfigError(
                    f"{cls.__name__}: {key} is no column of {cls.table.__name__}.", hint=did_you_mean(key, columns)
                )
        if "key_columns" not in own:
            cls.key_columns = tuple(replace(columns[key], nullable=False) for key in cls.primary_keys)
        if "columns" not in own:
            cls.columns = tuple(column for column in cls.table.columns if column.name not in cls.primary_keys)

    def spine(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return one row per entity and prediction time, with the declared columns.

        Args:
            ws: The workspace as known at the run's `as_of`.

        Raises:
            ConfigError: If no `table` is named, and this method is not overridden.
        """
        if self.table is None:
            raise ConfigError(f"{type(self).__name__} has no table.", hint="Name one, or override spine().")
        names = [column.name for column in (*self.key_columns, *self.columns)]
        return ws.read(self.table).select(*names)

    @abstractmethod
    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return keys, prediction time, label, and `label_known_at`: the moment the label is mature.

        Rows whose `label_known_at` lies after `as_of` are dropped by the platform; they need not be.
        """

    @property
    def order(self) -> SortOrder:
        """How rows are sorted, for Arrow's `sort_by`: by prediction time, then by entity."""
        return [(column, "ascending") for column in (self.prediction_time, *self.entity_keys)]

    def spine_schema(self) -> pa.Schema:
        """Return the schema of `gold_spine`."""
        return arrow_schema((*self.key_columns, *self.columns))

    def label_schema(self) -> pa.Schema:
        """Return the schema of `gold_labels`."""
        return arrow_schema(
            (
                *self.key_columns,
                Column(self.label, self.label_type, "The label", nullable=False),
                Column(LABEL_KNOWN_AT, "timestamp", "When the label became known", nullable=False),
            )
        )

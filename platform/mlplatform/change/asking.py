"""What live model versions would say: recent predictions, scored again with what the new declarations give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import narwhals as nw
import pyarrow as pa

from mlplatform import stopping
from mlplatform.change.answers import Answer, moved
from mlplatform.change.changed_view import Stretch
from mlplatform.change.existing import LiveVersion
from mlplatform.change.looking_up import KNOWN, NUMBER, looking_further_back, newest_rows, nulls, numbered, young
from mlplatform.errors import PlatformError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.probabilities import PROBABILITIES
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage_runs import ENDED_WELL
from mlplatform.protocols.feature_spec import FeatureColumn
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.types import arrow_type

MOST_ASKED = 2000
"""Predictions that are scored again, at most."""
_FEW = 200
_SEED = 0


class Asked:
    """A live version, and recent rows that it is asked about.

    The rows are those of its newest scoring, or where these are few, of all its scorings; of a version that predicted
    nothing yet the newest of the spine. Of many, `MOST_ASKED` are drawn by a hash of their keys.
    """

    def __init__(
        self,
        context: StageContext,
        live: LiveVersion,
        functions: Mapping[str, FeatureFunctionSpec],
        trusted_types: Sequence[str],
    ) -> None:
        """Take the version; nothing is read yet.

        Args:
            context: The run.
            live: The version.
            functions: Full name in lower case -> the function as it is computed from now on.
            trusted_types: Types beyond the platform's own allow-list that a model may hold.
        """
        self._context, self._live, self._functions = context, live, functions
        self._trusted = trusted_types
        self._rows: pa.Table | None = None
        self._before: pa.Table | None = None

    def with_table(self, table: ObjectName, rows: Frame, stretches: Sequence[Stretch] = ()) -> Answer:
        """Ask with a feature table's new rows in place of those that it holds.

        Args:
            table: The table.
            rows: Its new rows.
            stretches: The times that the rows are of; empty: of all. Predictions that look further back are left out.
        """
        outside: set[int] = set()
        return self._answer(lambda: self._looked_up(table, rows, stretches, outside), self._scored_before, outside)

    def with_spine(self, rows: Frame) -> Answer:
        """Ask with the spine's new rows in place of those that it holds."""

        def columns() -> dict[str, pa.ChunkedArray[Any]]:
            keys, held = self._keys, rows.collect_schema().names()
            read = [name for name in self._live.reads(self._live.spine) if name not in keys]
            found = self._beside(rows, [name for name in read if name in held])
            # What is gone is null for good.
            gone = [name for name in read if name not in held and name in self._sample.column_names]
            return found | {name: nulls(self._sample.column(name).type, self._sample.num_rows) for name in gone}

        return self._answer(columns, self._scored_before)

    def with_functions(self) -> Answer:
        """Ask with the functions as they are declared, and features as they were when the predictions were made."""

        def columns() -> dict[str, pa.ChunkedArray[Any]]:
            then = self._features_then()
            return {**then, **self._computed(then)}

        return self._answer(columns, self._on_record)

    def _answer(
        self,
        columns: Callable[[], Mapping[str, pa.ChunkedArray[Any]]],
        before: Callable[[], pa.ChunkedArray[Any]],
        outside: Collection[int] = (),
    ) -> Answer:
        try:
            if not self._sample.num_rows:
                return Answer(why_not="there is no row to ask about")
            then = before()
            now = self._score(columns()).column(PREDICTION)
        except _CannotAskError as error:
            return Answer(why_not=str(error), fails=isinstance(error, _FailsError))
        except PlatformError as error:
            return Answer(why_not=error.message.splitlines()[0])
        within = pa.array([place for place in range(self._sample.num_rows) if place not in outside], pa.int64())
        if not len(within):
            return Answer(why_not="its predictions look further back than what was computed")
        return Answer(moved(then.take(within), now.take(within)))

    def _score(self, columns: Mapping[str, pa.ChunkedArray[Any]]) -> pa.Table:
        """Score the rows, with some of what would be looked up or computed given; a row without a key is none."""
        rows = self._sample
        for name, column in columns.items():
            if name in rows.column_names:
                rows = rows.set_column(rows.column_names.index(name), name, column)
            else:
                rows = rows.append_column(name, column)
        fe = self._context.ws.fe
        classes = self._context.settings.kind_of_task.classes
        scored = fe.score_batch_arrow(
            model_uri=self._live.version.uri, df=rows, trusted_types=self._trusted, classes=classes
        )
        return scored.sort_by(NUMBER)

    @property
    def _stored(self) -> str:
        """The column of the predictions on record that is held against what is scored again."""
        return PROBABILITIES if self._context.settings.kind_of_task.is_multiclass else PREDICTION

    @property
    def _keys(self) -> list[str]:
        return list(self._context.ws.tables.describe(self._live.spine).primary_keys)

    @property
    def _sample(self) -> pa.Table:
        """The spine's rows as it holds them, with a number, in order of the number."""
        if self._rows is None:
            context, frames = self._context, self._context.ws.frames
            keys = self._keys
            spine = frames.read(self._live.spine)
            predictions = context.namespace.gold(PREDICTIONS)
            asked: Frame | None = None
            if context.ws.tables.exists(predictions):
                mine: list[Filter] = [("model_version", "=", self._live.number), ("as_of", "<=", context.as_of)]
                newest = context.ws.tables.largest(predictions, "as_of", filters=mine)
                columns = [*keys, self._stored]
                for filters in ([*mine, ("as_of", "=", newest)], mine) if newest is not None else ():
                    asked = frames.read(predictions, columns=columns, filters=filters)
                    if frames.count(asked) >= _FEW:
                        break
            if asked is None:
                time_column = context.ws.tables.describe(self._live.spine).timeseries_column
                newest_rows = spine.sort(str(time_column), *keys, descending=True).head(MOST_ASKED)
                asked = newest_rows.select(*keys).with_columns(nw.lit(None, nw.Float64()).alias(self._stored))
            asked = frames.sample(asked, keys=keys, at_most=MOST_ASKED, seed=_SEED)
            joined = spine.join(asked.rename({self._stored: KNOWN}), on=keys, how="inner")
            rows = frames.collect(joined, at_most=MOST_ASKED, what="predictions to ask about again")
            rows = rows.sort_by([(key, "ascending") for key in keys])
            self._rows = rows.append_column(NUMBER, pa.array(range(rows.num_rows), pa.int64()))
        return self._rows.drop_columns([KNOWN])

    def _scored_before(self) -> pa.ChunkedArray[Any]:
        if self._before is None:
            self._before = self._score({})
        return self._before.column(PREDICTION)

    def _on_record(self) -> pa.ChunkedArray[Any]:
        assert self._rows is not None
        known = self._rows.column(KNOWN)
        if known.null_count:
            raise _CannotAskError("no prediction of it is on record")
        return known

    def _beside(self, new: Frame, names: Sequence[str]) -> dict[str, pa.ChunkedArray[Any]]:
        """Return columns of new rows beside those of the sample, by key."""
        frames, keys = self._context.ws.frames, self._keys
        mine = frames.of(self._sample.select([*keys, NUMBER]))
        found = frames.collect(
            mine.join(new, on=keys, how="inner").select(NUMBER, *names),
            at_most=MOST_ASKED,
            what="new rows to ask about",
        )
        return numbered(found, self._sample.num_rows, names)

    def _looked_up(
        self, table: ObjectName, rows: Frame, stretches: Sequence[Stretch] = (), outside: set[int] | None = None
    ) -> dict[str, pa.ChunkedArray[Any]]:
        """Look the version's features up in a table's new rows, as of each row's own time.

        The numbers of rows that look further back than the stretches are put `outside`.
        """
        live, frames = self._live, self._context.ws.frames
        kinds = rows.collect_schema()
        groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[FeatureColumn]] = {}
        for column in live.spec.features:
            if column.table_name == str(table):
                groups.setdefault((column.lookup_key, column.timestamp_lookup_key), []).append(column)
        info = self._context.ws.tables.describe(table)
        plain = [key for key in info.primary_keys if key != info.timeseries_column]
        found: dict[str, pa.ChunkedArray[Any]] = {}
        for (keys, times), columns in groups.items():
            needed = [*keys, *times]
            if absent := [name for name in needed if name not in self._sample.column_names]:
                raise _CannotAskError(f"{table.name} is looked up by {', '.join(absent)}, which is looked up itself")
            if absent := [name for name in (*plain, info.timeseries_column) if name and name not in kinds]:
                raise _CannotAskError(f"{table.name} has no column {', '.join(absent)} any more")
            wanted = [column for column in columns if column.feature_name in kinds]
            names = [NUMBER, *(f"__mine_{place}" for place in range(len(needed)))]
            mine = frames.of(self._sample.select([NUMBER, *needed]).rename_columns(names))
            features = list(dict.fromkeys(column.feature_name for column in wanted))
            newest = newest_rows(mine, rows, plain, info.timeseries_column, features)
            looked_up = frames.collect(newest, at_most=MOST_ASKED, what=f"new rows of {table.name} to ask about")
            if stretches and outside is not None:
                outside.update(looking_further_back(looked_up, self._sample, times[0], stretches))
            looked_up = young(looked_up, live.spec.lookback(str(table)))
            values = numbered(looked_up, self._sample.num_rows, features)
            for column in columns:
                # What is gone is null for good; as of another type, the model is given it in the one it knows.
                value = values.get(column.feature_name, nulls(pa.null(), self._sample.num_rows))
                found[column.output_name] = _cast(value, column)
        return found

    def _features_then(self) -> dict[str, pa.ChunkedArray[Any]]:
        """Look features up in the versions of their tables that the newest scoring of the rows found."""
        context = self._context
        found: dict[str, pa.ChunkedArray[Any]] = {}
        for name in dict.fromkeys(column.table_name for column in self._live.spec.features):
            table = ObjectName.parse(name)
            version = _version_then(context, table, self._live)
            if version is not None and version != context.ws.tables.version(table):
                found |= self._looked_up(table, context.ws.frames.read(table, version=version))
        return found

    def _computed(self, given: Mapping[str, pa.ChunkedArray[Any]]) -> dict[str, pa.ChunkedArray[Any]]:
        """Call the declared functions for each row."""
        rows = self._sample
        self._scored_before()
        assert self._before is not None
        found: dict[str, pa.ChunkedArray[Any]] = {}
        for column in self._live.spec.computed:
            function = self._functions.get(column.udf_name.lower())
            if function is None:
                raise _CannotAskError(f"{column.udf_name} is not declared any more")
            arguments = []
            for parameter, _ in function.parameters:
                bound = column.input_bindings.get(parameter)
                if bound is None:
                    raise _CannotAskError(f"{function.name} has a parameter {parameter} that it had not")
                for source in (found, given):
                    if bound in source:
                        arguments.append(source[bound].to_pylist())
                        break
                else:
                    table = rows if bound in rows.column_names else self._before
                    if bound not in table.column_names:
                        raise _CannotAskError(f"{function.name} takes {bound}, which the model is not given")
                    arguments.append(table.column(bound).to_pylist())
            found[column.output_name] = pa.chunked_array([_called(function, arguments, rows.num_rows)])
        return found


def _called(function: FeatureFunctionSpec, arguments: Sequence[Sequence[Any]], count: int) -> pa.Array[Any]:
    """Return what a function gives for each of some rows.

    Args:
        function: The function.
        arguments: For each of its parameters, the rows' values.
        count: The number of rows.

    Raises:
        _FailsError: If it fails, or returns another type than it declares.
    """
    each: Iterable[tuple[Any, ...]] = zip(*arguments, strict=True) if arguments else [()] * count
    try:
        values = [function.fn(*row) for row in each]
    except Exception as error:
        stopping.check()
        raise _FailsError(f"{function.name} fails with {type(error).__name__}: {error}") from error
    try:
        return pa.array(values, arrow_type(function.returns))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _FailsError(f"{function.name} does not return {function.returns} as declared: {error}") from error


class _CannotAskError(Exception):
    """Raised where a version cannot be asked; says why."""


class _FailsError(_CannotAskError):
    """Raised where a version cannot be asked because code of the use case fails."""


def _cast(values: pa.ChunkedArray[Any], column: FeatureColumn) -> pa.ChunkedArray[Any]:
    if not column.data_type:
        return values
    try:
        return values.cast(arrow_type(column.data_type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _CannotAskError(f"{column.feature_name} cannot be given as {column.data_type}: {error}") from None


def _version_then(context: StageContext, table: ObjectName, live: LiveVersion) -> int | None:
    """Return the Delta version of a feature table at the newest scoring with a version; None: not on record."""
    features: int | None = None
    then: int | None = None
    for record in context.log.records():
        if record.status not in ENDED_WELL:
            continue
        if str(table) in record.outputs and record.stage in ("features", "backfill"):
            features = record.outputs[str(table)]
        if record.stage == "score":
            shadow = record.details.get("shadow") or {}
            if live.number in (record.details.get("model_version"), shadow.get("model_version")):
                then = features
    return then

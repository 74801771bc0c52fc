"""What every use case must hold to, whatever it predicts: one check a promise of the platform."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform import stopping
from mlplatform.as_of import parse_as_of, shown
from mlplatform.bundle.generate import generate, generate_shared
from mlplatform.bundle.project import BUNDLE_FILE, PROJECT_FILE, Project
from mlplatform.config.environments import read_config
from mlplatform.config.settings import CONFIG_FILE, load_settings
from mlplatform.discovery import FOLDER
from mlplatform.errors import ContractError, PlatformError
from mlplatform.features.probabilities import PROBABILITIES, matrix
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate.judgement import judge
from mlplatform.naming import CHALLENGER, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.frame_checks import count_keys, repeated_key
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.lookups import FeatureLookup
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.as_of_view import view_at
from mlplatform.refine.event_spine import EventSpine
from mlplatform.refine.spine import LABEL_KNOWN_AT, SPINE
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.testing import declarations
from mlplatform.testing.computed import computed_rows
from mlplatform.testing.empty_columns import empty_column
from mlplatform.testing.incremental_check import check_incremental
from mlplatform.testing.leak_check import check_events, check_features, check_weights
from mlplatform.training.candidate import training_data
from mlplatform.training.fitting import columns_without_values
from mlplatform.training.label_frame import known_labels, training_start
from mlplatform.training.weights import WeightColumn
from mlplatform.use_case import UseCase

Status = Literal["passed", "failed", "skipped"]
_SHARES = (0.3, 0.6, 0.9)
_SAME = 1e-9
_AGAIN = "again"
_SHOWN = 4  # lines of a difference
_NO_FEATURES = "there is no feature table"
_SCORED_ROWS = 20_000


class NothingToCheckError(Exception):
    """Raised by a check that has nothing to look at; says why."""


@dataclass(frozen=True)
class Checked:
    """One check of the contract, and how it ended.

    Attributes:
        check: Its name.
        status: `passed`, `failed` or `skipped`.
        detail: What was looked at, or what is wrong.
        hint: The way out of a failure.
        seconds: How long it took.
    """

    check: str
    status: Status
    detail: str
    hint: str
    seconds: float


class Contract:
    """The contract of one use case, looked at in a workspace of its own at one time.

    Each check raises a `PlatformError` where the promise is broken, and returns what it looked at otherwise. The data
    are refined and the model is trained once, when a check first needs them.
    """

    def __init__(
        self, name: str, cls: type[UseCase], folder: Path, ws: Workspace, as_of: datetime | str | None = None
    ) -> None:
        """Take the use case.

        Args:
            name: Its name.
            cls: Its class.
            folder: Its folder.
            ws: An empty workspace; the checks fill it.
            as_of: The time; None: where the use case's simulation starts.
        """
        self._name, self._class, self._folder, self._ws, self._given = name, cls, folder, ws, as_of
        self._done: set[str] = set()
        self._failures: dict[str, PlatformError] = {}

    @property
    def checks(self) -> dict[str, Callable[[], str]]:
        """The checks by name, in the order in which they make sense."""
        return {
            "config": self.config_is_valid,
            "declarations": self.tables_are_declared_and_documented,
            "resources": self.resources_are_consistent,
            "keys": self.keys_are_unique,
            "leaks": self.no_feature_table_leaks,
            "incremental": self.step_by_step_is_at_once,
            "training_set": self.the_training_set_is_as_declared,
            "beats_trivial": self.the_model_beats_the_trivial_baseline,
            "scoring": self.predictions_can_be_made_again,
        }

    def run(self) -> Iterator[Checked]:
        """Yield every check's end, as it is reached; one that fails does not keep the others from being run.

        What keeps several from being looked at, such as data that cannot be refined, is the first one's failure.
        """
        reported: dict[str, str] = {}
        for name, check in self.checks.items():
            start = time.perf_counter()
            status: Status = "passed"
            hint = ""
            try:
                detail = check()
            except NothingToCheckError as nothing:
                status, detail = "skipped", str(nothing)
            except PlatformError as error:
                status, detail, hint = "failed", error.message, error.hint
            except Exception as error:  # noqa: BLE001  (a use case's own code may raise anything; it is reported)
                stopping.check()
                status, detail = "failed", f"{type(error).__name__}: {error}"
            if status == "failed" and reported.setdefault(detail, name) != name:
                status, detail, hint = "skipped", f"not looked at: what {reported[detail]} says comes first", ""
            yield Checked(name, status, detail, hint, time.perf_counter() - start)

    def config_is_valid(self) -> str:
        """`config.yml` is right in every environment that it names."""
        path = self._folder / CONFIG_FILE
        load_settings(path, self._ws.env)
        sections = read_config(path).sections
        for env in sections:
            load_settings(path, env)
        return f"{CONFIG_FILE} is right for {', '.join(dict.fromkeys([self._ws.env, *sections]))}"

    def tables_are_declared_and_documented(self) -> str:
        """Every table has a description, every column a comment and a type, and what refers to another is there."""
        problems = list(declarations.problems(self._use_case))
        if problems:
            raise ContractError("\n".join(problems), hint="Mend the declarations named above.")
        parts = self._use_case
        return f"{len(parts.sources)} source(s), {len(parts.silver)} silver, {len(parts.features)} feature table(s)"

    def resources_are_consistent(self) -> str:
        """The bundle's resources file is as the settings make it, and the jobs find the use case."""
        folder, name = self._folder.resolve(), self._name
        home = folder.parent
        if home.name != FOLDER or not (home.parent / BUNDLE_FILE).is_file():
            raise NothingToCheckError(f"no {BUNDLE_FILE} stands beside {home}: no bundle deploys it")
        project = Project.read(home.parent)
        for file in (*generate(project, name, folder), *generate_shared(project)):
            if file.use_case in ("", name) and (difference := file.difference()):
                changed = [line for line in difference.splitlines()[2:] if line[:1] in "+-"]
                raise ContractError(
                    f"{file.path} is not as the settings make it; {len(changed)} line(s) differ: "
                    f"{'; '.join(changed[:_SHOWN])}",
                    hint=f"mlplatform bundle generate {name}",
                )
        if name not in project.entry_points():
            raise ContractError(
                f"{home.parent / PROJECT_FILE} does not name {name}: no job would find it.",
                hint=f'Name it under [project.entry-points."mlplatform.use_cases"]: {name} = '
                f'"{FOLDER}.{name}:{self._class.__name__}"',
            )
        return f"{project.file(name).relative_to(home.parent)} is as the settings make it"

    def keys_are_unique(self) -> str:
        """No two rows of a silver table, of the spine, of the labels or of a feature table have the same keys."""
        from pyspark.sql import functions as F  # noqa: N812

        use_case, ws = self._refined, self._ws
        spine = use_case.label_spine()
        looked: dict[str, int] = {}
        for silver in use_case.silver:
            rows = ws.frames.read(use_case.namespace.silver(silver.name), columns=silver.row_keys)
            looked[f"silver_{silver.name}"] = self._rows_of(f"silver_{silver.name}", rows, silver.row_keys)
        # As they are computed: the tables are merged into by key, which would hide a second row.
        view, by_now, keys = view_at(self._context, allowed=spine.inputs), F.lit(self._as_of), spine.primary_keys
        for name, computed in (
            ("gold_spine", spine.spine(view).where(F.col(spine.prediction_time) <= by_now)),
            ("gold_labels", spine.labels(view).where(F.col(LABEL_KNOWN_AT) <= by_now)),
        ):
            with ws.frames.staged(computed.select(*keys)) as rows:
                looked[name] = self._rows_of(name, rows, keys)
        for table in (table_type() for table_type in use_case.features):
            with computed_rows(ws, use_case, table, self._as_of) as rows:
                looked[f"features_{table.name}"] = self._rows_of(f"features_{table.name}", rows, table.primary_keys)
        return ", ".join(f"{name} {count}" for name, count in looked.items()) + " rows"

    def no_feature_table_leaks(self) -> str:
        """What is computed as of what was known at a time has the rows that it has for that time later.

        That is each feature table, the weights that are looked up, and the dated events of the spine.
        """
        use_case = self._refined
        has_weights = isinstance(use_case.trainer.weight_column, WeightColumn)
        has_events = isinstance(use_case.label_spine(), EventSpine)
        if not (use_case.features or has_weights or has_events):
            raise NothingToCheckError(_NO_FEATURES)
        moments = self._moments()
        check_features(self._ws, use_case, moments)
        check_weights(self._ws, use_case, moments)
        events = f"; {check_events(self._ws, use_case, moments)} events" if has_events else ""
        return f"as of {', '.join(shown(moment) for moment in moments)}{events}"

    def step_by_step_is_at_once(self) -> str:
        """A feature table computed step by step has the rows of one computed at once."""
        if not self._refined.features:
            raise NothingToCheckError(_NO_FEATURES)
        moments = self._moments()
        check_incremental(self._ws, self._use_case, moments)
        return f"in {len(moments)} steps"

    def the_training_set_is_as_declared(self) -> str:
        """The model gets the spine's columns and the looked-up features, for every labelled row, and nothing else."""
        use_case = self._refined
        spine, trainer, settings = use_case.label_spine(), use_case.model_trainer(), use_case.settings
        use_case.register_functions(self._ws)
        start = training_start(settings.training, self._as_of)
        frame = known_labels(self._ws, use_case.namespace, spine, self._as_of, after=start)
        data = training_data(self._ws, trainer, spine, frame, settings)
        if data.labels.size != frame.rows.num_rows:
            raise ContractError(
                f"{frame.rows.num_rows} labelled rows became {data.labels.size} in the training set.",
                hint="Each row needs its keys and its prediction time: a null one is left out.",
            )
        expected = {column.name for column in spine.columns} - set(trainer.left_out)
        for item in trainer.lookups():
            if isinstance(item, FeatureLookup):
                names = item.feature_names or self._features_of(str(item.table_name))
                expected |= {item.output_name(name) for name in names}
            else:
                expected.add(str(item.output_name))
        expected -= set(trainer.left_out)
        got = set(data.inputs.columns)
        if got != expected:
            raise ContractError(
                f"The training set lacks {sorted(expected - got)} and has {sorted(got - expected)} beyond what is "
                "declared.",
                hint="Compare the trainer's lookups and exclude_columns with the spine's columns.",
            )
        empty = [
            empty_column(self._ws, use_case, trainer, frame.rows, name) for name in columns_without_values(data.inputs)
        ]
        if wrong := [item for item in empty if item.is_wrong]:
            raise ContractError(" ".join(item.cause for item in wrong), hint=wrong[0].hint)
        return " ".join([f"{data.labels.size} rows, {len(got)} columns.", *(item.cause for item in empty)]).rstrip(".")

    def the_model_beats_the_trivial_baseline(self) -> str:
        """On its holdout, the model is surely better than a predictor that knows nothing."""
        use_case = self._trained
        version = self._ws.registry.get(use_case.model, self._ws.registry.aliases(use_case.model)[CHALLENGER])
        decision = judge(
            self._context,
            use_case.gate,
            use_case.label_spine(),
            version,
            None,
            functions=use_case.functions,
            trusted_types=use_case.trainer.trusted_types,
        ).decision
        checks = {check.name: check for check in decision.checks}
        judged = checks.get("beats_trivial")
        if judged is None or judged.status != "pass":
            why = judged.detail if judged else decision.reason
            raise ContractError(
                f"The model does not beat the trivial baseline: {why}.",
                hint="Fewer, better features, or a later time with more labels.",
            )
        return judged.detail

    def predictions_can_be_made_again(self) -> str:
        """What scoring stored for each due row is what the registered model says of that row again."""
        use_case, ws = self._trained, self._ws
        Pipeline(ws, use_case, self._as_of).run(["score"], alias=CHALLENGER)
        keys = list(use_case.label_spine().primary_keys)
        task = use_case.settings.kind_of_task
        held = PROBABILITIES if task.is_multiclass else PREDICTION
        predictions = ws.frames.read(use_case.namespace.gold(PREDICTIONS), columns=[*keys, held])
        predictions = predictions.rename({held: PREDICTION})
        total = ws.frames.count(predictions)
        if not total:
            raise NothingToCheckError(f"no prediction is due in the {use_case.settings.scoring.every} before as_of")
        if total > _SCORED_ROWS:
            predictions = ws.frames.sample(predictions, keys=keys, at_most=_SCORED_ROWS, seed=0)
        stored = ws.frames.collect(predictions, at_most=_SCORED_ROWS, what="stored predictions")
        rows = ws.frames.read(use_case.namespace.gold(SPINE))
        scored = rows.join(ws.frames.of(stored.select(keys)), on=keys, how="semi")
        due = ws.frames.collect(scored, at_most=stored.num_rows, what="rows of stored predictions")
        uri = ws.registry.get(use_case.model, ws.registry.aliases(use_case.model)[CHALLENGER]).uri
        trusted = use_case.trainer.trusted_types
        again = ws.fe.score_batch_arrow(model_uri=uri, df=due, trusted_types=trusted, classes=task.classes)
        both = _beside(stored, again.select([*keys, PREDICTION]), keys)
        first, second = (
            matrix(both.column(name), len(task.classes)) if task.is_multiclass else both.column(name).to_numpy()
            for name in (PREDICTION, _AGAIN)
        )
        if both.num_rows != stored.num_rows or not np.allclose(first, second, rtol=_SAME, atol=_SAME):
            close = np.isclose(first, second, rtol=_SAME, atol=_SAME).reshape(both.num_rows, -1)
            differ = int((~close.all(axis=1)).sum())
            raise ContractError(
                f"Of {stored.num_rows} stored predictions {stored.num_rows - both.num_rows} cannot be made again, and "
                f"{differ} come out differently.",
                hint="A model must give the same answer to the same row: no randomness, no clock.",
            )
        return f"{stored.num_rows}{f' of {total}' if total > stored.num_rows else ''} predictions made again"

    @cached_property
    def _use_case(self) -> UseCase:
        return self._class.open(self._name, self._folder, self._ws)

    @cached_property
    def _as_of(self) -> datetime:
        given = self._given
        if given is None:
            simulation = self._use_case.settings.simulation
            if simulation is None:
                raise ContractError(
                    f"{self._name} does not say at which time to look.",
                    hint="Give --as-of, or set simulation.start in config.yml.",
                )
            given = simulation.start
        return parse_as_of(given)

    @property
    def _context(self) -> StageContext:
        return self._use_case.context(self._ws, self._as_of, run_id="contract")

    @property
    def _refined(self) -> UseCase:
        return self._after("features", ["ingest", "refine", "features"])

    @property
    def _trained(self) -> UseCase:
        _ = self._refined
        return self._after("train", ["train"])

    def _after(self, step: str, stages: list[str]) -> UseCase:
        """Run stages once; what they raised the first time is raised again, and not run again."""
        if step in self._failures:
            raise self._failures[step]
        if step not in self._done:
            try:
                Pipeline(self._ws, self._use_case, self._as_of).run(stages)
            except PlatformError as error:
                self._failures[step] = error
                raise
            self._done.add(step)
        return self._use_case

    def _features_of(self, table: str) -> list[str]:
        info = self._ws.tables.describe(ObjectName.parse(table))
        return [name for name in info.schema.names if name not in info.primary_keys]

    def _moments(self) -> list[datetime]:
        use_case = self._refined
        spine = use_case.label_spine()
        frames, time = self._ws.frames, spine.prediction_time
        rows = frames.read(use_case.namespace.gold(SPINE), columns=[time])
        count = frames.count(rows)
        if not count:
            raise ContractError(f"The spine is empty at {shown(self._as_of)}.", hint="Choose a later time.")
        places = [int(share * (count - 1)) for share in _SHARES]
        chosen = rows.with_row_index("place", order_by=time).filter(nw.col("place").is_in(places)).select(time)
        times: list[Any] = frames.collect(chosen, at_most=len(places), what="moments of the spine")[time].to_pylist()
        return sorted({*times, self._as_of})

    def _rows_of(self, name: str, rows: Frame, keys: Sequence[str]) -> int:
        """Return how many rows a table has.

        Raises:
            ContractError: If it has none, or a key stands for several.
        """
        counts = count_keys(self._ws.frames, rows, keys)
        if not counts.rows:
            raise ContractError(
                f"{name} is empty at {shown(self._as_of)}.", hint="Choose a later time, or look into its quarantine."
            )
        if counts.repeated:
            example = {key: str(value) for key, value in repeated_key(self._ws.frames, rows, keys).items()}
            raise ContractError(
                f"{name}: {counts.repeated} key(s) stand for several rows, such as {example}.",
                hint=f"One row for each {', '.join(keys)}: aggregate, or add what tells them apart to the keys.",
            )
        return counts.rows


def _beside(stored: pa.Table, again: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows of both, by their keys; Arrow joins no lists, so that these are taken by the rows' places."""
    first = stored.select(keys).append_column("_first", pa.array(range(stored.num_rows), pa.int64()))
    second = again.select(keys).append_column("_second", pa.array(range(again.num_rows), pa.int64()))
    both = first.join(second, keys=list(keys), join_type="inner")
    columns = [
        stored.column(PREDICTION).take(both.column("_first")),
        again.column(PREDICTION).take(both.column("_second")),
    ]
    return pa.table(columns, names=[PREDICTION, _AGAIN])

"""Setup: what a deployment cannot declare: tables with keys, tags, the model, its deployment job, grants, profiling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from pydantic import Field

from mlplatform.errors import DeploymentError, UsageError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.monitoring import profiling
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols import judged_models
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.scoring.unscored import UNSCORED

# Who writes which of the platform's own tables; all roles record their runs.
_RUNS, _DECISIONS = "stage_runs", judged_models.DECISIONS
# On Databricks the workspace keeps tables of its own: what was appended, who holds which lock. All roles write there.
_OF_THE_WORKSPACE = ("transactions", "leases")


class TableMaker(Protocol):
    """A stage that makes the tables it writes, before there are rows for them."""

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that it writes."""
        ...

    def create_tables(self, context: StageContext) -> None:
        """Create them if they do not exist."""
        ...


class SetupDetails(Details):
    """What a setup says of itself.

    Attributes:
        steps: What was done, or would be, and what came of it; a line each.
    """

    steps: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Setup(PlannedStage[SetupDetails]):
    """What a deployment cannot declare is made if it does not exist; again changes nothing.

    Attributes:
        computing: The stages whose tables the trainer writes.
        scoring: The stage whose tables the scorer writes.
        spine: The label spine.
        functions: The feature functions.
        trainer: Ingests, computes features, monitors, registers model versions; empty: nothing is granted.
        promoter: Evaluates versions and moves aliases; empty: nothing is granted.
        scorer: Appends predictions; empty: nothing is granted.
        model_owner: Owns the registered model, so that it may move its aliases: a group that the promoter belongs to;
            empty: the owner stays who it is.
        deployment_job: Id of the job that evaluates, approves and promotes new versions of the model.
        expect_schema: What the deployment calls the use case's schema; empty: nothing is compared.
    """

    name: ClassVar[str] = "setup"
    recorded: ClassVar[bool] = False

    computing: tuple[TableMaker, ...]
    scoring: TableMaker
    spine: LabelSpine
    functions: tuple[FeatureFunctionSpec, ...] = ()
    trainer: str = ""
    promoter: str = ""
    scorer: str = ""
    model_owner: str = ""
    deployment_job: str = ""
    expect_schema: str = ""

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that it creates."""
        return (*self._computed(names), names.gold(PREDICTIONS), names.gold(UNSCORED))

    def plan(self, context: StageContext) -> Plan[SetupDetails]:
        """Return what is to be done.

        Raises:
            DeploymentError: If the deployment calls the schema otherwise than the use case does.
            UsageError: If a deployment job is given and the settings approve by themselves.
        """
        actions = tuple(self._actions(context))
        return Plan(StageResult(SetupDetails(steps=[action.text for action in actions])), actions)

    def run(self, context: StageContext) -> StageResult[SetupDetails]:
        """Do it; each action says what came of it."""
        plan = self.plan(context)  # what is asked wrongly is found before anything is done
        steps: list[str] = []
        with context.ws.lock(f"setup {context.model}"):
            for action in plan.actions:
                outcome = action.act()
                steps.append(f"{action.text}: {outcome}" if outcome else action.text)
                context.progress(steps[-1])
        plan.result.details.steps = steps
        return plan.result

    def _actions(self, context: StageContext) -> Iterator[Action]:
        ws, namespace, model = context.ws, context.namespace, context.model
        self._check(context)
        tables = [
            *self._computed(namespace),
            *profiling.tables(ws, namespace),
            namespace.gold(PREDICTIONS),
            namespace.gold(UNSCORED),
        ]
        yield Action(
            f"create what is missing of {len(tables)} tables and the platform's own {len(records.TABLES)}",
            lambda: self._create(context),
        )
        tags = context.tags
        yield Action(f"tag the tables with {', '.join(tags)}", lambda: _tag(context, tables, tags))
        if self.functions:
            names = ", ".join(function.name for function in self.functions)
            yield Action(
                f"register the feature functions {names}", lambda: register_functions(ws, namespace, self.functions)
            )
        description = context.settings.description
        yield Action(
            f"create the model {model} if it does not exist",
            lambda: ws.registry.ensure_model(model, description=description),
        )
        yield Action("look how feature models are registered", lambda: _registration(context))
        if context.settings.gate.approval == "auto":
            yield Action("unlink the model's deployment job", lambda: ws.registry.set_deployment_job(model, None))
        elif self.deployment_job:
            yield Action(
                f"link the deployment job {self.deployment_job}",
                lambda: ws.registry.set_deployment_job(model, self.deployment_job),
            )
        yield from self._grants(context)
        # After all that only an owner may do: whoever sets up need not belong to the new owner.
        if self.model_owner:
            yield Action(
                f"make {self.model_owner} the owner of {model}", lambda: ws.access.own_model(model, self.model_owner)
            )
        who = f"the promoter {self.promoter}" if self.promoter else "whoever sets up"
        yield Action(
            f"look whether {who} may move aliases of {model}",
            lambda: ws.access.probe_alias_right(model, self.promoter),
        )
        yield Action(
            "set up the data profiling of the predictions",
            lambda: profiling.ensure(ws, namespace, self.spine, context.settings),
        )

    def _check(self, context: StageContext) -> None:
        schema = context.model.schema
        if self.expect_schema not in ("", schema):
            raise DeploymentError(
                f"The deployment calls the schema of {context.name} {self.expect_schema!r}, the platform {schema!r}.",
                hint="The bundle's variable prefix must be what the target's mode puts before the names of schemas.",
            )
        if self.deployment_job and context.settings.gate.approval == "auto":
            raise UsageError(
                f"{context.name} has gate.approval: auto, so that no deployment job belongs to its model.",
                hint="Leave --deployment-job out, or set gate.approval: manual.",
            )

    def _create(self, context: StageContext) -> None:
        records.ensure(context.ws, context.namespace)
        for stage in (*self.computing, self.scoring):
            stage.create_tables(context)
        profiling.create_tables(context.ws, context.namespace, self.spine)
        # Asked once, a workspace that keeps such a record makes its table.
        context.ws.tables.committed(context.namespace.gold(PREDICTIONS), [Transaction("setup")])

    def _computed(self, names: Namespace) -> list[ObjectName]:
        """Return the tables of the use case but for the predictions."""
        return list(dict.fromkeys(table for stage in self.computing for table in stage.writes(names)))

    def _grants(self, context: StageContext) -> Iterator[Action]:
        """Grant writing table by table; reading and executing are the schema's, which the deployment grants."""
        ws, namespace, access = context.ws, context.namespace, context.ws.access
        measured = [table.name for table in records.TABLES if table.name != _DECISIONS]
        for role, principal, tables in (
            (
                "trainer",
                self.trainer,
                [
                    *self._computed(namespace),
                    *profiling.tables(ws, namespace),
                    *map(namespace.ops, measured),
                ],
            ),
            ("promoter", self.promoter, [namespace.ops(_RUNS), namespace.ops(_DECISIONS)]),
            (
                "scorer",
                self.scorer,
                [namespace.gold(PREDICTIONS), namespace.gold(UNSCORED), namespace.ops(_RUNS)],
            ),
        ):
            if not principal:
                continue

            def grant(principal: str = principal, tables: list[ObjectName] = tables) -> None:
                shared = [namespace.ops(name) for name in _OF_THE_WORKSPACE]
                for table in [*tables, *filter(context.ws.tables.exists, shared)]:
                    access.grant(["MODIFY"], "table", table, principal)

            yield Action(f"grant the {role} {principal} MODIFY on {len(tables)} tables", grant)
        if self.trainer:
            model, trainer = context.model, self.trainer
            yield Action(
                f"grant the trainer {trainer} CREATE MODEL VERSION on {model}",
                lambda: access.grant(["CREATE MODEL VERSION"], "model", model, trainer),
            )
            # REST reference, "Data quality: create a refresh": whoever monitors needs MANAGE on the table.
            for profiled in profiling.tables(ws, namespace)[:1]:
                yield Action(
                    f"grant the trainer {trainer} MANAGE on {profiled}",
                    lambda profiled=profiled: access.grant(["MANAGE"], "table", profiled, trainer),  # type: ignore[misc]
                )


def _tag(context: StageContext, tables: list[ObjectName], tags: dict[str, str]) -> str:
    changed = 0
    for table in tables:
        existing = context.ws.tables.describe(table).tags
        for key, value in tags.items():
            if existing.get(key) != value:
                context.ws.tables.set_tag(table, key, value)
                changed += 1
    return f"{changed} changed"


def _registration(context: StageContext) -> str:
    refusal = context.ws.registry.feature_model_refusal()
    return f"without the feature client, since {refusal}" if refusal else "as they are packaged"

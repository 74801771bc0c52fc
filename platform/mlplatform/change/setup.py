"""Setup: what a deployment cannot declare: tables with keys, tags, the model, its deployment job, grants, profiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlplatform.errors import DeploymentError, UsageError
from mlplatform.features.stage import Features
from mlplatform.ingest.stage import Ingest
from mlplatform.monitoring import profiling
from mlplatform.naming import ObjectName
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import LABELS, SPINE
from mlplatform.refine.stage import Refine
from mlplatform.scoring import stage as score
from mlplatform.scoring.scorer import PREDICTIONS

# Who writes which of the platform's own tables; all roles record their runs.
_RUNS, _DECISIONS = "stage_runs", "gate_decisions"
# On Databricks the workspace keeps tables of its own: what was appended, who holds which lock. All roles write there.
_OF_THE_WORKSPACE = ("transactions", "leases")


@dataclass(frozen=True)
class Request:
    """What is asked of the setup.

    Attributes:
        trainer: Ingests, computes features, monitors, registers model versions; empty: nothing is granted.
        promoter: Evaluates versions and moves aliases; empty: nothing is granted.
        scorer: Appends predictions; empty: nothing is granted.
        model_owner: Owns the registered model, so that it may move its aliases: a group that the promoter belongs to;
            empty: the owner stays who it is.
        deployment_job: Id of the job that evaluates, approves and promotes new versions of the model.
        expect_schema: What the deployment calls the use case's schema; empty: nothing is compared.
        dry_run: Only say what would be done.
    """

    trainer: str = ""
    promoter: str = ""
    scorer: str = ""
    model_owner: str = ""
    deployment_job: str = ""
    expect_schema: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class Step:
    """One step: what it does, in words, and the doing, which may say what it found."""

    text: str
    act: Callable[[], str | None] = field(repr=False)


def run(context: StageContext, request: Request) -> list[str]:
    """Make what is missing; again changes nothing.

    Args:
        context: The use case.
        request: What is asked.

    Returns:
        What was done (or, of a dry run, would be), a line each.

    Raises:
        DeploymentError: If the deployment calls the schema otherwise than the use case does.
        UsageError: If a deployment job is given and the settings approve by themselves.
    """
    if request.dry_run:
        return [step.text for step in _steps(context, request)]
    done = []
    steps = list(_steps(context, request))  # what is asked wrongly is found before anything is done
    with context.ws.lock(f"setup {context.use_case.model}"):
        for step in steps:
            found = step.act()
            done.append(f"{step.text}: {found}" if found else step.text)
            context.progress(done[-1])
    return done


def _steps(context: StageContext, request: Request) -> Iterator[Step]:
    ws, namespace, use_case = context.ws, context.namespace, context.use_case
    model = use_case.model
    if request.expect_schema not in ("", model.schema):
        raise DeploymentError(
            f"The deployment calls the schema of {namespace.use_case} {request.expect_schema!r}, "
            f"the platform {model.schema!r}.",
            hint="The bundle's variable prefix must be what the target's mode puts before the names of schemas.",
        )
    approval = context.use_case.settings.gate.approval
    if request.deployment_job and approval == "auto":
        raise UsageError(
            f"{namespace.use_case} has gate.approval: auto, so that no deployment job belongs to its model.",
            hint="Leave --deployment-job out, or set gate.approval: manual.",
        )

    def create() -> None:
        records.ensure(ws, namespace)
        Ingest(use_case.sources, use_case.landing).create_tables(context)
        Refine(use_case.silver, use_case.label_spine()).create_tables(context)
        Features(use_case.features).create_tables(context)
        score.create_tables(context)
        profiling.create_tables(context)
        # Asked once, a workspace that keeps such a record makes its table.
        ws.tables.committed(namespace.gold(PREDICTIONS), [Transaction("setup")])

    tables = [*_computed(context), *profiling.tables(context), namespace.gold(PREDICTIONS)]
    yield Step(f"create what is missing of {len(tables)} tables and the platform's own {len(records.TABLES)}", create)
    tags = context.tags
    yield Step(f"tag the tables with {', '.join(tags)}", lambda: _tag(context, tables, tags))
    description = context.use_case.settings.description
    yield Step(f"see to the model {model}", lambda: ws.registry.ensure_model(model, description=description))
    functions = context.use_case.functions
    if functions:
        names = ", ".join(function.name for function in functions)
        yield Step(f"register the feature functions {names}", lambda: context.use_case.register_functions(ws))
    yield Step("see how feature models are registered", lambda: _registration(context))
    if approval == "auto":
        yield Step("unlink the model's deployment job", lambda: ws.registry.set_deployment_job(model, None))
    elif request.deployment_job:
        yield Step(
            f"link the deployment job {request.deployment_job}",
            lambda: ws.registry.set_deployment_job(model, request.deployment_job),
        )
    yield from _grants(context, request)
    # After all that only an owner may do: whoever sets up need not belong to the new owner.
    if request.model_owner:
        yield Step(
            f"make {request.model_owner} the owner of {model}", lambda: ws.access.own_model(model, request.model_owner)
        )
    who = f"the promoter {request.promoter}" if request.promoter else "whoever sets up"
    yield Step(
        f"look whether {who} may move aliases of {model}",
        lambda: ws.access.probe_alias_right(model, request.promoter),
    )
    yield Step("see to the data profiling of the predictions", lambda: profiling.ensure(context))


def _computed(context: StageContext) -> list[ObjectName]:
    """Return the tables of the use case but for the predictions."""
    use_case, namespace = context.use_case, context.namespace
    quarantined = [source.name for source in use_case.sources] + [silver.name for silver in use_case.silver]
    return [
        *(namespace.bronze(source.name) for source in use_case.sources),
        *dict.fromkeys(namespace.quarantine(name) for name in quarantined),
        *(namespace.silver(silver.name) for silver in use_case.silver),
        namespace.gold(SPINE),
        namespace.gold(LABELS),
        *(namespace.features(table.name) for table in use_case.features),
    ]


def _tag(context: StageContext, tables: list[ObjectName], tags: dict[str, str]) -> str:
    changed = 0
    for table in tables:
        there = context.ws.tables.describe(table).tags
        for key, value in tags.items():
            if there.get(key) != value:
                context.ws.tables.set_tag(table, key, value)
                changed += 1
    return f"{changed} changed"


def _grants(context: StageContext, request: Request) -> Iterator[Step]:
    """Grant writing table by table; reading and executing are the schema's, which the deployment grants."""
    namespace, access = context.namespace, context.ws.access
    measured = [table.name for table in records.TABLES if table.name != _DECISIONS]
    for role, principal, tables in (
        (
            "trainer",
            request.trainer,
            [*_computed(context), *profiling.tables(context), *map(namespace.ops, measured)],
        ),
        ("promoter", request.promoter, [namespace.ops(_RUNS), namespace.ops(_DECISIONS)]),
        ("scorer", request.scorer, [namespace.gold(PREDICTIONS), namespace.ops(_RUNS)]),
    ):
        if not principal:
            continue

        def grant(principal: str = principal, tables: list[ObjectName] = tables) -> None:
            shared = [namespace.ops(name) for name in _OF_THE_WORKSPACE]
            for table in [*tables, *filter(context.ws.tables.exists, shared)]:
                access.grant(["MODIFY"], "table", table, principal)

        yield Step(f"grant the {role} {principal} MODIFY on {len(tables)} tables", grant)
    if request.trainer:
        model, trainer = context.use_case.model, request.trainer
        yield Step(
            f"grant the trainer {trainer} CREATE MODEL VERSION on {model}",
            lambda: access.grant(["CREATE MODEL VERSION"], "model", model, trainer),
        )
        # REST reference, "Data quality: create a refresh": whoever monitors needs MANAGE on the table.
        for profiled in profiling.tables(context)[:1]:
            yield Step(
                f"grant the trainer {trainer} MANAGE on {profiled}",
                lambda profiled=profiled: access.grant(["MANAGE"], "table", profiled, trainer),  # type: ignore[misc]
            )


def _registration(context: StageContext) -> str:
    refusal = context.ws.registry.feature_model_refusal()
    return f"without the feature client, since {refusal}" if refusal else "as they are packaged"

"""`mlplatform deployment`: the three tasks of a model's deployment job: evaluate, ask for approval, promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mlplatform.cli import decisions, output
from mlplatform.cli.commands import CommandGroup, command
from mlplatform.cli.options import VERSION, Options

if TYPE_CHECKING:
    from mlplatform.pipeline import Pipeline
    from mlplatform.protocols.workspace import Workspace


def _model(command: Any) -> Any:
    version = click.option("--model-version", type=VERSION, required=True, help="Its version.")
    name = click.option("--model-name", required=True, metavar="CATALOG.SCHEMA.MODEL", help="The registered model.")
    return name(version(command))


@click.group(cls=CommandGroup)
def deployment() -> None:
    """Run a task of a model's deployment job.

    Each task exits with 3 if the version is not to go on.
    """


@command(
    group=deployment,
    examples=("mlplatform deployment evaluate --model-name prod.credit_risk.model --model-version 3 --env prod",),
)
@_model
def evaluate(model_name: str, model_version: int, options: Options) -> None:
    """Put the version to the gate; a promotion waits.

    The labels known when the version was trained count. A promotion is recorded, and waits for approval.
    """
    from mlplatform.gate.promotion import WAITING
    from mlplatform.naming import ObjectName
    from mlplatform.training.challenger import make_challenger

    with _opened(model_name, model_version, options) as (ws, pipeline):
        make_challenger(ws, ObjectName.parse(model_name), model_version)
        details = pipeline.gate(version=model_version, hold=True).details
    decisions.show(details, as_json=options.as_json)
    if details.outcome != WAITING:
        decisions.check_outcome(details)
    decisions.check_version(details, model_version)


@command(
    group=deployment,
    examples=("mlplatform deployment approval --model-name prod.credit_risk.model --model-version 3 --env prod",),
)
@_model
def approval(model_name: str, model_version: int, options: Options) -> None:
    """Pass if somebody has approved the version.

    That is, if its tag Approval_Check is Approved.
    """
    from mlplatform.errors import NotPromotedError
    from mlplatform.gate.promotion import APPROVAL_TAG, APPROVED, has_approval

    name = _use_case_of(model_name, options)
    with decisions.failing_closed(name), options.open(name) as ws:
        tags = ws.registry.get(model_name, model_version).tags
    if not has_approval(tags):
        raise NotPromotedError(
            f"Version {model_version} of {model_name} is not approved: its tag {APPROVAL_TAG} is "
            f"{tags.get(APPROVAL_TAG, 'not set')!r}.",
            hint=f"Read its evidence (mlplatform history {name}), approve it on the model's page or set the tag "
            f"{APPROVAL_TAG}={APPROVED}, and repair the run.",
        )
    if options.as_json:
        output.show_json({"model": model_name, "version": model_version, "approved": True})
        return
    click.echo(f"Version {model_version} of {model_name} is approved.")


@command(
    group=deployment,
    examples=("mlplatform deployment deploy --model-name prod.credit_risk.model --model-version 3 --env prod",),
)
@_model
def deploy(model_name: str, model_version: int, options: Options) -> None:
    """Promote the version that was evaluated and approved."""
    with _opened(model_name, model_version, options) as (_, pipeline):
        details = pipeline.gate(version=model_version).details
    decisions.show(details, as_json=options.as_json)
    decisions.check_outcome(details)
    decisions.check_version(details, model_version)


def _use_case_of(model_name: str, options: Options) -> str:
    """Return the use case whose model it is.

    Raises:
        UsageError: If it is not the model of a use case in this environment, with this prefix.
    """
    from mlplatform import discovery
    from mlplatform.errors import UsageError
    from mlplatform.naming import Namespace, ObjectName, check_use_case_name

    parsed = ObjectName.parse(model_name)
    name = parsed.schema.removeprefix(options.prefix)
    catalog = options.catalog_of(discovery.get(check_use_case_name(name), options.use_cases).name)
    expected = Namespace(catalog, name, options.prefix).model
    if parsed != expected:
        raise UsageError(
            f"{model_name} is not the model of the use case {name}, which is {expected}.",
            hint="--env, --catalog and --prefix must be those that the model was deployed with.",
        )
    return name


@contextmanager
def _opened(model_name: str, version: int, options: Options) -> Iterator[tuple[Workspace, Pipeline]]:
    from mlplatform.as_of import parse_as_of
    from mlplatform.errors import RegistryError
    from mlplatform.pipeline import Pipeline
    from mlplatform.training.version_tags import TRAINED_AS_OF_TAG

    name = _use_case_of(model_name, options)
    with (
        decisions.failing_closed(name),
        options.open_use_case(name) as (ws, opened),
        output.reporting(total=1) as reporter,
    ):
        trained = ws.registry.get(model_name, version).tags.get(TRAINED_AS_OF_TAG)
        if trained is None:
            raise RegistryError(
                f"Version {version} of {model_name} has no tag {TRAINED_AS_OF_TAG}: its training was not finished.",
                hint="Wait for the training job, or run it again: it finishes what was begun.",
            )
        yield ws, Pipeline(ws, opened, parse_as_of(trained), reporter.line)

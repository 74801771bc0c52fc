"""Who is champion: what the decisions on record and the registry have to say to each other, in both homes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import StageError, UsageError
from mlplatform.gate import champion, decision_log, promotion
from mlplatform.gate.begin_anew import BeginAnew
from mlplatform.gate.decision import Decision
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.context import StageContext
from mlplatform.scoring.version import choose

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

JANUARY, MARCH, MAY = (parse_as_of(day) for day in ("2020-01-01", "2020-03-01", "2020-05-01"))
SETTINGS = UseCaseSettings.model_validate(
    {
        "owner": "a@example.com",
        "description": "Who leaves",
        "task": "classification",
        "label": {"horizon": "3 months"},
        "training": {"metric": "roc_auc", "min_rows": 1},
        "scoring": {"every": "1 month"},
        "gate": {"floor": 0.6},
    }
)
_NUMBERS = itertools.count()


def register(registry: Any, model: str, trained_as_of: str) -> None:
    """Register a version that says as of when it was trained."""
    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    registry.activate()
    with mlflow.start_run(experiment_id=registry.experiment("/dev/champions")):
        mlflow.sklearn.log_model(
            LinearRegression().fit([[0.0], [1.0]], [1.0, 2.0]),
            name="model",
            registered_model_name=model,
            signature=mlflow.models.infer_signature(np.array([[0.5]]), np.array([1.5])),
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
        )
    registry.set_tags(model, registry.versions(model)[-1].version, {"trained_as_of": trained_as_of})


def decide(use: StageContext, version: int, champion_then: int | None) -> None:
    decision = Decision(
        decision_id=f"{use.name} {version}",
        outcome="promoted",
        reason="made up",
        challenger_version=version,
        champion_version=champion_then,
        as_of=use.as_of,
        evaluation={},
        checks=[],
        kind="override",
    )
    decision_log.record(use.ws, use.namespace, decision, "decided")
    assert promotion.apply(use.ws, use.namespace, decision) == "applied"


@pytest.fixture
def use(ws: Workspace) -> StageContext:
    """A model whose version 1 became champion as of January, and version 2 as of May."""
    given = StageContext(ws, Namespace("dev", f"champions{next(_NUMBERS)}"), SETTINGS, JANUARY, "run")
    records.ensure(ws, given.namespace)
    ws.registry.ensure_model(given.model, description="Who leaves")
    for trained in ("2020-01-01", "2020-05-01"):
        register(ws.registry, str(given.model), trained)
    decide(given, 1, None)
    decide(as_of(given, MAY), 2, 1)
    return given


def as_of(use: StageContext, moment: Any) -> StageContext:
    return StageContext(use.ws, use.namespace, use.settings, moment, use.run_id)


def test_an_alias_is_read_as_of_a_time(use):
    found = {moment: champion.standing(as_of(use, moment)) for moment in (JANUARY, MARCH, MAY)}
    assert [standing.number for standing in found.values()] == [1, 1, 2]
    assert champion.standing(as_of(use, parse_as_of("2019-12-31"))).number is None
    assert choose(as_of(use, MARCH)).version.version == 1
    with pytest.raises(StageError, match=r"As of 2019-12-31 .* had no champion"):
        choose(as_of(use, parse_as_of("2019-12-31")))


def test_a_version_trained_as_of_later_scores_only_on_purpose(use):
    early = as_of(use, parse_as_of("2019-12-31"))
    chosen = choose(early, allow_later=True)
    assert (chosen.version.version, chosen.trained_later) == (2, MAY)
    assert choose(as_of(use, MAY)).trained_later is None
    # Of an alias that no decision is about, the version says so itself.
    use.ws.registry.set_alias(use.model, CHALLENGER, 2)
    with pytest.raises(StageError, match=r"Version 2 of .* was trained as of 2020-05-01, which is later"):
        choose(as_of(use, MARCH), CHALLENGER)
    assert choose(as_of(use, MAY), CHALLENGER).version.version == 2


def test_a_champion_that_is_gone_is_an_error_until_the_models_begin_anew(use):
    use.ws.registry.delete_alias(use.model, CHAMPION)
    now = as_of(use, MAY)
    with pytest.raises(StageError, match=r"have version 2 of .* as champion") as raised:
        choose(now)
    assert f"mlplatform begin-anew {use.name}" in raised.value.hint
    done = BeginAnew("deleted in the catalog").run(now).details
    assert (done.outcome, done.champion) == ("begun anew", 2)
    assert decision_log.events(use.ws, use.namespace) == []
    assert champion.version_or_none(use.ws, use.namespace) is None
    decide(now, 1, None)
    assert choose(now).version.version == 1


def test_a_registry_that_answers_is_not_lost(use):
    assert (use.ws.registry.lost(), use.ws.registry.set_aside()) == ("", "")
    with pytest.raises(UsageError, match="nothing to begin anew"):
        BeginAnew("why not").run(as_of(use, MAY))

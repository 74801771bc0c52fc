"""A step: all stages at one time. Whether it has ended, and whether it may be run: the past sees no future."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from mlplatform.gate import champion, decision_log
from mlplatform.monitoring.retrain import NAME as LAST
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import GateEvent, StageRecord
from mlplatform.ops.stage_runs import ENDED_WELL
from mlplatform.training.stage import NAME as TRAIN


def has_ended(records: Iterable[StageRecord], decisions: Sequence[GateEvent], as_of: datetime) -> bool:
    """Tell whether a step has ended: its last stage is on record, whether there was a champion or not.

    Release 0.1.0 recorded no end where there was no champion. Where one was made as of later, the training on record
    tells: what was left to do is not done now, for it would know what came later.

    Args:
        records: Of the use case's runs.
        decisions: The gate's events, oldest first.
        as_of: The step's time.
    """
    ended = {record.stage for record in records if record.as_of == as_of and record.status in ENDED_WELL}
    if LAST in ended:
        return True
    past = champion.in_the_past(decisions, as_of)
    return past is not None and past.number is None and TRAIN in ended


def check_champion(context: StageContext) -> None:
    """Refuse to go on where the registry and the decisions on record do not have the same champion.

    Raises:
        StageError: If the champion on record is gone, or another model has its number.
        RegistryError: If the registry cannot be read.
    """
    champion.require_known(context.ws, context.namespace, context.ws.registry.aliases(context.model))


def check_may_run(context: StageContext) -> None:
    """Refuse a step as of which there was no champion, where there is one as of later; one that has ended may be run.

    Raises:
        StageError: If the step is refused, or the champion on record is gone.
        RegistryError: If the registry cannot be read.
    """
    check_champion(context)
    decisions = decision_log.events(context.ws, context.namespace)
    past = champion.in_the_past(decisions, context.as_of)
    if past is None or past.later is None or past.number is not None:
        return
    if not has_ended(context.log.between(context.as_of, context.as_of), decisions, context.as_of):
        raise champion.not_yet(context, past.later)

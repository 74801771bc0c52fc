"""The stages of a use case, made of what it declares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlplatform.change.declared import Declarations
from mlplatform.change.keeping import Keeper
from mlplatform.change.kept_code import Package
from mlplatform.change.setup import Setup
from mlplatform.features.stage import Features
from mlplatform.gate import champion
from mlplatform.gate.stage import Gate
from mlplatform.ingest.stage import Ingest
from mlplatform.monitoring.immature_basis import ImmatureBasis
from mlplatform.monitoring.retrain import Retrain
from mlplatform.monitoring.stage import MonitorStage
from mlplatform.ops.stage import Stage
from mlplatform.recalibration.stage import Recalibrate
from mlplatform.refine.event_spine import EventSpine
from mlplatform.refine.stage import Refine
from mlplatform.reporting import evidence_page
from mlplatform.scoring.stage import Score
from mlplatform.training.outcomes import Basis, RealisedBasis
from mlplatform.training.stage import Train
from mlplatform.use_case import UseCase

ORDER = ("ingest", "refine", "features", "train", "gate", "score", "monitor", "retrain")


def stages_of(use_case: UseCase, keeper: Keeper | None = None) -> tuple[Stage[Any], ...]:
    """Return the stages of a use case, in order; what keeps earlier code may be given."""
    trainer, spine, functions = use_case.model_trainer(), use_case.label_spine(), use_case.functions
    train = Train(trainer, spine, use_case.folder, champion.version_or_none, functions)
    gate = gate_of(use_case)
    then = replace(gate, only_undecided=True)
    return (
        *computing_of(use_case, keeper),
        train,
        gate,
        Score(use_case.scorer(), spine, functions, trainer.trusted_types),
        MonitorStage(use_case.monitor(use_case.settings), spine, trainer, functions),
        Retrain(then=(train, then), recalibrating=(recalibrate_of(use_case), then)),
    )


def computing_of(use_case: UseCase, keeper: Keeper | None = None) -> tuple[Ingest, Refine, Features]:
    """Return the stages of a use case that compute its tables, in order; what keeps earlier code may be given."""
    refined_into = {
        source: tuple(table.name for table in use_case.silver if table.source is source) for source in use_case.sources
    }
    keeper = keeper or keeper_of(use_case)
    return (
        Ingest(use_case.sources, use_case.landing, refined_into, keeper.kept),
        Refine(use_case.silver, use_case.label_spine(), keeper.kept),
        Features(use_case.features, keeper.kept, keeper.archive),
    )


def keeper_of(use_case: UseCase) -> Keeper:
    """Return what keeps the code that models in use still need."""
    return Keeper(declared_by(use_case), Package.of(type(use_case)))


def gate_of(use_case: UseCase) -> Gate:
    """Return the gate of a use case; its decisions leave a page of evidence."""
    return Gate(
        use_case.gate,
        use_case.label_spine(),
        evidence_page.render,
        use_case.functions,
        use_case.trainer.trusted_types,
        bases_of(use_case),
    )


def recalibrate_of(use_case: UseCase) -> Recalibrate:
    """Return what moves the probabilities of a use case's champion to what outcomes say."""
    return Recalibrate(
        use_case.label_spine(),
        use_case.folder,
        bases_of(use_case),
        use_case.functions,
        use_case.trainer.trusted_types,
    )


def bases_of(use_case: UseCase) -> dict[str, Basis]:
    """Return where the outcomes come from that a use case's champion may be recalibrated by, by name.

    Where events are dated, what they let expect of rows that are not mature is one, too.
    """
    dated = issubclass(use_case.spine, EventSpine) and use_case.settings.kind_of_task.is_binary
    found: tuple[Basis, ...] = (RealisedBasis(), ImmatureBasis()) if dated else (RealisedBasis(),)
    return {basis.name: basis for basis in found}


def declared_by(use_case: UseCase) -> Declarations:
    """Return what a use case declares of its data, for comparing it with what exists."""
    trainer = use_case.model_trainer()
    return Declarations(
        sources=use_case.sources,
        silver=use_case.silver,
        spine=use_case.label_spine(),
        features=use_case.features,
        functions=use_case.functions,
        lookups=trainer.lookups(),
        exclude_columns=trainer.left_out,
        trusted_types=trainer.trusted_types,
    )


def setup_of(use_case: UseCase, **options: str) -> Setup:
    """Return the setup of a use case.

    Args:
        use_case: The use case.
        **options: The principals, and the other options of `Setup`.
    """
    score = next(stage for stage in stages_of(use_case) if isinstance(stage, Score))
    return Setup(computing_of(use_case), score, use_case.label_spine(), use_case.functions, **options)

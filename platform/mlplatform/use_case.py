"""A use case: a folder that names its sources, tables, features, model, and settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from mlplatform import use_case_parts as parts
from mlplatform.config.settings import CONFIG_FILE, UseCaseSettings, load_settings
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.features.table import FeatureTable
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.ingest.source import Source
from mlplatform.monitoring.monitor import Monitor
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import changes
from mlplatform.ops.context import StageContext
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.scorer import BatchScorer
from mlplatform.training.trainer import Trainer


class UseCase:
    """Base class of use cases: a folder with its parts in modules, and the platform does the rest.

    What is not declared is found among the classes that the modules of its package define: `tables`, `features`,
    `model`, then the others by name, each from top to bottom. Abstract classes, and classes whose name begins with an
    underscore, are no parts. The words are those of the glossary, `docs/glossary.md`.

    Examples:
        >>> from mlplatform import LabelSpine, Source, Trainer
        >>> class Loans(Source): ...
        >>> class Approvals(LabelSpine): ...
        >>> class Risk(Trainer): ...
        >>> class CreditRisk(UseCase):
        ...     sources, silver, spine, features, trainer = (Loans,), (), Approvals, (), Risk
        >>> CreditRisk.sources[0].name
        'loans'

    Attributes:
        sources: Where data lands.
        silver: Cleaned, typed tables.
        spine: Whom to predict for, when, and the label.
        features: Feature tables.
        functions: Feature functions, registered by name before features are looked up.
        trainer: Lookups, estimator and search space.
        gate: Decides whether a challenger becomes champion.
        scorer: Whom to score.
        monitor: What is watched, and when to retrain.
    """

    sources: ClassVar[tuple[type[Source], ...]] = parts.several(Source, of="sources", least=1)
    silver: ClassVar[tuple[type[SilverTable], ...]] = parts.several(SilverTable, of="silver", least=1)
    spine: ClassVar[type[LabelSpine]] = parts.single(LabelSpine, of="spine")
    features: ClassVar[tuple[type[FeatureTable], ...]] = parts.several(FeatureTable, of="features")
    functions: ClassVar[tuple[FeatureFunctionSpec, ...]] = parts.objects(FeatureFunctionSpec)
    trainer: ClassVar[type[Trainer]] = parts.single(Trainer, of="trainer")
    gate: ClassVar[type[ChampionGate]] = parts.single(ChampionGate, of="gate", default=ChampionGate)
    scorer: ClassVar[type[BatchScorer]] = parts.single(BatchScorer, of="scorer", default=BatchScorer)
    monitor: ClassVar[type[Monitor]] = parts.single(Monitor, of="monitor", default=Monitor)

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: UseCaseSettings,
        namespace: Namespace,
        *,
        landing_root: Path | None = None,
    ) -> None:
        """Use `UseCase.open` instead: it reads the settings.

        Args:
            name: The use case's name, which is its folder's and its schema's.
            folder: The folder.
            settings: Its checked settings.
            namespace: Where its objects live.
            landing_root: Where its files land unless its setting is an absolute path; None: by the setting.
        """
        self.name = name
        self.folder = folder
        self.settings = settings
        self.namespace = namespace
        self._landing_root = landing_root

    @classmethod
    def open(cls, name: str, folder: Path, ws: Workspace) -> UseCase:
        """Open the use case: read its settings for the workspace's environment. Nothing in the workspace is changed.

        Raises:
            ConfigError: If `config.yml` is missing or wrong, or names another catalog than that of a use case which
                was opened in the workspace before.
            UsageError: If it knows no such environment as the workspace's.
        """
        settings = load_settings(folder / CONFIG_FILE, ws.env)
        ws.settle_catalog(name, settings.catalog)
        return cls(
            name,
            folder,
            settings,
            _current(ws, Namespace(ws.catalog, name, ws.prefix)),
            landing_root=ws.landing(name),
        )

    def register_functions(self, ws: Workspace) -> None:
        """Register the feature functions; the same again does nothing.

        Every stage that looks features up does so first: the code at hand is what computes, in whatever process.

        Raises:
            FeatureStoreError: If a function is not what it is declared to be, or the workspace refuses it.
        """
        register_functions(ws, self.namespace, self.functions)

    def context(self, ws: Workspace, as_of: datetime, run_id: str, **options: Any) -> StageContext:
        """Return what a stage is handed to run on this use case.

        Args:
            ws: The workspace.
            as_of: What was known by then counts, nothing later.
            run_id: Of the run that the stage is part of.
            **options: The other fields of `StageContext`.
        """
        return StageContext(ws, self.namespace, self.settings, as_of, run_id, **options)

    @property
    def landing(self) -> Path:
        """The folder where files land: the workspace's for this use case, else the one of the setting."""
        if self._landing_root is not None and not Path(self.settings.landing).is_absolute():
            return self._landing_root
        return self.folder / self.settings.landing  # an absolute setting wins, as pathlib joins

    @property
    def model(self) -> ObjectName:
        """The registered model."""
        return self.namespace.model

    def label_spine(self) -> LabelSpine:
        """Return the label spine."""
        return self.spine(self.settings)

    def model_trainer(self) -> Trainer:
        """Return the trainer."""
        return self.trainer(self.namespace, self.settings, self.spine)

    def with_versions(self, versions: Mapping[str, str]) -> UseCase:
        """Return the same use case with these versions of its tables and functions.

        Args:
            versions: Declared name -> version.
        """
        namespace = self.namespace.at(versions)
        return type(self)(self.name, self.folder, self.settings, namespace, landing_root=self._landing_root)


def _current(ws: Workspace, namespace: Namespace) -> Namespace:
    return namespace.at(changes.versions(ws, namespace))

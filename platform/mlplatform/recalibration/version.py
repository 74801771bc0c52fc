"""A recalibration becomes a registered version: the champion's own files with its probabilities moved."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlplatform.as_of import shown
from mlplatform.features import artifacts
from mlplatform.features.training_set import PREDICTION
from mlplatform.gate import judged
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion, TableRead
from mlplatform.recalibration.moving import Moving
from mlplatform.refine.spine import SPINE
from mlplatform.statistics import estimate, profiles
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.statistics.recalibration import Moves, describe, odds_of
from mlplatform.training import recalibrated_flavor, reference
from mlplatform.training.recalibrated import MOVED_TAG
from mlplatform.training.reference import PROFILE_FILE
from mlplatform.training.source_version import source_version
from mlplatform.training.version_tags import (
    FITTED_AS_OF_TAG,
    KEY_TAG,
    KNOWN_ROWS_TAG,
    LEARNED_EVENTS_TAG,
    TRAINED_AS_OF_TAG,
    TRAINED_THROUGH_TAG,
    TRAINING_ROWS_TAG,
    fitted_as_of,
    time_of,
)

_LONGEST = 200
_IDENTITY = {"slope": 1.0, "intercept": 0.0}


@dataclass(frozen=True)
class Registering:
    """One recalibration, on its way to a registered version.

    Attributes:
        context: The run.
        folder: The use case's, whose source version is recorded.
        moving: What was found, with a move.
        trusted_types: Types that the stored model may hold beyond the platform's own.
    """

    context: StageContext
    folder: Path
    moving: Moving
    trusted_types: Collection[str] = ()

    def earlier(self) -> ModelVersion | None:
        """Return the version that the same recalibration gave before; None: there is none."""
        registry, key = self.context.ws.registry, self.moving.key
        for version in reversed(registry.versions(self.context.model)):
            found = version.tags.get(KEY_TAG)
            # Without a tag it was interrupted after registering: the run says what it was.
            if found == key or (found is None and registry.run(version).tags.get(KEY_TAG) == key):
                return version
        return None

    def register(self) -> ModelVersion:
        """Log the model in a run of its own, which is a child of its origin's, and register it."""
        context, moving, registry = self.context, self.moving, self.context.ws.registry
        origin, move = moving.origin, moving.fitted.move
        assert move is not None
        experiment = f"/{context.namespace.catalog}/{context.name}"
        name = f"{context.name} {shown(context.as_of)} recalibrated"
        tags = self._tags() | {KEY_TAG: moving.key, "delta_versions": json.dumps(moving.outcomes.frame.versions)}
        with registry.training_run(experiment, name, tags, parent=origin.run_id) as run:
            registry.log_tables(run.run_id, self._tables_read())
            made: list[Moves] = []
            content = self._reference()
            run.log_params(
                {
                    "recalibrated_from": origin.version,
                    "basis": moving.recalibration.basis,
                    "method": moving.recalibration.method,
                    **odds_of((move,)),
                }
            )
            run.log_metrics(
                {
                    "learned_rows": float(moving.learns.sum()),
                    "learned_events": moving.fitted.events,
                    **{f"held_out_{metric}": value for metric, value in moving.held_out().items()},
                    **{f"p_{test.replace(' ', '_')}": value for test, value in moving.fitted.p_values.items()},
                }
            )
            run.log_json(PROFILE_FILE, content)
            context.progress("logging and registering the recalibrated model")
            context.ws.fe.log_derived_model(
                model_uri=origin.uri,
                artifact_path="model",
                registered_model_name=str(context.model),
                change=lambda folder: made.append(recalibrated_flavor.wrap(folder, move)),
                trusted_types=self.trusted_types,
                digest=judged.digest_to_judge(context.ws, origin),
            )
            run.log_json(recalibrated_flavor.FILE, {"moves": [item.to_dict() for item in made[0]]})
        return next(item for item in reversed(registry.versions(context.model)) if item.run_id == run.run_id)

    def finish(self, version: ModelVersion) -> None:
        """Tag the version; again changes nothing, so that what was interrupted is completed."""
        if version.tags.get(KEY_TAG) == self.moving.key:
            return
        context, registry, moving = self.context, self.context.ws.registry, self.moving
        origin, move = moving.origin, moving.fitted.move
        assert move is not None
        held_out = {f"held_out_{name}": value for name, value in moving.held_out().items()}
        registry.log_metrics(version, held_out, context.as_of)
        with TemporaryDirectory() as folder:
            digest = artifacts.digest(registry.download(version, Path(folder)))
        kept = (TRAINING_ROWS_TAG, KNOWN_ROWS_TAG, LEARNED_EVENTS_TAG)
        counts = {name: origin.tags[name] for name in kept if name in origin.tags}
        registry.set_tags(
            context.model,
            version.version,
            self._tags()
            | counts
            | moving.recalibration.tags()
            | {
                MOVED_TAG: describe((move,))[:_LONGEST],
                artifacts.DIGEST_TAG: digest,
                # It knows outcomes that were known by now; its estimator is the origin's.
                TRAINED_AS_OF_TAG: context.as_of.isoformat(),
                FITTED_AS_OF_TAG: fitted_as_of(origin).isoformat(),
                TRAINED_THROUGH_TAG: time_of(origin, TRAINED_THROUGH_TAG).isoformat(),
                # Last: its presence says that the others are set.
                KEY_TAG: moving.key,
            },
        )

    def _reference(self) -> dict[str, Any]:
        """Return the origin's reference, with its predictions moved, and what the moved ones are calibrated to."""
        context, moving = self.context, self.moving
        move = moving.fitted.move
        assert move is not None
        found = reference.load(context.ws, moving.origin)
        profile = dict(found.profile)
        if PREDICTION in profile:
            profile[PREDICTION] = profiles.moved(profile[PREDICTION], move)
        calibration = dict(_IDENTITY)
        error = (found.calibration or {}).get("slope_error")
        if moving.outcomes.ranked and not moving.outcomes.expected:
            fitted = estimate.fit_calibration(moving.outcomes.targets, moving.moved) or {}
            error = fitted.get("slope_error", error)
        if error is not None:
            calibration["slope_error"] = error
        content = profiles.to_dict(profile, calibration, found.baseline, ScoreCounts.of(moving.moved))
        tags = moving.origin.tags
        return content | {name: int(tags[name]) for name in (TRAINING_ROWS_TAG, KNOWN_ROWS_TAG) if name in tags}

    def _tables_read(self) -> list[TableRead]:
        spine = str(self.context.namespace.gold(SPINE))
        versions = self.moving.outcomes.frame.versions
        return [TableRead(name, version, "spine" if name == spine else "labels") for name, version in versions.items()]

    def _tags(self) -> dict[str, str]:
        context = self.context
        return {
            "dataset_version": self.moving.outcomes.digest,
            "git_sha": source_version(self.folder),
            **context.tags,
            "env": context.ws.env,
        }

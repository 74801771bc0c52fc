"""What travels with a model version for its monitoring: the reference profile, and the calibration of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlplatform.errors import RegistryError, StageError
from mlplatform.features.probabilities import is_of_prediction
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.statistics import profiles
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.statistics.profiles import ColumnProfile

PROFILE_FILE = "reference_profile.json"


@dataclass(frozen=True)
class Reference:
    """The reference of one model version.

    Attributes:
        version: Whose.
        profile: Its training set's columns, and its predictions on the holdout.
        calibration: Of its scores, see `statistics.estimate`; None where it has none.
        baseline: What the trivial baseline knows of its training labels, see `statistics.baseline`; None in what was
            written before there was one.
        scores: How its predictions lay on the rows that the calibration was fitted on; None where it has none, or in
            what was written before they were kept.
    """

    version: ModelVersion
    profile: Mapping[str, ColumnProfile]
    calibration: Mapping[str, float] | None
    baseline: Mapping[str, float] | None = None
    scores: ScoreCounts | None = None

    def ordinary(self) -> dict[str, Any]:
        """Return an ordinary value of each input: the median, or the most frequent category."""
        return {name: column.ordinary for name, column in self.profile.items() if not is_of_prediction(name)}


def load(ws: Workspace, version: ModelVersion) -> Reference:
    """Read the reference of a model version.

    Raises:
        StageError: If it does not exist, or is no profile.
    """
    try:
        data = ws.registry.load_json(version, PROFILE_FILE)
    except RegistryError as error:
        raise StageError(
            f"The reference profile of {version.name} version {version.version} cannot be read from its run "
            f"{version.run_id}: {error.message}",
            hint="It is written by training. Restore the run's artifacts, or train and promote a new version.",
        ) from error
    return Reference(
        version,
        profiles.from_dict(data),
        data.get("calibration"),
        data.get("baseline"),
        ScoreCounts.from_dict(data.get("scores")),
    )

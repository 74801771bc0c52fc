"""The gate's checks, a family a file; `default_checks` lists them in order."""

from __future__ import annotations

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import GateCheck
from mlplatform.gate.checks.calibration import BrierScore, CalibrationError, CalibrationSlope
from mlplatform.gate.checks.canary import NotWorseAsCanary
from mlplatform.gate.checks.guards import Guard
from mlplatform.gate.checks.performance import BeatsChampion, BeatsTrivial, Floor
from mlplatform.gate.checks.serving import FeatureAvailability, FeatureStaleness, ScoringTime, SignatureCompatible
from mlplatform.gate.checks.slices import Slices


def default_checks(settings: UseCaseSettings) -> list[GateCheck]:
    """Return the checks that every gate has, in order; what the settings do not ask for is skipped, and says so."""
    return [
        Floor(settings),
        BeatsTrivial(settings),
        BeatsChampion(settings),
        *(Guard(settings, guard) for guard in settings.gate.guards),
        CalibrationError(settings),
        BrierScore(settings),
        CalibrationSlope(settings),
        Slices(settings),
        FeatureAvailability(settings),
        FeatureStaleness(settings),
        SignatureCompatible(settings),
        ScoringTime(settings),
        *([NotWorseAsCanary(settings)] if settings.scoring.canary else []),
    ]

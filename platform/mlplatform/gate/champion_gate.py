"""The champion/challenger gate: both models on the same rows, enough evidence, and it fails closed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from mlplatform import stopping
from mlplatform.config.base import Settings
from mlplatform.config.gate import GateSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck, not_finite
from mlplatform.gate.checks.evidence import EnoughEvidence, FinitePredictions, Probabilities
from mlplatform.gate.checks.performance import BeatsChampion
from mlplatform.gate.checks.recalibration import of_a_recalibration
from mlplatform.gate.decision import Decision, Outcome
from mlplatform.gate.spending import alone


class ChampionGate:
    """Decides whether a challenger becomes champion. A use case may subclass it and add checks.

    In order: enough evidence, else `insufficient`; predictions that are finite, and of a classification probabilities,
    else rejected; then every check of `checks()`, and a single failure rejects. A check that raises has failed. What
    each default check asks for is said by its class, in `mlplatform.gate.checks`.

    The first champion has no champion to beat: those checks are skipped, and the others (evidence, floor, better than
    a trivial baseline, what else is configured) decide. A challenger that is the champion with its probabilities moved
    is judged by proper scores, and must be no worse in the primary metric; see `mlplatform.gate.checks.recalibration`.

    See the glossary: docs/glossary.md

    Examples:
        A check of a use case's own:

        >>> class MeanScore(GateCheck):
        ...     name = "mean_score"
        ...
        ...     def run(self, evidence):
        ...         mean = float(evidence.challenger.mean())
        ...         return self.verdict(mean <= 0.2, f"mean score {mean:.3f}, at most 0.2", mean, 0.2)
        >>> class CautiousGate(ChampionGate):
        ...     def checks(self):
        ...         return [*super().checks(), MeanScore(self.settings)]
        >>> settings = UseCaseSettings.model_validate(
        ...     {"owner": "risk", "label": {"horizon": "3 months"}, "gate": {"floor": 0.7}}
        ... )
        >>> CautiousGate(settings).checks()[-1].name
        'mean_score'
    """

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the use case's limits.

        Raises:
            ConfigError: If they name an unknown metric, or a limit is no finite number.
        """
        if wrong := _not_finite(settings.gate, "gate"):
            raise ConfigError(
                f"{', '.join(wrong)}: no finite number, and so no limit.", hint="Read settings with load_settings."
            )
        self.settings = settings
        self.limits: GateSettings = settings.gate
        self._enough = EnoughEvidence(settings)
        # What has to hold before anything else is computed.
        self._sound = (FinitePredictions(settings), Probabilities(settings))
        self._checks = list(self.checks())

    def checks(self) -> Sequence[GateCheck]:
        """Return the checks in order; a subclass adds its own at the end."""
        return default_checks(self.settings)

    def _checks_of(self, evidence: Evidence) -> Sequence[GateCheck]:
        """Return the checks that a challenger is put to: of a recalibrated one, those of what a move can change."""
        if evidence.recalibration is None:
            return self._checks
        return of_a_recalibration(self.settings, self._checks, evidence)

    def decide(
        self, evidence: Evidence, *, identity: str, challenger: int, champion: int | None, as_of: datetime
    ) -> Decision:
        """Decide about a challenger.

        Args:
            evidence: The rows and predictions.
            identity: The decision's id.
            challenger: Version of the challenger.
            champion: Version of the champion; None if the registry says that there is none.
            as_of: The time of the decision.
        """
        if champion is not None and evidence.champion is None:
            # Never to be taken for "there is no champion": the rule for the first one is a milder one.
            evidence = replace(evidence, champion=np.full(evidence.labels.size, np.nan))
        if evidence.spending is None:
            evidence = replace(evidence, spending=alone(self.limits))
        results = [guarded(self._enough, evidence)]
        outcome: Outcome = "promoted"
        if results[0].status != "pass":
            outcome, reason = "insufficient", results[0].detail
        else:
            results += _until_one_fails(self._sound, evidence)
            if results[-1].status != "fail":
                results.extend(guarded(check, evidence) for check in self._checks_of(evidence))
            failed = [result.detail for result in results if result.status == "fail"]
            outcome = "rejected" if failed else "promoted"
            reason = "; ".join(failed) or _why_promoted(results)
        return Decision(
            decision_id=identity,
            outcome=outcome,
            reason=reason,
            challenger_version=challenger,
            champion_version=champion,
            as_of=as_of,
            evaluation={"rows": int(evidence.labels.size), **evidence.source},
            checks=results,
            spending=evidence.spending if any(_has_compared(result) for result in results) else None,
        )


def guarded(check: GateCheck, evidence: Evidence) -> CheckResult:
    """Run a check; one that errs counts as failed, and so does one that passes by a number that is none.

    The gate never promotes because it could not look.
    """
    try:
        result = check.run(evidence)
    except Exception as error:  # noqa: BLE001
        stopping.check()
        text = str(error).replace("\n", " ")
        return CheckResult(check.name, "fail", f"check {check.name} failed with {type(error).__name__}: {text}")
    if not isinstance(result, CheckResult) or result.status not in ("pass", "fail", "skipped"):
        return CheckResult(check.name, "fail", f"check {check.name} returned {result!r}, which is no CheckResult")
    try:
        wrong = not_finite(result) if result.status == "pass" else []
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        wrong = [f"numbers that are none ({error})"]
    if wrong:
        # Every comparison with NaN is false: what passed by one has not been looked at.
        detail = f"check {check.name} passed by what is no finite number: {', '.join(wrong)} ({result.detail})"
        return CheckResult(check.name, "fail", detail)
    return result


def _not_finite(limits: object, name: str) -> list[str]:
    """Return which limits are numbers that are none; those that were read have been looked at already."""
    if isinstance(limits, Settings):
        return [wrong for key, value in vars(limits).items() for wrong in _not_finite(value, f"{name}.{key}")]
    if isinstance(limits, tuple | list):
        return [wrong for place, value in enumerate(limits) for wrong in _not_finite(value, f"{name}.{place}")]
    return [f"{name} is {limits}"] if isinstance(limits, float) and not math.isfinite(limits) else []


def _until_one_fails(checks: Sequence[GateCheck], evidence: Evidence) -> list[CheckResult]:
    results: list[CheckResult] = []
    for check in checks:
        results.append(guarded(check, evidence))
        if results[-1].status == "fail":
            break
    return results


def _has_compared(result: CheckResult) -> bool:
    """Tell whether the challenger was compared with the champion; one whose comparison failed may have been."""
    return result.name == BeatsChampion.name and result.status != "skipped"


def _why_promoted(results: Sequence[CheckResult]) -> str:
    decisive = ("beats_champion", "floor", "recalibrated_log_loss")
    told = [it.detail for it in results if it.name in decisive and it.status == "pass"]
    return told[-1] if told else "every check passed"

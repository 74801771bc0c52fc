"""What a challenger has to earn: the value kept by contacting the tenth of the customers where most is at stake."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlplatform import ChampionGate, CheckResult, Evidence, GateCheck, Metric

CONTACTED = 0.1  # share of the customers
COST = 3.00  # dollars a contact
KEPT = 0.2  # share of the churners who stay when they are contacted
MARGIN = 0.3  # of what a customer spends
MAX_LOSS = 0.25  # dollars a contact


def value_kept(payoffs: npt.NDArray[np.float64], ranking: npt.NDArray[np.float64]) -> float:
    """Return the mean payoff, in dollars a contact, of the tenth that ranks highest; both of shape (rows,)."""
    contacted = max(1, round(ranking.size * CONTACTED))
    return float(payoffs[np.argsort(-ranking, kind="stable")[:contacted]].mean())


class ValueKept(GateCheck):
    """Contacting the top decile pays for itself, and surely not less than by the champion's list (see the README)."""

    name = "value_kept"

    def run(self, evidence: Evidence) -> CheckResult:
        """Hold the value a contact against nothing, and against the champion's."""
        column = evidence.column("spent_90d", setting=f"the check {self.name}")
        stake = np.asarray(column.to_numpy(), dtype=np.float64) * KEPT * MARGIN
        payoffs = evidence.labels * stake - COST
        metric = Metric(self.name, value_kept, greater_is_better=True)
        value = self.value_of(metric, payoffs, evidence.challenger * stake)
        detail = f"{value:+.2f} dollars a contact"
        if value <= 0:
            return self.verdict(False, f"{detail}: the campaign does not pay for itself", value, 0.0)
        if evidence.champion is None:
            return self.verdict(True, detail, value, 0.0)
        rankings = evidence.challenger * stake, evidence.champion * stake
        gain = self.compare(evidence, metric, *rankings, labels=payoffs, stratify=False)
        detail += f", {gain.gain:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] against the champion's (a loss surely below "
        detail += f"{MAX_LOSS:.2f} is needed)"
        return self.verdict(gain.low > -MAX_LOSS, detail, gain.low, -MAX_LOSS, challenger=value, **gain.numbers())


class ChurnGate(ChampionGate):
    """The platform's checks, and the business's."""

    def checks(self) -> Sequence[GateCheck]:
        """All of them."""
        return [*super().checks(), ValueKept(self.settings)]

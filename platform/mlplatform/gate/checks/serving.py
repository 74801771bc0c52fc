"""Whether the challenger can take the champion's place: its features, its signature, its speed."""

from __future__ import annotations

from datetime import datetime

from mlplatform.as_of import Duration
from mlplatform.gate.checks.base import NO_CHAMPION, CheckResult, Evidence, GateCheck


class FeatureAvailability(GateCheck):
    """Every looked-up or computed feature has values: it is not null in every row, unless it was so in training.

    Where `monitoring.max_null_increase` is set, its null share may not have risen by more than that, either.
    """

    name = "feature_availability"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare null shares on the frame with those of the training data."""
        facts, limit = evidence.features, self.limits.features.max_null_increase
        if facts is None:
            raise ValueError("the challenger's features are not known")
        if not facts.null_share:
            return self.skipped("the model looks no feature up")
        unknown = [name for name, share in facts.null_share.items() if not 0 <= share <= 1]
        if unknown:
            raise ArithmeticError(f"the null share of {', '.join(unknown)} is no share")
        rises = {name: share - facts.trained_null_share.get(name, 0.0) for name, share in facts.null_share.items()}
        gone = [name for name, share in facts.null_share.items() if share == 1 and rises[name] > 0]
        if gone:
            return self.verdict(False, f"null in every row: {', '.join(gone)}", 1.0, limit)
        worst = max(rises, key=lambda name: rises[name])
        if limit is None:
            return self.verdict(True, f"all {len(rises)} features are there", rises[worst])
        risen = [f"{name} {facts.null_share[name]:.1%}" for name, rise in rises.items() if not rise <= limit]
        detail = f"null share risen: {', '.join(risen)}" if risen else f"largest rise {rises[worst]:+.1%} of {worst}"
        return self.verdict(not risen, detail, rises[worst], limit)


class FeatureStaleness(GateCheck):
    """No feature table with a time is older than `gate.features.max_age` at `as_of`."""

    name = "feature_staleness"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at the newest row of each table."""
        limit, facts = self.limits.features.max_age, evidence.features
        if limit is None:
            return self.skipped("gate.features.max_age is not set")
        if facts is None or evidence.as_of is None:
            raise ValueError("the feature tables' newest rows are not known")
        if not facts.newest:
            return self.skipped("no feature table of the model has a time")
        oldest = Duration.parse(limit).before(evidence.as_of)
        stale = {name: newest for name, newest in facts.newest.items() if newest is None or newest < oldest}
        ages = [(evidence.as_of - newest).total_seconds() / 86_400 for newest in facts.newest.values() if newest]
        worst = max(ages, default=None)
        limit_days = (evidence.as_of - oldest).total_seconds() / 86_400
        if stale:
            listed = ", ".join(f"{name} ({_shown(newest)})" for name, newest in stale.items())
            return self.verdict(False, f"no row newer than {limit}: {listed}", worst, limit_days)
        return self.verdict(True, f"the oldest feature table is {worst:.1f} days old", worst, limit_days)


class SignatureCompatible(GateCheck):
    """Whoever sends rows to the champion can send them to the challenger, and reads the same kind of answer.

    Every column that the challenger requires is one that the champion takes, of the same type; what both may be given
    has the same type; the outputs have the same types.
    """

    name = "signature"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare the two."""
        if self.limits.signature == "any":
            return self.skipped("gate.signature allows any")
        if evidence.champion is None:
            return self.skipped(NO_CHAMPION)
        if evidence.signatures is None or evidence.signatures[1] is None:
            raise ValueError("the models' signatures are not known")
        mine, other = evidence.signatures[0], evidence.signatures[1]
        taken, given = {**other.optional, **other.required}, {**mine.optional, **mine.required}
        wrong = [f"{name} ({kind}) is newly required" for name, kind in mine.required.items() if name not in taken]
        wrong += [
            f"{name} is {kind} instead of {taken[name]}"
            for name, kind in given.items()
            if taken.get(name, kind) != kind
        ]
        if mine.outputs != other.outputs:
            wrong.append(f"it gives {', '.join(mine.outputs)} instead of {', '.join(other.outputs)}")
        return self.verdict(not wrong, "; ".join(wrong) or f"{len(given)} columns, all compatible", len(wrong), 0)


class ScoringTime(GateCheck):
    """1,000 rows are scored, lookups included, in at most `gate.max_seconds_per_1000_rows`."""

    name = "scoring_time"

    def run(self, evidence: Evidence) -> CheckResult:
        """Hold the measured time against its limit."""
        limit, value = self.limits.max_seconds_per_1000_rows, evidence.seconds_per_1000_rows
        if limit is None:
            return self.skipped("gate.max_seconds_per_1000_rows is not set")
        if value is None:
            raise ValueError("the time to score 1,000 rows was not measured")
        return self.verdict(value <= limit, f"{value:.2f} s for 1,000 rows, at most {limit:g} s", value, limit)


def _shown(newest: datetime | None) -> str:
    return f"newest {newest:%Y-%m-%d}" if newest else "empty"

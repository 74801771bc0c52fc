"""The faults: which line of which file reads otherwise, and which tests fail then.

They stand where a mistake would be quiet: a join that is off by an instant, a label from the future, a decision that is
applied twice. Each is one that somebody could make. `make mutants` plants them; a test says that each still fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path("platform/mlplatform")


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        what: What is wrong with it, in words.
        file: The file, below the package.
        old: What stands there, once.
        new: What stands there with the fault.
        tests: Test files, or tests, of which one must fail.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file, from the repository's root."""
        return PACKAGE / self.file

    def planted(self, text: str) -> str:
        """Return a file's text with the fault.

        Raises:
            ValueError: If what it changes does not stand there exactly once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.what}: {self.old!r} stands {text.count(self.old)} times in {self.path}, not once")
        return text.replace(self.old, self.new)


_GOLDEN = "tests/integration/features/test_golden_cases.py"
_AS_OF = "tests/integration/refine/test_as_of_properties.py"
_ONCE = "tests/contract/test_exactly_once.py"
_LABELS = "tests/contract/test_label_frames.py"
_DUE = "tests/integration/scoring/test_due.py"
_CANARY = "tests/contract/test_canaries.py"
_GATE = "tests/integration/gate/test_gate.py"
_STATES = "tests/integration/gate/test_gate_states.py"
_LOST = "tests/integration/gate/test_lost_champion.py"
_CHECKS = "tests/unit/gate/test_checks.py"
_COVERAGE = "tests/unit/gate/test_coverage.py"
_SPENDING = ("tests/unit/statistics/test_spending.py", "tests/unit/gate/test_spending.py")
_DRIFT = "tests/unit/monitoring/test_profiles_and_drift.py"
_DISTANCES = "tests/unit/statistics/test_distances.py"

JOINS = (
    Fault(
        "a feature of the very moment of the prediction is not found",
        "workspace/local/as_of_join.py",
        "{'=' if exact else '>='} t.",
        "{'=' if exact else '>'} t.",
        (_GOLDEN,),
    ),
    Fault(
        "a feature from after the prediction is found",
        "workspace/local/as_of_join.py",
        "{'=' if exact else '>='} t.",
        "{'=' if exact else '<='} t.",
        (_GOLDEN,),
    ),
    Fault(
        "a row as old as the lookback is too old",
        "workspace/local/as_of_join.py",
        "CASE WHEN {age} <= {item.lookback_us}",
        "CASE WHEN {age} < {item.lookback_us}",
        (_GOLDEN,),
    ),
    Fault(
        "rows come back in the order in which the engine found them",
        "workspace/local/as_of_join.py",
        "place[numbers] = np.arange(rows, dtype=np.int64)",
        "place[:] = np.arange(rows, dtype=np.int64)",
        (_GOLDEN, "tests/contract/test_training_sets.py"),
    ),
    Fault(
        "a table with a key twice doubles rows unseen",
        "workspace/local/as_of_join.py",
        "    if found != rows:\n",
        "    if found < rows:\n",
        ("tests/integration/features/test_training_sets.py",),
    ),
)

AS_OF_VIEW = (
    Fault(
        "a view shows rows that became known later",
        "refine/as_of_view.py",
        "frame = frame.where(F.col(str(known_at)) <= F.lit(self.as_of))",
        "pass",
        (_AS_OF, "tests/integration/ingest/test_ingest_and_refine.py", "tests/integration/testing/test_leak_check.py"),
    ),
    Fault(
        "a view shows what had not landed by then",
        "refine/as_of_view.py",
        "frame = frame.where(F.col(AVAILABLE_AT) <= F.lit(self._landed_by))",
        "pass",
        (_AS_OF, "tests/integration/ingest/test_ingest_and_refine.py"),
    ),
    Fault(
        "a view shows corrections that became known later",
        "refine/as_of_view.py",
        "frame = frame.where(corrected_at.isNull() | (corrected_at <= F.lit(self._corrected_by or self.as_of)))",
        "pass",
        ("tests/integration/refine/test_corrections.py",),
    ),
)

STEPS = (
    Fault(
        "a step of a rolling table begins two steps late: the row that says that nothing is left is missing",
        "features/rolling.py",
        "oldest = grid.moment(first_wanted - reach - 1)",
        "oldest = grid.moment(first_wanted - reach + 1)",
        ("tests/integration/features/test_rolling_features.py",),
    ),
    Fault(
        "a recalibration that is due trains",
        "monitoring/retrain.py",
        "then = self.recalibrating if decision.cure == RECALIBRATION else self.then",
        "then = self.then",
        ("tests/unit/monitoring/test_retraining.py",),
    ),
)

LEDGER = (
    Fault(
        "what has been committed is committed again",
        "workspace/local/delta.py",
        "        if transactions and all(states):\n",
        "        if transactions and not states:\n",
        ("tests/unit/workspace/local/test_tables.py",),
    ),
    Fault(
        "the transaction committed last does not count",
        "workspace/local/transaction_log.py",
        "committed is not None and committed >= transaction.version",
        "committed is not None and committed > transaction.version",
        (_ONCE,),
    ),
    Fault(
        "the handle that a commit was made by is the newest, whoever wrote after it",
        "workspace/local/tables.py",
        'if newest[0] == f"{table.version():020}.json":',
        "if newest[0]:",
        ("tests/unit/workspace/local/test_tables.py",),
    ),
    Fault(
        "an answer of the registry is remembered, whoever wrote since",
        "workspace/local/remembering_client.py",
        "if state is None or state != self._answered_at:",
        "if state is None or self._answered_at is None:",
        ("tests/integration/workspace/test_registry.py",),
    ),
    Fault(
        "a column that files lack holds no nulls",
        "workspace/local/rows.py",
        "nulls[name] += group.num_rows",
        "nulls[name] += 0",
        ("tests/unit/workspace/local/test_rows.py",),
    ),
    Fault(
        "rows that have a prediction are predicted again",
        "scoring/predictions.py",
        'new = population.join(existing, on=keys, how="anti")',
        "new = population",
        ("tests/integration/scoring/test_unscored.py", _DUE),
    ),
    Fault(
        "the metrics of a window are recorded each time",
        "monitoring/performance_records.py",
        'once = Transaction(f"monitor:{context.name}:{context.as_of.isoformat()}:{part}")',
        'once = Transaction(f"monitor:{context.name}:{context.run_id}:{part}")',
        ("tests/integration/monitoring/test_performance_records.py",),
    ),
)

DUE = (
    Fault(
        "a scoring takes its own predictions for those of one before",
        "scoring/due.py",
        'filters=[("as_of", "<", context.as_of), ("alias", "=", CHAMPION)',
        'filters=[("as_of", "<=", context.as_of), ("alias", "=", CHAMPION)',
        (_DUE,),
    ),
    Fault(
        "what the challenger predicted in its shadow is taken for scored",
        "scoring/due.py",
        'filters=[("as_of", "<", context.as_of), ("alias", "=", CHAMPION)',
        'filters=[("as_of", "<", context.as_of)',
        (_DUE,),
    ),
    Fault(
        "the first of the rows that changed is left out",
        "scoring/watermark.py",
        "Range(changed, context.as_of, True)",
        "Range(changed, context.as_of, False)",
        (_DUE,),
    ),
    Fault(
        "a version trained as of later scores",
        "scoring/version.py",
        "    if trained > context.as_of and not allow_later:\n",
        "    if trained < context.as_of and not allow_later:\n",
        ("tests/contract/test_champions.py",),
    ),
    Fault(
        "the champion decides for those of a canary, too",
        "scoring/predictions.py",
        "free = nw.when(nw.col(taken).is_null()).then(nw.lit(True)).otherwise(nw.lit(False))",
        "free = nw.lit(True)",
        (_CANARY,),
    ),
    Fault(
        "a canary has other entities in each scoring",
        "scoring/stage.py",
        "salt = canary.salt(context, version)",
        "salt = canary.salt(context, version) + str(context.as_of)",
        (_CANARY,),
    ),
    Fault(
        "a canary goes on after another champion was made",
        "gate/canary.py",
        'return event.event in ("applied", decision_log.BEGUN_ANEW)',
        "return event.event in (decision_log.BEGUN_ANEW,)",
        ("tests/unit/gate/test_canary.py",),
    ),
)

GATE = (
    Fault(
        "a check that errs is skipped",
        "gate/champion_gate.py",
        'return CheckResult(check.name, "fail", f"check {check.name} failed with',
        'return CheckResult(check.name, "skipped", f"check {check.name} failed with',
        ("tests/unit/gate/test_champion_gate.py",),
    ),
    Fault(
        "a gain is enough, sure or not",
        "gate/checks/performance.py",
        "result = self.verdict(difference.low > -margin,",
        "result = self.verdict(difference.gain > -margin,",
        (_CHECKS, "tests/unit/gate/test_champion_gate.py"),
    ),
    Fault(
        "a loss is a gain, where less is better",
        "statistics/metric.py",
        "return challenger - champion if self.greater_is_better else champion - challenger",
        "return challenger - champion",
        ("tests/unit/statistics/test_metrics.py", _CHECKS, _COVERAGE),
    ),
    Fault(
        "losses are drawn within each class",
        "gate/checks/base.py",
        "within = metric.within_classes if stratify is None else stratify",
        "within = self.settings.kind_of_task.is_binary if stratify is None else stratify",
        (_COVERAGE,),
    ),
    Fault(
        "few rows are as sure as many",
        "statistics/bootstrap.py",
        "    cut = expanded_tail(tail, units)\n",
        "    cut = tail\n",
        (_COVERAGE,),
    ),
    Fault(
        "rows of one entity are drawn one by one",
        "statistics/bootstrap.py",
        "        return _by_cluster(clusters), many\n",
        "        return _by_row([np.arange(labels.size)], labels.size), many\n",
        (_COVERAGE, _CHECKS),
    ),
    Fault(
        "the champion is drawn by itself",
        "statistics/bootstrap.py",
        "metric.gain(of_challenger(counts), of_champion(counts)) for counts in drawn",
        "metric.gain(of_challenger(counts), of_champion(np.roll(counts, 1))) for counts in drawn",
        (_COVERAGE,),
    ),
    Fault(
        "ten slices are tested as one",
        "gate/checks/slices.py",
        "tail = (1 - self.limits.confidence) / 2 / len(supported)",
        "tail = (1 - self.limits.confidence) / 2",
        (_CHECKS,),
    ),
    Fault(
        "rows that the older version was fitted on are compared on",
        "gate/evaluation.py",
        "after = max(time_of(version, TRAINED_THROUGH_TAG) for version in versions)",
        "after = min(time_of(version, TRAINED_THROUGH_TAG) for version in versions)",
        (_GATE,),
    ),
    Fault(
        "labels that a training knew are taken for new ones",
        "gate/evaluation.py",
        "known_then = max(time_of(version, TRAINED_AS_OF_TAG) for version in versions)",
        "known_then = min(time_of(version, TRAINED_AS_OF_TAG) for version in versions)",
        (_GATE,),
    ),
    Fault(
        "a decision from before the year goes on spending",
        "statistics/spending.py",
        "if YEAR.before(as_of) < item.as_of <= as_of]",
        "if item.as_of <= as_of]",
        _SPENDING,
    ),
    Fault(
        "a decision spends all that the year has",
        "statistics/spending.py",
        "return Spending(PER_YEAR, part * max(0.0, allowed - spent), allowed, spent, len(counted))",
        "return Spending(PER_YEAR, part * allowed, allowed, spent, len(counted))",
        _SPENDING,
    ),
    Fault(
        "a decision asked for twice spends twice",
        "gate/spending.py",
        "        if event.decision_id == identity:\n",
        "        if not event.decision_id:\n",
        _SPENDING,
    ),
    Fault(
        "a score of 1.3 is a probability",
        "gate/checks/evidence.py",
        "outside = int((~((predictions >= 0) & (predictions <= 1))).sum())",
        "outside = int((~(predictions >= 0)).sum())",
        ("tests/unit/gate/test_champion_gate.py",),
    ),
)

PROMOTION = (
    Fault(
        "a promotion does not look who is champion by now",
        "gate/promotion.py",
        "    if champion in (decision.champion_version, decision.challenger_version):\n",
        "    if champion is not None:\n",
        (_STATES, "tests/integration/gate/test_gate_faults.py", "tests/unit/gate/test_standing.py", _GATE),
    ),
    Fault(
        "the champion moves before its predecessor has an alias",
        "gate/promotion.py",
        "    if previous is not None and had != previous:\n"
        "        todo.append(_move(ws, model, PREVIOUS_CHAMPION, previous))\n"
        "    if aliases.get(CHAMPION) != version:\n"
        "        todo.append(_move(ws, model, CHAMPION, version))\n",
        "    if aliases.get(CHAMPION) != version:\n"
        "        todo.append(_move(ws, model, CHAMPION, version))\n"
        "    if previous is not None and had != previous:\n"
        "        todo.append(_move(ws, model, PREVIOUS_CHAMPION, previous))\n",
        (_STATES, "tests/integration/gate/test_gate_faults.py", _GATE),
    ),
    Fault(
        "a decision is applied as often as it is asked for",
        "gate/promotion.py",
        '    if "applied" in settled:\n        return "applied", []\n',
        "",
        (_GATE, _STATES),
    ),
    Fault(
        "what the registry answers after a promotion is not looked at",
        "gate/promotion.py",
        "    if any(after.get(alias) != version for alias, version in expected.items()):\n",
        "    if not expected:\n",
        (_GATE,),
    ),
    Fault(
        "a champion that has vanished is taken for none yet",
        "gate/champion.py",
        '    if CHAMPION in aliases:\n        return ""\n',
        '    if CHAMPION not in aliases:\n        return ""\n',
        (_LOST,),
    ),
    Fault(
        "a rollback goes on the line as a promotion does",
        "gate/decision_log.py",
        'if event.kind == "rollback" and version in line:',
        'if event.kind == "rolled back" and version in line:',
        ("tests/unit/gate/test_standing.py", _GATE),
    ),
)

LABELS = (
    Fault(
        "labels from the future are known",
        "training/label_frame.py",
        '((LABEL_KNOWN_AT, "<=", as_of),)',
        '((LABEL_KNOWN_AT, ">=", DAWN),)'.replace("DAWN", "parse_as_of('1970-01-01')"),
        (_LABELS,),
    ),
    Fault(
        "the sample of a training has another seed each time that its size changes",
        "training/label_frame.py",
        "labels = self.ws.frames.sample(labels, keys=keys, at_most=at_most, seed=seed)",
        "labels = self.ws.frames.sample(labels, keys=keys, at_most=at_most, seed=seed + at_most)",
        (_LABELS,),
    ),
    Fault(
        "rows of one moment lie on both sides of the split",
        "training/split.py",
        'np.searchsorted(times, times[wanted], side="left")',
        'np.searchsorted(times, times[wanted], side="left") + 1',
        ("tests/unit/training/test_split.py", "platform/mlplatform/training/split.py"),
    ),
    Fault(
        "the last prediction of a row is judged, not the one that was acted on",
        "monitoring/late_labels.py",
        'subset=[*keys, "alias", _SHADOW], keep="first"',
        'subset=[*keys, "alias", _SHADOW], keep="last"',
        ("tests/unit/monitoring/test_late_labels.py", "tests/integration/monitoring/test_monitoring.py"),
    ),
    Fault(
        "labels that may still come are given up",
        "monitoring/late_labels.py",
        "never = pc.sum(pc.less_equal(open_.column(self.time), _moment(self.settled))",
        "never = pc.sum(pc.greater(open_.column(self.time), _moment(self.settled))",
        ("tests/unit/monitoring/test_late_labels.py", "tests/integration/monitoring/test_monitoring.py"),
    ),
    Fault(
        "what a version had learned from counts as its performance",
        "monitoring/late_labels.py",
        "            predictions = predictions.filter(~learned)\n",
        "            pass\n",
        ("tests/integration/scoring/test_lost_predictions.py",),
    ),
)

DRIFT = (
    Fault(
        "a small window is far from everything",
        "monitoring/drift.py",
        "return not (item.value <= item.limit or item.p_value >= limits.false_alarm_rate / len(_FAMILIES))",
        "return not item.value <= item.limit",
        (_DRIFT,),
    ),
    Fault(
        "each column rings for itself",
        "monitoring/drift.py",
        "distances.holm(list(tests.values()))",
        "list(tests.values())",
        (_DRIFT,),
    ),
    Fault(
        "a window of a few rows is judged",
        "monitoring/drift.py",
        "    judged = rows >= limits.min_rows\n    metrics: list[DriftMetric] = []\n",
        "    judged = rows > 0\n    metrics: list[DriftMetric] = []\n",
        (_DRIFT,),
    ),
    Fault(
        "a shift to fewer rows of a bin counts against one to more",
        "statistics/distances.py",
        "np.sum((floored_actual - floored_expected) * np.log(floored_actual / floored_expected))",
        "np.sum((floored_actual - floored_expected) * np.abs(np.log(floored_actual / floored_expected)))",
        (_DISTANCES,),
    ),
    Fault(
        "a share as large as it is now has not risen",
        "statistics/distances.py",
        "hypergeom.sf(now - 1, before_rows + now_rows, before + now, now_rows)",
        "hypergeom.sf(now, before_rows + now_rows, before + now, now_rows)",
        (_DISTANCES,),
    ),
)

STATISTICS = (
    Fault(
        "rows of equal scores are in the right order",
        "statistics/metric.py",
        "drawn @ (seen[below] + seen[level]) / (2 * pairs)",
        "drawn @ (2 * seen[level]) / (2 * pairs)",
        ("tests/unit/statistics/test_metrics.py", "tests/unit/statistics/test_bootstrap.py"),
    ),
    Fault(
        "the interval of a rate has no room above nothing",
        "statistics/intervals.py",
        "center = (rate + square / (2 * rows)) / (1 + square / rows)",
        "center = rate / (1 + square / rows)",
        ("tests/unit/statistics/test_intervals.py", "platform/mlplatform/statistics/intervals.py"),
    ),
    Fault(
        "the area's error leaves out the events",
        "statistics/intervals.py",
        "np.sqrt(above.var(ddof=1) / up + below.var(ddof=1) / down)",
        "np.sqrt(below.var(ddof=1) / down)",
        ("tests/unit/statistics/test_intervals.py",),
    ),
    Fault(
        "the last bin of the calibration error is lost",
        "statistics/metrics.py",
        "    index = np.clip((predictions * bins).astype(int), 0, bins - 1)\n    weight",
        "    index = np.clip((predictions * bins).astype(int), 0, bins - 2)\n    weight",
        ("tests/unit/statistics/test_metrics.py",),
    ),
)

DIALECTS = (
    Fault(
        "a month is read as a day",
        "refine/dates.py",
        'return parts.index("yyyy") + 1, parts.index("MM") + 1, parts.index("dd") + 1',
        'return parts.index("yyyy") + 1, parts.index("dd") + 1, parts.index("MM") + 1',
        ("tests/unit/refine/test_dates.py", "tests/contract/test_dialects.py"),
    ),
    Fault(
        "of two readings of a day the first is taken",
        "scaffold/day_forms.py",
        "    if len(formats) == 1:",
        "    if formats:",
        ("tests/unit/scaffold/test_csv_dialect.py",),
    ),
    Fault(
        "UTF-8 passes as Latin-1",
        "ingest/encoded_file.py",
        "        if self._is_over and self._first_letter:",
        "        if False:",
        ("tests/unit/ingest/test_dialect.py",),
    ),
    Fault(
        "a point is taken out of a number whose decimals have commas, wherever it stands",
        "refine/numbers.py",
        """return f"CASE WHEN {text} RLIKE '{pattern}' THEN concat({sign}, {digits}) END\"""",
        """return f"CASE WHEN {text} RLIKE '[0-9]' THEN concat({sign}, {digits}) END\"""",
        ("tests/contract/test_dialects.py",),
    ),
)

FAULTS = (*JOINS, *AS_OF_VIEW, *STEPS, *LEDGER, *DUE, *GATE, *PROMOTION, *LABELS, *DRIFT, *STATISTICS, *DIALECTS)

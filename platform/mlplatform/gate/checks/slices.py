"""Slices: whether the challenger is surely worse than the champion somewhere, although better on the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.config.gate import SliceSettings
from mlplatform.errors import ConfigError
from mlplatform.gate.checks.base import NO_CHAMPION, CheckResult, Evidence, GateCheck, cluster_numbers
from mlplatform.gate.checks.evidence import rarest_class
from mlplatform.statistics import class_metrics
from mlplatform.statistics.bootstrap import FEWEST_CLUSTERS, PairedDifference, student
from mlplatform.statistics.metrics import Vector
from mlplatform.types import is_number

_MOST_VALUES = 10
Mask = npt.NDArray[np.bool_]


class Slices(GateCheck):
    """In no slice of `gate.slices.columns` with enough support is the challenger surely worse.

    Surely: the upper end of the gain's interval lies below `-max_loss`. With many slices some look worse by chance, so
    each is tested at the gate's one-sided level divided by their number (Bonferroni): the chance of failing a
    challenger that is nowhere worse stays below that level, whatever the slices have to do with each other. So far out
    no number of draws reaches; the interval is gain plus and minus Student's quantile times bootstrap standard error.
    """

    name = "slices"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare slice by slice."""
        options = self.limits.slices
        if options is None:
            return self.skipped("gate.slices is not set")
        slices = [(name, mask) for column in options.columns for name, mask in _slices(evidence, column)]
        if evidence.champion is None:
            return self.skipped(NO_CHAMPION)
        supported = [(name, mask) for name, mask in slices if self._supported(evidence, mask, options)]
        left_out = len(slices) - len(supported)
        if not supported:
            return self.skipped(f"none of {left_out} slices has the support that is needed", left_out=left_out)
        tail = (1 - self.limits.confidence) / 2 / len(supported)
        parts: list[dict[str, Any]] = []
        for name, mask in supported:
            difference = self._difference(evidence, evidence.champion, mask)
            spread = student(tail, difference.units, difference.draws) * difference.standard_error
            low, high = difference.gain - spread, difference.gain + spread
            parts.append(
                {"slice": name, "rows": int(mask.sum()), "gain": difference.gain, "low": low, "high": high}
                | {"worse": not high >= -options.max_loss}
            )
        worse = [part for part in parts if part["worse"]]
        least = min(part["high"] for part in parts)
        listed = ", ".join(f"{part['slice']} ({part['gain']:+.4f}, {part['rows']} rows)" for part in worse[:5])
        detail = f"surely worse in {listed}" if worse else f"in none of {len(supported)} slices surely worse"
        if left_out:
            detail += f"; {left_out} slices without support left out"
        result = self.verdict(
            not worse, detail, least, 0.0 - options.max_loss, slices=len(supported), left_out=left_out
        )
        return replace(result, parts=parts)

    def _supported(self, evidence: Evidence, mask: Mask, options: SliceSettings) -> bool:
        if mask.sum() < options.min_rows:
            return False
        clusters = cluster_numbers(_part(evidence, mask), self.limits.cluster_by)
        if clusters is not None and clusters.max() + 1 < FEWEST_CLUSTERS:
            return False
        task, labels = self.settings.kind_of_task, evidence.labels[mask]
        if task.is_multiclass:
            # Of many classes some are rare in every slice: it must not be all one class. Some metrics need each.
            counts = np.bincount(labels.astype(np.int64), minlength=len(task.classes))
            needs_each = self.metric.name == class_metrics.MACRO_AUC
            return bool(labels.size - counts.max() >= options.min_positives and (counts.min() > 0 or not needs_each))
        return task.predicts_amounts or rarest_class(labels) >= options.min_positives

    def _difference(self, evidence: Evidence, champion: Vector, mask: Mask) -> PairedDifference:
        return self.compare(_part(evidence, mask), self.metric, evidence.challenger[mask], champion[mask])


def _part(evidence: Evidence, mask: Mask) -> Evidence:
    assert evidence.rows is not None
    return replace(evidence, labels=evidence.labels[mask], rows=evidence.rows.filter(pa.array(mask)))


def _slices(evidence: Evidence, column: str) -> Iterator[tuple[str, Mask]]:
    """Yield name and rows of each slice of a column; nulls are a slice of their own."""
    values = evidence.column(column, setting="gate.slices.columns").combine_chunks()
    kind = values.type
    plain = pa.types.is_primitive(kind) or pa.types.is_decimal(kind)
    if not (plain or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ConfigError(f"gate.slices.columns: {column!r} is {kind}; only plain values make slices")
    null = np.asarray(values.is_null(nan_is_null=True))
    if null.any():
        yield f"{column} is null", null
    distinct = values.unique().drop_null()
    if is_number(kind) and len(distinct) > _MOST_VALUES:
        numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        edges = np.unique(np.quantile(numbers[~null], [0.25, 0.5, 0.75]))
        place = np.searchsorted(edges, numbers, side="left")
        ends = ["-inf", *(f"{edge:.4g}" for edge in edges), "inf"]
        for number in range(len(edges) + 1):
            yield f"{column} in ({ends[number]}, {ends[number + 1]}]", (place == number) & ~null
        return
    encoded = values.dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1))
    for code, value in sorted(enumerate(encoded.dictionary.to_pylist()), key=lambda item: str(item[1])):
        if value is not None and value == value:  # noqa: PLR0124  (NaN went with the nulls)
            yield f"{column} = {value}", codes == code

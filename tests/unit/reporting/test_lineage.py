"""Lineage from records: which stage made which version, of what; a training done again tells nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.naming import Namespace
from mlplatform.ops.records import StageRecord
from mlplatform.reporting.lineage import lineage_of
from mlplatform.reporting.outcomes import VersionRows

FIRST, LATER = parse_as_of("2006-01-01"), parse_as_of("2007-01-01")
NAMESPACE = Namespace("dev", "loans")
SPINE = "dev.loans.gold_spine"


def record(stage: str, details: dict[str, Any], **changes: Any) -> StageRecord:
    base: dict[str, Any] = {
        "run_id": "r", "use_case": "loans", "stage": stage, "as_of": FIRST, "status": "done", "started_at": LATER,
        "seconds": 1.0, "inputs": {SPINE: 1}, "details": details,
    }  # fmt: skip
    return StageRecord(**{**base, **changes})


def trained(version: int | None, **details: Any) -> StageRecord:
    return record("train", {"version": version, "training_rows": 10, "known_rows": 10, **details})


def test_a_training_done_again_leaves_the_version_with_what_it_was_trained_on_first():
    again = record("train", {"version": 1, "training_rows": 10, "reused": True}, as_of=LATER, inputs={SPINE: 9})
    (found,) = lineage_of([trained(1, feature_tables={"dev.loans.features_x": 4}), again], [], NAMESPACE)
    assert (found.as_of, found.tables, found.predicted) == (FIRST, (("gold_spine", 1), ("features_x", 4)), None)


def test_a_sample_says_of_how_many():
    (found,) = lineage_of([trained(1, training_rows=1000, known_rows=5000)], [], NAMESPACE)
    assert found.made == "trained on 1,000 labelled rows, a sample of 5,000"


def test_a_recalibration_names_its_origin():
    moved = record("recalibrate", {"version": 2, "origin": 1, "dataset_version": "d"}, as_of=LATER)
    _, found = lineage_of([trained(1), moved], [], NAMESPACE)
    assert (found.version, found.as_of, found.dataset_version) == (2, LATER, "d")
    assert found.made == "recalibrated from version 1, whose features it reads"


@pytest.mark.parametrize(
    "nothing",
    [
        trained(None),
        record("recalibrate", {"origin": 1}),
        record("recalibrate", {"origin": 1, "version": 2, "dry_run": True}),
        record("score", {"model_version": 1}),
    ],
)
def test_a_stage_that_made_nothing_has_no_line(nothing: StageRecord):
    assert lineage_of([nothing], [], NAMESPACE) == ()


def test_versions_are_ascending_and_an_adopted_one_has_its_predictions():
    rows = [VersionRows(1, 5, FIRST, LATER), VersionRows(3, 7, LATER, LATER)]
    found = lineage_of([trained(3), trained(2)], rows, NAMESPACE)
    assert [(item.version, item.predicted) for item in found] == [(1, rows[0]), (2, None), (3, rows[1])]
    assert found[0].made == "not made by a run that is on record"

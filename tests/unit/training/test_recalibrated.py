"""A recalibrated version: how it is stored, which rows it learned from, and what its tags say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from mlplatform.errors import StageError
from mlplatform.features import artifacts
from mlplatform.protocols.registry import ModelVersion
from mlplatform.statistics import profiles
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.statistics.recalibration import IsotonicMove, OddsMove
from mlplatform.training import recalibrated, recalibrated_flavor, skops_flavor
from mlplatform.training.recalibrated import Learned, Recalibration, learns_from, merged, recalibration_of

START = datetime(2020, 1, 1, tzinfo=UTC)
SPINE: Any = SimpleNamespace(prediction_time="at", settings=SimpleNamespace(label=SimpleNamespace(horizon="1 month")))
TIME = pa.timestamp("us", "UTC")


@pytest.fixture(autouse=True)
def _without_the_lock_file(monkeypatch):
    monkeypatch.setenv("MLFLOW_UV_AUTO_DETECT", "false")


@pytest.mark.parametrize("flavor", ["sklearn", "ours", "lightgbm", "xgboost"])
def test_any_stored_model_is_moved_within_and_stays_what_it_was(tmp_path, flavor):
    random = np.random.default_rng(0)
    inputs = pd.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"])
    labels = (inputs["a"] + random.normal(size=200) > 0).astype(float)
    folder = tmp_path / "raw_model"
    save(flavor, inputs, labels, folder)
    before = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(inputs))
    kept = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert recalibrated_flavor.wrap(folder, OddsMove(1.0, 0.5)) == (OddsMove(1.0, 0.5),)
    artifacts.check_files(folder)
    within = folder / artifacts.RECALIBRATED
    assert {path.relative_to(within): path.read_bytes() for path in within.rglob("*") if path.is_file()} == kept
    after = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(inputs))
    assert after.shape == before.shape
    expected = OddsMove(1.0, 0.5)(event(before))
    assert event(after) == pytest.approx(expected, abs=1e-12)
    if after.ndim == 2:
        assert after.sum(axis=1) == pytest.approx(np.ones(200))

    # Again: no model within a model within a model, and of two moves of the odds one.
    curve = IsotonicMove((0.0, 1.0), (0.1, 0.6))
    assert recalibrated_flavor.wrap(folder, OddsMove(1.0)) == (OddsMove(2.0, 0.5),)
    assert recalibrated_flavor.wrap(folder, curve) == (OddsMove(2.0, 0.5), curve)
    artifacts.check_files(folder)
    twice = event(np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(inputs)))
    assert twice == pytest.approx(curve(OddsMove(2.0, 0.5)(event(before))), abs=1e-12)
    assert {path.relative_to(within): path.read_bytes() for path in within.rglob("*") if path.is_file()} == kept


def save(flavor, inputs, labels, folder):
    if flavor == "lightgbm":
        import lightgbm

        booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(inputs, labels), 5)
        mlflow.lightgbm.save_model(booster, str(folder), pip_requirements=["lightgbm"])
    elif flavor == "xgboost":
        import xgboost

        booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(inputs, labels), 5)
        mlflow.xgboost.save_model(booster, str(folder), model_format="json", pip_requirements=["xgboost"])
    else:
        own = skops_flavor if flavor == "ours" else mlflow.sklearn
        own.save_model(
            LogisticRegression().fit(inputs, labels), str(folder), serialization_format="skops",
            pyfunc_predict_fn="predict_proba", pip_requirements=["scikit-learn"],
        )  # fmt: skip


def event(predicted):
    return (predicted[:, -1] if predicted.ndim == 2 else predicted).astype(np.float64)


def rows(count: int, entities: int) -> pa.Table:
    return pa.table(
        {
            "id": [number % entities for number in range(count)],
            "at": pa.array([START + timedelta(days=number) for number in range(count)], TIME),
        }
    )


@given(st.integers(1, 300), st.integers(1, 50), st.floats(0.05, 0.95))
def test_rows_of_one_entity_are_learned_from_or_judged_by_and_never_both(count, entities, share):
    table = rows(count, entities)
    mask = learns_from(table, ("id",), share)
    sides = {}
    for entity, learns in zip(table.column("id").to_pylist(), mask, strict=True):
        assert sides.setdefault(entity, learns) == learns
    # Whatever order they come in, and whichever others are there.
    order = np.random.default_rng(0).permutation(count)
    assert (learns_from(table.take(order), ("id",), share) == mask[order]).all()
    # A larger share takes in what a smaller one does.
    assert (learns_from(table, ("id",), min(0.99, share + 0.04)) | ~mask).all()


def test_the_share_is_that_of_the_entities():
    assert learns_from(rows(20_000, 20_000), ("id",), 0.5).mean() == pytest.approx(0.5, abs=0.02)
    assert not learns_from(rows(100, 100), ("id",), 0.0).any()
    assert learns_from(rows(100, 100), ("id",), 1.0).all()


def version(**tags: str) -> ModelVersion:
    return ModelVersion("dev.x.model", 4, "run", tags, START)


def test_tags_say_what_was_learned_from_and_others_leave_those_rows_out():
    learned = Learned(START.isoformat(), (START + timedelta(days=50)).isoformat(), ("id",), 0.5)
    made = Recalibration(3, "digest", "realised", "odds", START, (learned,))
    assert recalibration_of(version(**made.tags())) == made
    assert recalibration_of(version()) is None
    assert not made.is_of(version(artifact_digest="digest"))  # version 4
    third = replace(version(artifact_digest="digest"), version=3)
    assert made.is_of(third)
    assert not made.is_of(replace(third, tags={"artifact_digest": "of another model, which has the number by now"}))
    table = rows(100, 100)
    mask = recalibrated.left_out([version(), version(**made.tags())], table, SPINE)
    assert mask[1:51].sum() == learns_from(table.slice(1, 50), ("id",), 0.5).sum()
    assert not mask[0]  # at `after` itself
    assert not mask[51:].any()
    assert not recalibrated.left_out([version()], table, SPINE).any()
    through = recalibrated.learned_through(version(trained_through="2019-12-31T00:00:00+00:00", **made.tags()))
    assert through == learned.through
    assert recalibrated.learned_through(version()) is None


def test_tags_that_cannot_be_read_stop_whoever_needs_them():
    made = Recalibration(3, "digest", "realised", "odds", None, (Learned("2020-01-01", "2020-02-01", ("id",), 0.5),))
    for tag in (recalibrated.LEARNED_TAG, recalibrated.FROM_TAG):
        with pytest.raises(StageError, match="do not say what it was recalibrated by"):
            recalibration_of(version(**{**made.tags(), tag: "[{}]"}))


def test_a_line_of_recalibrations_keeps_all_that_was_learned_from():
    first = Learned("2020-01-01", "2020-06-01", ("id",), 0.5)
    later = Learned("2020-03-01", "2020-12-01", ("id",), 0.5)
    assert merged((first,), later) == (Learned("2020-01-01", "2020-12-01", ("id",), 0.5),)
    other = Learned("2020-03-01", "2020-12-01", ("lender",), 0.5)
    assert merged((first,), other) == (first, other)


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.3, 3))
def test_a_reference_that_is_moved_keeps_its_rows_in_their_cells(seed, intercept, slope):
    move = OddsMove(intercept, slope)
    random = np.random.default_rng(seed)
    values, window = random.beta(1, 9, 500), random.beta(2, 9, 300)
    profile = profiles.profile_table(pa.table({"p": values}))["p"]
    after = profiles.moved(profile, move)
    assert after.counts.cells == profile.counts.cells
    # What is moved alike is as far from it as it was, but for values within a last digit of an edge.
    before, now = (one.count(pa.array(of)) for one, of in ((profile, window), (after, move(window))))
    assert np.abs(np.asarray(before.cells) - np.asarray(now.cells)).sum() <= 4
    assert after.median == pytest.approx(float(move(np.array([profile.median]))[0]))
    assert after.counts.mean == pytest.approx(float(move(values).mean()), abs=0.01)


def test_a_curve_puts_cells_together():
    values = np.linspace(0.01, 0.99, 99)
    profile = profiles.profile_table(pa.table({"p": values}))["p"]
    after = profiles.moved(profile, IsotonicMove((0.0, 0.5, 0.5001, 1.0), (0.2, 0.2, 0.8, 0.8)))
    assert sum(after.counts.cells) == 99
    assert len(after.counts.cells) == len(after.edges) + 1
    counted = after.count(pa.array(np.where(values <= 0.5, 0.2, 0.8)))
    assert np.abs(np.asarray(counted.cells) - np.asarray(after.counts.cells)).sum() <= 4
    kept = profiles.to_dict({"p": after}, {"slope": 1.0, "intercept": 0.0}, scores=ScoreCounts.of(values))
    assert profiles.from_dict(kept)["p"] == after

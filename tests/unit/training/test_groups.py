"""Groups: rows of one group stand beside each other where a library counts on it, and no split tears them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, Pool
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRanker
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRanker

from mlplatform.errors import LabelError, StageError
from mlplatform.statistics import metrics
from mlplatform.training import boosters
from mlplatform.training.boosters import ranks
from mlplatform.training.candidate import TrainingData, train
from mlplatform.training.fit_arguments import fit_with_arguments, learner, rounds_of
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import fit, refuse_ranker
from mlplatform.training.search import Told
from mlplatform.training.trainer import Trainer
from mlplatform.training.trials import Attempt
from mlplatform.training.tuning import TrialScore
from tests.support.small_trainings import data, run, settings, trainer

ROWS = 600
RANDOM = np.random.default_rng(5)
INPUTS = pd.DataFrame({"load": RANDOM.random(ROWS), "size": RANDOM.random(ROWS)})
# Of any length, and mixed with each other, as sessions of one evening are.
GROUPS = np.array([f"g{number}" for number in RANDOM.integers(0, 60, ROWS)], dtype=object)
RELEVANCE = np.floor(3 * INPUTS["load"].to_numpy() + RANDOM.random(ROWS))
NEWER = np.isin(GROUPS, [f"g{number}" for number in range(45, 60)])

RANKERS: dict[str, Callable[..., Any]] = {
    "lightgbm": lambda **more: LGBMRanker(n_estimators=60, min_child_samples=3, learning_rate=0.3, **more),
    "xgboost": lambda **more: XGBRanker(n_estimators=60, max_depth=3, learning_rate=0.3, **more),
    "catboost": lambda **more: CatBoostRanker(
        iterations=60, depth=3, random_seed=1, allow_writing_files=False, verbose=False, **more
    ),
}


def ranked_rows(weights: Any = None) -> FitRows:
    """Rows of three quarters of the groups, to be stopped by those of the others."""
    whole = FitRows(INPUTS, RELEVANCE, weights, GROUPS)
    return replace(whole.part(np.flatnonzero(~NEWER)), validation=whole.part(np.flatnonzero(NEWER)))


def by_hand(name: str, model: Any, rows: FitRows) -> Any:
    """Fit as the library's documentation says, rows sorted by pandas; the weight of a group is that of its rows."""
    assert rows.validation is not None
    parts = []
    for part in (rows, rows.validation):
        frame = part.inputs.assign(label=part.labels, group=part.groups, weight=part.weights)
        frame["first"] = frame.groupby("group", sort=False).ngroup()
        frame = frame.sort_values("first", kind="stable")
        of_group = frame.groupby("first")
        weights = None if part.weights is None else frame["weight"]
        per_group = None if part.weights is None else of_group["weight"].first()
        inputs = frame[["load", "size"]]
        parts.append((inputs, frame["label"], of_group.size(), weights, per_group, frame["first"]))
    (
        (inputs, labels, sizes, weights, per_group, ids),
        (newer, newer_labels, newer_sizes, newer_weights, newer_of, newer_ids),
    ) = parts
    if name == "lightgbm":
        return model.fit(
            inputs, labels, group=sizes, sample_weight=weights, eval_X=(newer,), eval_y=(newer_labels,),
            eval_group=[newer_sizes], eval_sample_weight=None if newer_weights is None else [newer_weights],
        )  # fmt: skip
    if name == "xgboost":
        return model.fit(
            inputs, labels, group=sizes, sample_weight=per_group, eval_set=[(newer, newer_labels)], verbose=False,
            eval_group=[newer_sizes], sample_weight_eval_set=None if newer_of is None else [newer_of],
        )  # fmt: skip
    return model.fit(
        Pool(inputs, labels, group_id=ids, group_weight=weights),
        eval_set=Pool(newer, newer_labels, group_id=newer_ids, group_weight=newer_weights),
    )


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", RANKERS)
def test_rankers_are_fitted_and_stopped_by_whole_groups(name: str, weighted: bool) -> None:
    weights = np.where(np.char.str_len(GROUPS.astype(str)) == 2, 3.0, 1.0) if weighted else None
    given_rows = ranked_rows(weights)
    model = fit_with_arguments(RANKERS[name](early_stopping_rounds=5), given_rows)
    expected = by_hand(name, RANKERS[name](early_stopping_rounds=5), given_rows)
    np.testing.assert_array_equal(model.predict(INPUTS), expected.predict(INPUTS))
    assert rounds_of(model) == rounds_of(expected)
    assert np.corrcoef(model.predict(INPUTS), RELEVANCE)[0, 1] > 0.7


@pytest.mark.parametrize("name", RANKERS)
def test_within_a_pipeline_too(name: str) -> None:
    rows = ranked_rows()
    model = fit_with_arguments(make_pipeline(StandardScaler(), RANKERS[name](early_stopping_rounds=5)), rows)
    scaler = StandardScaler().fit(rows.inputs)
    assert rows.validation is not None
    scaled = replace(
        rows,
        inputs=pd.DataFrame(scaler.transform(rows.inputs), columns=INPUTS.columns),
        validation=replace(
            rows.validation, inputs=pd.DataFrame(scaler.transform(rows.validation.inputs), columns=INPUTS.columns)
        ),
    )
    alone = by_hand(name, RANKERS[name](early_stopping_rounds=5), scaled)
    as_given = pd.DataFrame(scaler.transform(INPUTS), columns=INPUTS.columns)
    np.testing.assert_allclose(model.predict(INPUTS), alone.predict(as_given), rtol=1e-12)


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_without_groups_is_told_to_have_some(name: str) -> None:
    with pytest.raises(StageError, match="ranks rows within groups, and the trainer declares none") as caught:
        fit_with_arguments(RANKERS[name](), FitRows(INPUTS, RELEVANCE))
    assert "group_column" in caught.value.hint


@pytest.mark.parametrize("name", ["xgboost", "catboost"])
def test_several_weights_in_a_group_are_refused_where_the_library_takes_one(name: str) -> None:
    with pytest.raises(StageError, match=r"one weight for each group, and rows of the group 'g\d+' have several"):
        fit_with_arguments(RANKERS[name](), ranked_rows(1.0 + np.arange(ROWS) % 2))


def test_what_ranks_is_known_fitted_or_not() -> None:
    rows = ranked_rows()
    for name, make in RANKERS.items():
        model = fit_with_arguments(make(), rows)
        assert ranks(make())
        assert ranks(model)
        if name != "catboost":
            assert ranks(model.booster_ if name == "lightgbm" else model.get_booster())
    others = [LGBMClassifier(n_estimators=2), XGBClassifier(n_estimators=2), CatBoostClassifier(iterations=2), Ridge()]
    for model in others:
        assert not ranks(model)
        fitted = fit_with_arguments(model, FitRows(INPUTS, RELEVANCE > 1, groups=GROUPS))
        for attribute in ("booster_", "get_booster"):
            booster = getattr(fitted, attribute, None)
            assert booster is None or not ranks(booster() if callable(booster) else booster)


def test_ranking_losses_are_those_that_catboost_takes_for_such() -> None:
    known = {
        *boosters._RANKING_LOSSES,
        "RMSE",
        "MAE",
        "Logloss",
        "CrossEntropy",
        "MultiClass",
        "Poisson",
        "Quantile:alpha=0.1",
    }
    for loss in sorted(known):
        assert ranks(CatBoost({"loss_function": loss})) == bool(catboost.core.is_ranking_metric(loss)), loss


def test_a_model_that_ranks_is_refused_before_it_is_fitted_or_when_it_comes_out() -> None:
    class Ranks(Trainer):
        def lookups(self) -> list[Any]:
            return []

        def estimator(self, params: Any) -> Any:
            return make_pipeline(StandardScaler(), RANKERS["lightgbm"]())

    class Anyhow(Ranks):
        def fit(self, estimator: Any, rows: FitRows) -> Any:
            return learner(super().fit(estimator, rows)).booster_

    class Values(Ranks):
        def fit(self, estimator: Any, rows: FitRows) -> Any:
            ranker = super().fit(estimator, rows)
            return Ridge().fit(np.reshape(ranker.predict(rows.inputs), (-1, 1)), rows.labels)

    def made(kind: type[Trainer]) -> Trainer:
        return kind(None, None, None)  # type: ignore[arg-type]

    with pytest.raises(
        StageError, match="LGBMRanker ranks rows within their groups: what it predicts is neither"
    ) as it:
        refuse_ranker(made(Ranks))
    assert "classifier or a regressor" in it.value.hint
    refuse_ranker(made(Anyhow))
    with pytest.raises(StageError, match="Booster ranks rows"):
        fit(made(Anyhow), {}, ranked_rows())
    assert isinstance(fit(made(Values), {}, ranked_rows()), Ridge)


def test_a_training_with_a_ranker_says_so_instead_of_judging_it_by_values() -> None:
    maker = trainer(lambda params: RANKERS["xgboost"]())
    grouped = replace(_numbers_only(), groups=np.arange(400) // 4)
    with pytest.raises(StageError, match="no metric of the platform"):
        run(maker, grouped)


def _numbers_only() -> TrainingData:
    whole = data()
    return replace(whole, inputs=whole.inputs[["price"]], rows=whole.rows.select(["price"]))


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60), st.data())
def test_no_group_is_on_both_sides_and_none_is_left_out_for_nothing(letters: list[str], drawn: st.DataObject) -> None:
    stop = drawn.draw(st.integers(1, len(letters)))
    start = drawn.draw(st.integers(0, stop - 1))
    whole = data()
    some = replace(
        whole,
        groups=np.array(letters, dtype=object),
        times=whole.times[: len(letters)],
        labels=whole.labels[: len(letters)],
    )
    newer = set(letters[stop:])
    expected = [row for row in range(start, stop) if letters[row] not in newer]
    if expected:
        assert list(some.whole_groups(slice(start, stop))) == expected
    else:
        with pytest.raises(LabelError, match="goes on in newer rows"):
            some.whole_groups(slice(start, stop))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_rows_of_a_group_come_beside_each_other_in_their_order(numbers: list[int]) -> None:
    rows = FitRows(
        pd.DataFrame({"row": np.arange(len(numbers))}),
        np.arange(float(len(numbers))),
        np.arange(float(len(numbers))),
        np.array(numbers),
    )
    sorted_rows = rows.by_group()
    expected = [row for group in dict.fromkeys(numbers) for row, number in enumerate(numbers) if number == group]
    assert sorted_rows.inputs["row"].tolist() == expected
    assert sorted_rows.labels.tolist() == expected
    assert sorted_rows.weights is not None
    assert sorted_rows.weights.tolist() == expected
    assert sorted_rows.group_sizes.tolist() == [numbers.count(group) for group in dict.fromkeys(numbers)]


class Noted:
    """A trainer that notes what it is given, and fits as the platform does."""

    def __init__(self) -> None:
        self.given: list[FitRows] = []
        self.default_params: dict[str, Any] = {}

    def estimator(self, params: Any) -> Any:
        return LGBMClassifier(n_estimators=50, early_stopping_rounds=5, min_child_samples=5)

    def search_space(self) -> dict[str, Any]:
        return {}

    def fit(self, estimator: Any, rows: FitRows) -> Any:
        self.given.append(rows)
        return fit_with_arguments(estimator, rows)


def test_neither_rounds_nor_the_model_are_learned_from_groups_that_go_on_in_the_holdout() -> None:
    groups = np.arange(400) // 7  # the split tears some of them
    noted = Noted()
    trained, _, _ = run(noted, replace(_numbers_only(), groups=groups))
    holdout = set(groups[trained.split.holdout])
    counting, last = noted.given
    assert counting.validation is not None
    assert counting.groups is not None
    assert counting.validation.groups is not None
    assert last.groups is not None
    assert not set(counting.groups) & (set(counting.validation.groups) | holdout)
    assert not set(counting.validation.groups) & holdout
    assert not set(last.groups) & holdout
    assert 0 < 300 - len(last) < 7
    assert len(trained.holdout_predictions) == 100


def test_how_many_rows_are_not_fitted_on_is_said() -> None:
    notes: list[str] = []
    grouped = replace(_numbers_only(), groups=np.arange(400) // 7)
    train(Noted(), grouped, settings(), Told(lambda *_: None), note=notes.append)  # type: ignore[arg-type]
    assert "groups: 6 of 300 rows are not fitted on, for their groups go on later" in notes


def test_where_every_group_goes_on_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(LabelError, match=r"Each group of the 300 labelled rows from 2024-01-01 to .* goes on") as it:
        run(Noted(), replace(_numbers_only(), groups=np.arange(400) % 5))
    assert "group_column" in it.value.hint


def test_a_trial_on_a_share_of_the_rows_draws_whole_groups() -> None:
    seen: list[FitRows] = []

    def keep(estimator: Any, rows: FitRows) -> Any:
        seen.append(rows)
        return fit_with_arguments(estimator, rows)

    maker = trainer(lambda params: LogisticRegression())
    maker.fit = keep
    labels = (RELEVANCE > 1).astype(np.float64)
    whole = FitRows(INPUTS, labels, groups=GROUPS)
    rows = replace(whole.part(np.flatnonzero(~NEWER)), validation=whole.part(np.flatnonzero(NEWER)))
    score = TrialScore(maker, "classification", metrics.get("roc_auc"), seed=3)
    assert score(rows, Attempt(0, {}, share=1 / 3)) > 0.6
    part = seen[0].groups
    assert part is not None
    assert rows.groups is not None
    assert len(set(part)) == 15  # of 45
    assert len(part) == int(np.isin(rows.groups, list(set(part))).sum())


def test_an_estimator_that_splits_rows_itself_splits_them_by_group() -> None:
    class Watched(GroupKFold):
        def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:  # noqa: N803  (scikit-learn's names)
            told.append(list(groups))
            return super().split(X, y, groups)

    told: list[list[Any]] = []
    labels = (RELEVANCE > 1).astype(np.float64)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=Watched(3))
    fit_with_arguments(make_pipeline(StandardScaler(), search), FitRows(INPUTS, labels, groups=GROUPS))
    assert told == [list(GROUPS)]
    # One that takes none is fitted all the same: they are for the split.
    plain = fit_with_arguments(LogisticRegression(), FitRows(INPUTS, labels, groups=GROUPS))
    np.testing.assert_array_equal(plain.coef_, LogisticRegression().fit(INPUTS, labels).coef_)

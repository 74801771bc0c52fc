"""The churn use case on the real purchases: what is known when, leaks, computing step by step, and how good it is."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.errors import MissingDependencyError
from mlplatform.gate.checks.base import Evidence
from mlplatform.naming import CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.statistics.metrics import roc_auc
from mlplatform.testing import check_features, check_incremental
from mlplatform.training.candidate import train as fit_candidate
from mlplatform.training.candidate import training_data
from mlplatform.training.fitting import predict
from mlplatform.training.label_frame import LabelFrame, known_labels
from mlplatform.training.stored_form import stored_form

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

FIRST, MID_MONTH, LATEST = map(parse_as_of, ("1997-09-01", "1997-09-15", "1997-10-01"))


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace) -> UseCase:
    return discovery.open_use_case(ws, "churn", Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def refined(ws: LocalWorkspace, use_case: UseCase) -> LocalWorkspace:
    """Silver and gold in the middle of September, reached in two steps."""
    for moment in (FIRST, MID_MONTH):
        Pipeline(ws, use_case, moment).run(["ingest", "refine"])
    return ws


def table(ws: LocalWorkspace, use_case: UseCase, name: str) -> pa.Table:
    return ws.tables.to_arrow(use_case.namespace.table(name), at_most=10**6)


def test_only_months_that_are_over_have_landed(refined: LocalWorkspace, use_case: UseCase) -> None:
    landed = table(refined, use_case, "bronze_purchases")
    assert sorted(pc.unique(landed["_file"]).to_numpy(zero_copy_only=False)) == [
        f"purchases_1997-{month:02d}.csv" for month in range(1, 9)
    ]
    assert pc.max(landed["date"]).as_py() == "19970831"


def test_purchases_that_are_alike_are_separate_and_none_is_lost(refined: LocalWorkspace, use_case: UseCase) -> None:
    silver = table(refined, use_case, "silver_purchases")
    # The months January to August, as counted from the file.
    assert silver.num_rows == 8928 + 11272 + 11598 + 3781 + 2895 + 3054 + 2942 + 2320
    (first, second) = (
        silver.filter(pc.equal(silver["customer_id"], pa.scalar("00002"))).sort_by("purchase_id").to_pylist()
    )
    assert (first["cds"], first["cents"], second["cds"], second["cents"]) == (1, 1200, 5, 7700)
    assert first["known_at"] == parse_as_of("1997-01-12T23:59:59.999999")


def test_who_is_active_and_who_churned(refined: LocalWorkspace, use_case: UseCase) -> None:
    """The rates that the data are known by: customers with a purchase in the 90 days before, none in the 60 after."""
    spine, labels = (table(refined, use_case, f"gold_{name}").to_pandas() for name in ("spine", "labels"))
    active = spine.groupby("cutoff").size()
    assert active[parse_as_of("1997-07-01")] == 5322
    assert active[parse_as_of("1997-09-01")] == 4576
    assert spine["cutoff"].max() == parse_as_of("1997-09-01")
    rate = labels.groupby("cutoff")["churned"].mean().round(3)
    assert rate[parse_as_of("1997-06-01")] == 0.764
    assert rate[parse_as_of("1997-07-01")] == 0.655


def test_a_label_is_known_when_the_drop_with_the_end_of_its_horizon_is_there(
    refined: LocalWorkspace, use_case: UseCase
) -> None:
    labels = table(refined, use_case, "gold_labels")
    # 60 days after July 1st are over on August 30th, but August is delivered on September 1st.
    july = labels.filter(pc.equal(labels["cutoff"], pa.scalar(parse_as_of("1997-07-01"), labels["cutoff"].type)))
    assert pc.unique(july["label_known_at"]).to_pylist() == [FIRST]
    assert pc.max(labels["cutoff"]).as_py() == parse_as_of("1997-07-01")
    early = known_labels(refined, use_case.namespace, use_case.label_spine(), parse_as_of("1997-08-31"))
    assert pc.max(early.rows["cutoff"]).as_py() == parse_as_of("1997-06-01")


@pytest.fixture(scope="module")
def later(refined: LocalWorkspace, use_case: UseCase) -> LocalWorkspace:
    Pipeline(refined, use_case, LATEST).run(["ingest", "refine"])
    return refined


def by_day_and_at_night(by_day: list[str], at_night: list[str]) -> pytest.MarkDecorator:
    """Look at a few early months by day: of later ones each moment takes seconds."""
    return pytest.mark.parametrize("moments", [by_day, pytest.param([*at_night, str(LATEST)], marks=pytest.mark.slow)])


@by_day_and_at_night(
    ["1997-02-20T12:00", "1997-04-01"], at_night=["1997-02-20T12:00", "1997-06-01", "1997-08-31T23:59:59"]
)
def test_no_feature_table_leaks(later: LocalWorkspace, use_case: UseCase, moments: list[str]) -> None:
    check_features(later, use_case, [parse_as_of(text) for text in moments])


# The day's last step is of two weeks, and its windows of weeks and months reach back behind the steps before.
@by_day_and_at_night(
    ["1997-03-15", "1997-04-01"],
    at_night=["1997-05-01", "1997-05-02", "1997-06-15", "1997-08-01", "1997-09-04"],
)
def test_step_by_step_is_at_once(later: LocalWorkspace, use_case: UseCase, moments: list[str]) -> None:
    check_incremental(later, use_case, [parse_as_of(text) for text in moments])


def test_recency_of_a_customer_by_hand(later: LocalWorkspace, use_case: UseCase) -> None:
    """Customer 00003 bought on January 2nd, March 30th and April 2nd."""
    Pipeline(later, use_case, parse_as_of("1997-07-01")).run(["features"])
    rows = table(later, use_case, "features_recency")
    mine = rows.filter(pc.equal(rows["customer_id"], pa.scalar("00003"))).sort_by("cutoff").to_pylist()
    assert [f"{row['cutoff']:%m}" for row in mine] == ["02", "03", "04", "05", "06", "07"]
    may = mine[3]
    assert (may["days_since_last"], may["days_since_first"], may["usual_gap"]) == (29.0, 119.0, 45.0)
    monthly = table(later, use_case, "features_monthly")
    chosen = pc.and_(
        pc.equal(monthly["customer_id"], pa.scalar("00003")),
        pc.equal(monthly["known_at"], pa.scalar(parse_as_of("1997-05-01"), monthly["known_at"].type)),
    )
    (row,) = monthly.filter(chosen).to_pylist()
    assert (row["days_1m"], row["days_3m"], row["days_ever"]) == (1, 2, 3)
    assert row["cents_ever"] == 2076 + 2076 + 1954
    assert row["days_trend_monthly"] == pytest.approx(1 / 3)


def test_without_the_package_the_error_names_the_extra(use_case: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(MissingDependencyError, match=r"Lifetimes") as caught:
        sys.modules["use_cases.churn.purchases"].extract_file()
    assert "mlplatform[samples]" in caught.value.hint


def test_the_package_is_read_and_not_imported(refined: LocalWorkspace) -> None:
    assert "lifetimes" not in sys.modules


def evidence(customers: int, challenger: np.ndarray, champion: np.ndarray | None) -> Evidence:
    """Every second customer churns; every fourth spends 200 dollars, the others 20."""
    labels = np.tile([1.0, 0.0], customers // 2)
    spent = np.tile([200.0, 200.0, 20.0, 20.0], customers // 4)
    ids = pa.array([f"{number:05d}" for number in range(customers)])
    rows = pa.table({"customer_id": ids, "spent_90d": pa.array(spent)})
    return Evidence(labels=labels, challenger=challenger, champion=champion, source={}, rows=rows)


def test_the_value_kept_is_counted_in_dollars_and_guards(use_case: UseCase) -> None:
    check = sys.modules["use_cases.churn.gate"].ValueKept(use_case.settings)
    right = np.tile([0.9, 0.1], 200)
    wrong = 1 - right
    # The tenth contacted are churners who spent 200: a fifth of them stays, 30 % is ours, 3 dollars go.
    first = check.run(evidence(400, right, None))
    assert (first.status, first.value) == ("pass", pytest.approx(200 * 0.2 * 0.3 - 3))
    losing = check.run(evidence(400, wrong, None))
    assert (losing.status, losing.value) == ("fail", pytest.approx(-3.0))
    assert "does not pay for itself" in losing.detail
    # Of the forty contacted, 25 are such churners and 15 would have stayed anyway.
    half = np.tile([0.55, 0.1, 0.1, 0.1, 0.1, 0.52, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 25)
    spoiled = check.run(evidence(400, half, right))
    assert spoiled.status == "fail"
    assert spoiled.numbers["challenger"] == pytest.approx((25 * 9 - 15 * 3) / 40)
    assert spoiled.numbers["gain"] == pytest.approx((25 * 9 - 15 * 3) / 40 - 9)
    assert check.run(evidence(400, right, right)).status == "pass"


@pytest.mark.slow
def test_the_model_is_as_good_as_the_data_allow_and_not_better(ws: LocalWorkspace, use_case: UseCase) -> None:
    """Trained on the cut-offs June to October 1997, tested on January to May 1998."""
    Pipeline(ws, use_case, parse_as_of("1998-07-01")).run(["ingest", "refine", "features"])
    trainer, spine, settings = use_case.model_trainer(), use_case.label_spine(), use_case.settings

    def frame(after: str, until: str, as_of: str) -> LabelFrame:
        moments = parse_as_of(f"{after}T23:59:59"), parse_as_of(f"{until}T00:00")
        return known_labels(ws, use_case.namespace, spine, parse_as_of(as_of), after=moments[0], until=moments[1])

    # What trains is known before the first cut-off of the test.
    older = frame("1997-05-31", "1997-10-01", "1998-01-01")
    newer = frame("1997-12-31", "1998-05-01", "1998-07-01")
    train, test = (training_data(ws, trainer, spine, rows, settings) for rows in (older, newer))
    assert (train.labels.size, test.labels.size) == (29_623, 19_475)
    assert test.labels.mean() == pytest.approx(0.624, abs=0.0005)
    model = trainer.estimator(trainer.default_params).fit(train.inputs, train.labels)
    predicted = predict(model, test.inputs, "classification")
    ours, recency = roc_auc(test.labels, predicted), roc_auc(test.labels, test.inputs["days_since_last"].to_numpy())
    print(f"AUC {ours:.4f}, days since the last purchase alone {recency:.4f}")
    assert 0.70 <= ours <= 0.75
    assert recency == pytest.approx(0.593, abs=0.001)


@pytest.mark.slow
def test_lightgbm_is_as_good(ws: LocalWorkspace, use_case: UseCase) -> None:
    """The second trainer, on the same months; it stops early, and is stored as LightGBM's own text."""
    Pipeline(ws, use_case, parse_as_of("1998-07-01")).run(["ingest", "refine", "features"])
    spine, settings = use_case.label_spine(), use_case.settings
    trainer = sys.modules["use_cases.churn.model"].LightGBMTrainer(use_case.namespace, settings, use_case.spine)
    moments = [parse_as_of(moment) for moment in ("1997-05-31T23:59:59", "1997-10-01T00:00", "1998-01-01")]
    older = known_labels(ws, use_case.namespace, spine, moments[2], after=moments[0], until=moments[1])
    newer = known_labels(ws, use_case.namespace, spine, parse_as_of("1998-07-01"), after=moments[2])
    data, test = (training_data(ws, trainer, spine, rows, settings) for rows in (older, newer))
    candidate = fit_candidate(trainer, data, settings, lambda *_: None)
    assert candidate.rounds is not None
    assert 20 < candidate.rounds < 500
    assert candidate.estimator.booster_.num_trees() == candidate.rounds
    assert 0.70 <= roc_auc(test.labels, predict(candidate.estimator, test.inputs, "classification")) <= 0.75
    assert stored_form(candidate.estimator, "classification", trainer, test.inputs).flavor.FLAVOR_NAME == "lightgbm"


@pytest.mark.slow
def test_a_champion_scores_the_month(tmp_path: Path) -> None:
    from mlplatform.workspace.local.workspace import LocalWorkspace

    with LocalWorkspace.open(env="dev", root=tmp_path) as ws:
        use_case = discovery.open_use_case(ws, "churn", Path(__file__).resolve().parents[2])
        first = Pipeline(ws, use_case, parse_as_of("1997-12-01")).run()
        assert first.details("gate")["outcome"] == "promoted"
        assert ws.registry.aliases(use_case.model) == {CHAMPION: 1}
        Pipeline(ws, use_case, parse_as_of("1998-01-01")).run()
        scored = table(ws, use_case, "gold_predictions").to_pandas().groupby("cutoff").size()
    assert scored.to_dict() == {parse_as_of("1997-12-01"): 4110, parse_as_of("1998-01-01"): 4176}

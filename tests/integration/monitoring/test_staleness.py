"""How fast the champions of a simulation grew stale: the same numbers as by hand, and nothing changed."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from mlplatform.as_of import parse_as_of, steps
from mlplatform.cli.main import cli
from mlplatform.gate import decision_log
from mlplatform.naming import Namespace
from mlplatform.simulation import simulate, stale
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import business_state, differences
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import NAME, TinyFolder, price_a_seat, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlplatform.monitoring.staleness import Staleness

NS = Namespace("dev", NAME)
START, END, EVERY = "2020-08-01", "2020-12-01", "month"
MOMENTS = list(steps(parse_as_of(START), parse_as_of(END), EVERY))
"""Labels come a month later, a week of grace beside: known at the end are those of before 2020-10-24."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(
        tmp_path_factory.mktemp("use_cases"),
        rows_a_month=200,
        label={"horizon": "1 month"},
        training={"search": {"max_evals": 1}, "importance_rows": 0},
        gate={"margin": 0.3, "min_rows": 100},
        monitoring={"retrain_every": "1 month", "cooldown": "1 day"},
        simulation={"start": START, "end": END, "every": EVERY},
    )


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    root = tmp_path_factory.mktemp("replayed") / "home"
    with LocalWorkspace.open(root=root) as ws:
        simulate(ws, open_tiny(ws, tiny.folder), MOMENTS)
    return root


@pytest.fixture
def ws(tmp_path: Path, replayed: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(replayed, tmp_path / "home")) as opened:
        yield opened


def measured(ws: LocalWorkspace, tiny: TinyFolder) -> Staleness:
    return stale(ws, open_tiny(ws, tiny.folder), MOMENTS, EVERY)


def promoted(ws: LocalWorkspace) -> dict[int, pd.Timestamp]:
    """Version -> as of when it became champion, oldest first."""
    applied = [event for event in decision_log.events(ws, NS) if event.event == "applied"]
    return {event.challenger_version: pd.Timestamp(event.as_of) for event in applied}


def judge(ws: LocalWorkspace, tiny: TinyFolder) -> pd.DataFrame:
    """Compute each model's metric on each window from the landed files alone: pandas, skops and scikit-learn."""

    def landed(source: str) -> pd.DataFrame:
        files = sorted((tiny.data / source).glob("*.csv"))
        return pd.concat([pd.read_csv(file, dtype={"account": str}) for file in files], ignore_index=True)

    signups, cancellations = landed("signups"), landed("cancellations")
    rows = signups.merge(cancellations, on="account", how="left")
    rows["at"] = pd.to_datetime(rows.signed_up, utc=True)
    rows["gone"] = pd.to_datetime(rows.cancelled, utc=True)
    rows["label"] = (rows.gone <= rows["at"] + pd.DateOffset(months=1)).astype(float)
    rows["price_a_seat"] = [price_a_seat(*pair) for pair in zip(rows.price, rows.seats, strict=True)]
    # The day after a cancellation it is known; before the first one of a region there is no history.
    known = rows.dropna(subset=["gone"]).assign(known=lambda it: it.gone + pd.Timedelta(days=1))
    days = [
        known.loc[(known.region == region) & (known.known <= at), "known"].size
        for region, at in zip(rows.region, rows["at"], strict=True)
    ]
    rows["region_cancellations"] = np.where(np.array(days) > 0, days, np.nan)
    settled = pd.Timestamp("2020-10-24", tz="UTC")
    since = promoted(ws)
    found = []
    for window, (start, end) in enumerate(pairwise(MOMENTS)):
        inside = rows[(rows["at"] > start) & (rows["at"] <= min(pd.Timestamp(end), settled))]
        champions = [number for number, moment in since.items() if moment <= start]
        for number in champions if len(inside) else []:
            folder = ws.registry.download(ws.registry.get(NS.model, number), ws.root / f"judge{window}-{number}", "")
            model = skops.io.load(next(folder.rglob("*.skops")), trusted=["numpy.dtype"])
            columns = ["region", "price", "seats", "price_a_seat", "region_cancellations"]
            scores = model.predict_proba(inside[columns].astype({"seats": float}))[:, 1]
            found.append(
                {
                    "window": window,
                    "version": number,
                    "age": MOMENTS.index(start) - MOMENTS.index(since[number].to_pydatetime()),
                    "rows": len(inside),
                    "metric": roc_auc_score(inside.label, scores),
                    "champion": number == champions[-1],
                }
            )
    return pd.DataFrame(found)


def test_it_gives_what_scikit_learn_gives_on_the_same_frames(ws, tiny):
    expected = judge(ws, tiny)
    champion = expected[expected.champion].set_index("window").metric
    found = measured(ws, tiny)
    assert len(promoted(ws)) >= 3, "several champions, one after the other"
    assert found.champions == tuple(sorted(expected.version.unique()))
    assert found.windows == expected.window.nunique() == 3
    assert found.waiting == len(MOMENTS) - 1 - 3
    assert found.left_out == ()
    assert len(found.curve.ages) == expected.age.nunique() == 3
    for at in found.curve.ages:
        mine = expected[expected.age == at.age]
        assert (at.windows, at.rows) == (len(mine), mine.rows.sum())
        assert at.metric == pytest.approx(np.average(mine.metric, weights=mine.rows), abs=1e-9)
        older = mine[~mine.champion]
        assert at.compared == len(older)
        if len(older):
            losses = champion.loc[older.window].to_numpy() - older.metric.to_numpy()
            assert at.loss == pytest.approx(np.average(losses, weights=older.rows), abs=1e-9)
            assert at.loss_interval is not None
            assert at.loss_interval.low < at.loss < at.loss_interval.high
    assert found.curve.recommended.verdict == "too few"


def test_it_changes_nothing_in_the_workspace(ws, tiny):
    def files() -> dict[str, int]:
        under = ws.root.rglob("*")
        return {str(path): path.stat().st_mtime_ns for path in under if path.is_file()}

    before, written = business_state(ws, NS), files()
    measured(ws, tiny)
    assert differences(before, business_state(ws, NS)) == {}
    assert files() == written
    assert ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6).num_rows > 0


def test_of_many_rows_each_window_has_a_sample(ws, tiny):
    use_case = open_tiny(ws, tiny.folder)
    limits = use_case.settings.gate.model_copy(update={"max_rows": 330})
    use_case.settings = use_case.settings.model_copy(update={"gate": limits})
    found = stale(ws, use_case, MOMENTS, EVERY)
    assert (found.windows, found.rows) == (3, 3 * 110)


def test_a_version_that_is_gone_is_left_out_and_said(ws, tiny):
    first, second, *_ = promoted(ws)
    ws.registry._connect().delete_model_version(str(NS.model), str(second))
    found = measured(ws, tiny)
    assert first in found.champions
    assert second not in found.champions
    assert found.left_out == (f"version {second}: the registry answers that it is gone",)


def test_a_simulation_of_one_step_has_nothing_to_compare(ws, tiny):
    found = stale(ws, open_tiny(ws, tiny.folder), MOMENTS[-1:], EVERY)
    assert (found.windows, found.curve.ages, found.curve.recommended.verdict) == (0, (), "too few")


def test_the_command_prints_the_table_and_the_report_has_it(replayed, tmp_path, tiny):
    home = clone(replayed, tmp_path / "home")
    common = ["--home", str(home), "--use-cases", str(tiny.use_cases)]
    told = CliRunner().invoke(cli, ["simulate", NAME, "--staleness", *common])
    assert told.exit_code == 0, told.output
    assert "Metric by age of the model" in told.stdout
    assert "Recommended retraining interval: not known, for there were too few windows" in told.stdout
    page = (home / "reports" / f"{NAME}.html").read_text(encoding="utf-8")
    assert 'id="plot-staleness"' in page
    assert "too few windows" in page
    asked: Any = json.loads(CliRunner().invoke(cli, ["simulate", NAME, "--staleness", "--json", *common]).stdout)
    (only,) = asked["use_cases"]
    assert [at["duration"] for at in only["staleness"]["ages"]] == ["0", "1 month", "2 months"]
    assert only["staleness"]["recommended"]["verdict"] == "too few"
    shutil.rmtree(home)

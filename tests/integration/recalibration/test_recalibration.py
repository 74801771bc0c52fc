"""A champion whose base rate moved: recalibrated, put to the gate by proper scores, on record, and rolled back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.errors import LabelError, RegistryError, StageError, UsageError
from mlplatform.features import artifacts
from mlplatform.gate import decision_log, evaluation
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import LabelSpine
from mlplatform.reporting.decisions import champions_of
from mlplatform.stages import gate_of, recalibrate_of
from mlplatform.statistics.recalibration import OddsMove
from mlplatform.training.label_frame import KnownLabels
from mlplatform.training.outcomes import RealisedBasis, RowOutcomes
from mlplatform.training.recalibrated import recalibration_of
from mlplatform.training.version_tags import fitted_as_of, trained_as_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.shifted_tiny import FIRST, LATER, write_shifted
from tests.support.tiny_gate import MODEL, NAMESPACE
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder

DATA = ["ingest", "refine", "features"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyFolder, Path]:
    """A closed workspace with a champion from before the shift, and the data of after it."""
    folder = tmp_path_factory.mktemp("recalibration")
    tiny, root = write_shifted(folder / "use_cases"), folder / "live"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST)
        assert ws.registry.aliases(MODEL)[CHAMPION] == 1
        run_tiny(ws, tiny.folder, LATER, DATA)
    return tiny, root


@pytest.fixture
def ws(base: tuple[TinyFolder, Path], tmp_path: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base[1], tmp_path / "home")) as workspace:
        yield workspace


@pytest.fixture
def tiny(base: tuple[TinyFolder, Path]) -> TinyFolder:
    return base[0]


def pipeline(ws: LocalWorkspace, tiny: TinyFolder, as_of: str = LATER) -> Pipeline:
    return Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(as_of))


def predictions(ws: LocalWorkspace, tiny: TinyFolder, version: int, rows: Any) -> np.ndarray:
    scored = ws.fe.score_batch_arrow(model_uri=f"models:/{MODEL}/{version}", df=rows, trusted_types=())
    return np.asarray(scored.sort_by([("signed_up_at", "ascending"), ("account", "ascending")]).column("prediction"))


def test_a_champion_is_recalibrated_promoted_and_rolled_back(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    seen = pipeline(ws, tiny).recalibrate(dry_run=True).details
    assert seen.version is None
    assert [it.version for it in ws.registry.versions(MODEL)] == [1]
    assert seen.observed is not None
    assert seen.predicted is not None
    assert seen.observed > 1.4 * seen.predicted

    found = pipeline(ws, tiny).recalibrate().details
    assert found.version == 2
    assert found.moved == pytest.approx(found.observed, rel=0.02)
    assert found.held_out["brier_after"] < found.held_out["brier_before"]
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1, CHALLENGER: 2}
    version = ws.registry.get(MODEL, 2)
    made = recalibration_of(version)
    assert made is not None
    assert (made.origin, made.basis, made.method) == (1, "realised", "odds")
    first = ws.registry.get(MODEL, 1)
    assert trained_as_of(version) == parse_as_of(LATER)
    assert fitted_as_of(version) == parse_as_of(FIRST)
    assert version.tags["trained_through"] == first.tags["trained_through"]

    # Its run is a child of the training's, with what was done and from what.
    ws.registry.activate()
    run = mlflow.get_run(version.run_id)
    assert run.data.tags["mlflow.parentRunId"] == first.run_id
    assert run.data.tags["dataset_version"] == found.dataset_version
    assert run.data.params["recalibrated_from"] == "1"

    gated = pipeline(ws, tiny).gate(version=2).details
    assert gated.outcome == "promoted", gated.reason
    assert ws.registry.aliases(MODEL) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    checks = {check["name"]: check for check in gated.checks}
    assert checks["not_worse"]["status"] == "pass"
    assert "rank as they did" in checks["not_worse"]["detail"]
    for name in ("recalibrated_brier", "recalibrated_log_loss"):
        assert checks[name]["status"] == "pass"
        assert checks[name]["numbers"]["low"] > 0
    assert not {"floor", "beats_trivial", "beats_champion"} & checks.keys()
    assert gated.rows_from == "held out"
    decision = decision_log.decided(decision_log.events(ws, NAMESPACE, decision_id=str(gated.decision_id)))
    assert decision is not None
    assert decision.evaluation["recalibrated_from"] == 1
    # The gate's rows and those learned from are all there are, and none is both.
    assert found.rows == found.learned_rows + gated.rows
    assert decision.evaluation["left_out_as_learned"] == found.learned_rows
    assert champions_of(decision_log.events(ws, NAMESPACE))[-1].who == "v2, recalibrated from v1"


def test_it_is_the_same_model_made_once(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    found = pipeline(ws, tiny).recalibrate().details
    assert pipeline(ws, tiny).gate(version=2).details.outcome == "promoted"
    # Each prediction is the first one's, moved.
    frame = KnownLabels.at(ws, NAMESPACE, open_tiny(ws, tiny.folder).label_spine(), parse_as_of(LATER)).frame(
        at_most=10_000, seed=0
    )
    rows = frame.rows.drop_columns(["cancelled", "label_known_at"])
    before, after = (predictions(ws, tiny, number, rows) for number in (1, 2))
    assert after == pytest.approx(OddsMove(found.odds["intercept"], found.odds["slope"])(before), abs=1e-12)

    # The same time again makes nothing: the champion is what was made.
    again = pipeline(ws, tiny).recalibrate()
    assert again.skipped.startswith("version 2 was recalibrated at this time")
    assert len(ws.registry.versions(MODEL)) == 2

    back = pipeline(ws, tiny).roll_back(to=None, reason="a test", dry_run=False).details
    assert back.outcome == "rolled back"
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1
    # The same recalibration is the same version, and was decided about.
    assert pipeline(ws, tiny).recalibrate().details.reused
    assert len(ws.registry.versions(MODEL)) == 2


def test_it_scores_is_monitored_and_later_challengers_are_not_judged_by_its_rows(
    ws: LocalWorkspace, tiny: TinyFolder
) -> None:
    found = pipeline(ws, tiny).recalibrate().details
    assert pipeline(ws, tiny).gate(version=2).details.outcome == "promoted"
    summary = pipeline(ws, tiny).run(["score", "monitor"])
    assert {run.status for run in summary.stages} == {"done"}
    scored = ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6, filters=[("model_version", "=", 2)])
    assert scored.num_rows > 0
    monitored = summary.stages[-1].details
    assert not monitored.unchecked
    assert monitored.base_rate is not None
    assert monitored.base_rate.low <= monitored.base_rate.value <= monitored.base_rate.high
    # Its own reference: what it is calibrated to is the rate that came true.
    reference = ws.registry.load_json(ws.registry.get(MODEL, 2), "reference_profile.json")
    assert reference["calibration"]["slope"] == 1
    mean = float(np.average(reference["scores"]["means"], weights=reference["scores"]["rows"]))
    assert mean == pytest.approx(found.observed, rel=0.08)

    # A challenger that is trained is another model: by the primary metric, and by rows that the champion did not learn.
    run_tiny(ws, tiny.folder, LATER, ["train"])
    later = pipeline(ws, tiny).gate().details
    assert {check["name"] for check in later.checks} >= {"floor", "beats_champion"}
    decision = decision_log.decided(decision_log.events(ws, NAMESPACE, decision_id=str(later.decision_id)))
    assert decision is not None
    assert decision.evaluation["left_out_as_learned"] > 0
    assert "recalibrated_from" not in decision.evaluation


# By day: unit/monitoring says which cure is due (test_retrain_decision.py) and that it is executed
# (test_retraining.py), and the tests above what it does.
@pytest.mark.slow
def test_an_alarm_of_calibration_recalibrates_where_the_settings_say_so(
    base: tuple[TinyFolder, Path], tmp_path: Path
) -> None:
    settings = {
        "recalibration": {"window": "4 months", "when": "on_alarm", "cooldown": "2 months"},
        "monitoring": {"retrain_every": "24 months", "retrain_on": ["calibration"], "violated_windows": 1,
                       "of_windows": 1, "max_calibration_ratio": 1.2, "performance_floor": None},
    }  # fmt: skip
    tiny = write_shifted(tmp_path / "use_cases", **settings)
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        for as_of in (FIRST, "2020-09-01", "2020-10-01"):
            run_tiny(ws, tiny.folder, as_of)
        decision = pipeline(ws, tiny, "2020-11-01").retrain_decision()
        assert not decision["due"]
        summary = run_tiny(ws, tiny.folder, LATER)
        names = [run.stage for run in summary.stages]
        assert names[-3:] == ["recalibrate", "gate", "retrain"], names
        retrain = summary.stages[-1].details
        assert retrain.due
        assert retrain.cure == "recalibrate"
        assert all(reason.startswith("calibration:") for reason in retrain.reasons)
        version = ws.registry.get(MODEL, ws.registry.aliases(MODEL)[CHAMPION])
        assert recalibration_of(version) is not None
        # Every window has its second witness on record, and the alert names where the two disagree.
        records = ws.tables.to_arrow(
            "dev.ops.performance_metrics", at_most=10**6, filters=[("basis", "=", "prior_shift")]
        ).to_pylist()
        assert len(records) >= 4
        assert all(record["p_value"] is not None and record["low"] <= record["value"] for record in records)
        alert = ws.tables.to_arrow("dev.ops.alerts", at_most=10**6, filters=[("kind", "=", "calibration")])
        assert "two bases disagree on the base rate" in alert.to_pylist()[0]["message"]
        # The same time again changes nothing.
        count = len(ws.registry.versions(MODEL))
        run_tiny(ws, tiny.folder, LATER)
        assert len(ws.registry.versions(MODEL)) == count
        later = pipeline(ws, tiny).retrain_decision()
        assert not later["due"]
        assert later["reasons"] == ["recalibrated at this time"]


@dataclass(frozen=True)
class Foreseen:
    """A basis that foresees the labels: of rows whose label is not known yet, the rate of their month."""

    rate: float
    name: str = "immature"
    doubt: float = 0.02

    def outcomes(
        self, context: StageContext, spine: LabelSpine, *, after: datetime, known_after: datetime | None
    ) -> RowOutcomes:
        found = RealisedBasis().outcomes(context, spine, after=after, known_after=known_after)
        count = found.targets.size
        rates = np.full(count, self.rate)
        weights, doubt = np.full(count, 0.5), np.full(count, self.doubt)
        return replace(
            found, targets=rates, weights=weights, ranked=False, expected=True, low=rates - doubt, high=rates + doubt
        )


@pytest.mark.parametrize(("doubt", "outcome"), [(0.02, "promoted"), (0.45, "rejected")])
def test_rates_that_are_expected_move_the_level_and_are_judged_at_both_ends_of_their_doubt(
    ws: LocalWorkspace, tiny: TinyFolder, doubt: float, outcome: str
) -> None:
    use_case = open_tiny(ws, tiny.folder)
    bases = {"realised": RealisedBasis(), "immature": Foreseen(0.6, doubt=doubt)}
    stage = replace(recalibrate_of(use_case), bases=bases, basis="immature")
    run = pipeline(ws, tiny).execute(stage)
    assert run.details.odds["slope"] == 1
    assert run.details.moved == pytest.approx(0.6, rel=0.02)
    gated = pipeline(ws, tiny).execute(replace(gate_of(use_case), bases=bases)).details
    assert gated.outcome == outcome, gated.reason
    checks = {check["name"]: check for check in gated.checks}
    assert checks["calibration"]["status"] == "skipped"
    assert "expected" in checks["calibration"]["detail"]
    assert "low_at_the_lowest_rates" in checks["recalibrated_brier"]["numbers"]
    # Whoever lacks the basis cannot judge it, and says so: closed.
    without = pipeline(ws, tiny).gate(version=2, dry_run=True) if outcome == "rejected" else None
    if without is not None:
        assert without.details.outcome == "rejected"
        assert "immature outcomes" in without.details.reason


def test_what_is_made_is_checked_like_any_model(ws: LocalWorkspace, tiny: TinyFolder, tmp_path: Path) -> None:
    pipeline(ws, tiny).recalibrate()
    version = ws.registry.get(MODEL, 2)
    folder = ws.registry.download(version, tmp_path / "model")
    artifacts.verify(folder, version.tags[artifacts.DIGEST_TAG])
    raw = folder / "data" / "feature_store" / "raw_model"
    original = ws.registry.download(ws.registry.get(MODEL, 1), tmp_path / "original")
    inner = raw / "data" / "recalibrated" / "model"
    before = original / "data" / "feature_store" / "raw_model"
    files = {path.relative_to(before): path.read_bytes() for path in before.rglob("*") if path.is_file()}
    assert {path.relative_to(inner): path.read_bytes() for path in inner.rglob("*") if path.is_file()} == files
    spec = "data/feature_store/feature_spec.yaml"
    assert (folder / spec).read_bytes() == (original / spec).read_bytes()
    moves = raw / "data" / "recalibrated" / "recalibration.json"
    for wrong in (
        {"format": 1, "moves": [{"method": "odds", "slope": -1.0, "intercept": 0.0}]},
        {"format": 1, "moves": [{"method": "odds", "slope": 1.0, "intercept": 0.0, "loader": "os.system"}]},
    ):
        moves.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(Exception, match="is no recalibration"):
            artifacts.check_files(folder)
    moves.write_text(json.dumps({"format": 1, "moves": [{"method": "odds", "slope": 1.0, "intercept": 0.0}]}))
    artifacts.check_files(folder)
    (inner / "code.py").write_text("print('hello')", encoding="utf-8")
    with pytest.raises(Exception, match="may be pickled or code"):
        artifacts.check_files(folder)


def test_where_nothing_is_off_nothing_is_made_and_wrong_use_is_said(tmp_path: Path) -> None:
    tiny = write_shifted(tmp_path / "use_cases", extra=0.0)
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, tiny.folder, FIRST, [*DATA, "train"])
        with pytest.raises(StageError, match="no champion"):
            pipeline(ws, tiny, FIRST).recalibrate()
        run_tiny(ws, tiny.folder, FIRST, ["gate"])
        run_tiny(ws, tiny.folder, LATER, DATA)
        hasty = write_shifted(tmp_path / "hasty", extra=0.0, recalibration={"window": "1 day"})
        with pytest.raises(LabelError, match=r"needs 20 of either|No label"):
            pipeline(ws, hasty).recalibrate()
        with pytest.raises(UsageError, match="has no immature outcomes"):
            pipeline(ws, tiny).recalibrate(basis="immature")
        with pytest.raises(StageError, match="a curve needs 1000"):
            pipeline(ws, tiny).recalibrate(method="isotonic")
        assert [it.version for it in ws.registry.versions(MODEL)] == [1]
        assert evaluation.moved_champion(ws.registry.get(MODEL, 1), None) is None
        # What was moved is right by the rows that it learned from: another time finds nothing to do.
        pipeline(ws, tiny).recalibrate()
        assert pipeline(ws, tiny).gate(version=2, override="a test").details.outcome == "promoted"
        result = pipeline(ws, tiny, "2021-01-02").recalibrate()
        assert result.skipped.startswith("nothing to move")
        assert [it.version for it in ws.registry.versions(MODEL)] == [1, 2]


def test_what_was_interrupted_after_registering_is_completed(
    ws: LocalWorkspace, tiny: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*arguments: Any) -> None:
        raise RegistryError("the connection is gone")

    with monkeypatch.context() as broken:
        broken.setattr(type(ws.registry), "set_tags", lost)
        with pytest.raises(RegistryError, match="the connection is gone"):
            pipeline(ws, tiny).recalibrate()
    assert [it.version for it in ws.registry.versions(MODEL)] == [1, 2]
    assert recalibration_of(ws.registry.get(MODEL, 2)) is None
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1}
    details = pipeline(ws, tiny).recalibrate().details
    assert details.reused
    assert [it.version for it in ws.registry.versions(MODEL)] == [1, 2]
    assert recalibration_of(ws.registry.get(MODEL, 2)) is not None
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1, CHALLENGER: 2}


def test_the_command_line_says_what_was_moved_and_whose_version_it_is(
    base: tuple[TinyFolder, Path], tmp_path: Path
) -> None:
    tiny, home = base[0], clone(base[1], tmp_path / "home")

    def told(*words: str) -> str:
        where = ["--home", str(home), "--use-cases", str(tiny.use_cases)]
        done = CliRunner().invoke(cli, [*words, *where], catch_exceptions=False, standalone_mode=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    dry = told("recalibrate", "tiny", "--as-of", LATER, "--dry-run")
    assert "odds times" in dry
    assert "A dry run; nothing was changed" in dry
    found = json.loads(told("recalibrate", "tiny", "--as-of", LATER, "--json"))
    assert (found["version"], found["origin"], found["gate"]["outcome"]) == (2, 1, "promoted")
    assert "recalibrated from v1" in told("history", "tiny").replace("\n", " ")
    status = json.loads(told("status", "tiny", "--json"))
    assert (status["champion"], status["recalibrated_from"]) == (2, 1)
    again = told("recalibrate", "tiny", "--as-of", LATER)
    assert "nothing was made" in again
    explained = told("explain", found["gate"]["decision_id"][:8])
    assert "judged_by: proper scores" in explained
    page = told("report", "tiny")
    assert page
    text = next((home / "reports").glob("tiny*.html")).read_text(encoding="utf-8")
    assert "recalibrated from version 1" in text

"""What the gate saw is what scores: a decision keeps the digest of the files, whatever the tags say later."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pyarrow as pa
import pytest

from mlplatform.errors import PlatformError, RegistryError
from mlplatform.features import artifacts
from mlplatform.gate import decision_log, judged
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import SPINE
from tests.support.crossed import every
from tests.support.stored_models import RAW, bomb, setting
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE, SECOND, back, put
from tests.support.tiny_runs import run_tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.tiny_use_case import TinyFolder

    At = Callable[[str], LocalWorkspace]


def folder_of(ws: LocalWorkspace, version: int) -> Path:
    """Return where the files of a version lie."""
    ws.registry.activate()
    source = mlflow.MlflowClient().get_model_version(str(MODEL), str(version)).source
    return ws.root / "mlflow" / "artifacts" / "models" / source.removeprefix("models:/") / "artifacts"


def tag(ws: LocalWorkspace, version: int, digest: str | None = None) -> None:
    """Set the tag to what the files are now, as whoever replaced them would."""
    if digest is None:
        digest = artifacts.digest(folder_of(ws, version))
    ws.registry.set_tags(MODEL, version, {artifacts.DIGEST_TAG: digest})


def another_model(ws: LocalWorkspace, version: int, canary: Path) -> None:
    """Put another harmless model in its place: nothing but the record knows."""
    del canary
    shutil.copyfile(folder_of(ws, 3 - version) / RAW / "model.skops", folder_of(ws, version) / RAW / "model.skops")


def pickled(ws: LocalWorkspace, version: int, canary: Path) -> None:
    folder = folder_of(ws, version)
    (folder / RAW / "model.skops").write_bytes(bomb(canary))
    setting("serialization_format", "pickle", "sklearn")(folder, canary)


def named_text(ws: LocalWorkspace, version: int, canary: Path) -> None:
    folder = folder_of(ws, version)
    (folder / RAW / "model.txt").write_bytes(bomb(canary))
    setting("model_path", "model.txt")(folder, canary)
    setting("serialization_format", "cloudpickle", "sklearn")(folder, canary)


def with_code(ws: LocalWorkspace, version: int, canary: Path) -> None:
    folder = folder_of(ws, version)
    (folder / RAW / "code").mkdir()
    (folder / RAW / "code" / "evil.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n", encoding="utf-8")
    setting("code", "code")(folder, canary)
    setting("loader_module", "evil")(folder, canary)


FORGERIES = (another_model, pickled, named_text, with_code)
# Two of them each time, the others at night; which two is not the same for scoring and for the gate.
forged = pytest.mark.parametrize("forge", every(2, FORGERIES), ids=lambda forge: forge.__name__)
forged_too = pytest.mark.parametrize("forge", every(2, FORGERIES[::-1]), ids=lambda forge: forge.__name__)


def rows(ws: LocalWorkspace) -> pa.Table:
    return ws.frames.collect(ws.frames.read(NAMESPACE.gold(SPINE)).head(20), at_most=20, what="rows")


def stripped(ws: LocalWorkspace) -> None:
    """Leave the decisions as an earlier release recorded them."""
    name = NAMESPACE.ops("gate_decisions")
    table = ws.tables.to_arrow(name, at_most=1000)
    place = table.column_names.index("artifact_digest")
    nulls = pa.nulls(table.num_rows, pa.string())
    ws.tables.overwrite(name, table.set_column(place, table.schema.field(place), nulls))


def test_the_decision_keeps_the_digest_of_the_files_that_were_scored(gate_at: At) -> None:
    ws = gate_at("challenged")
    events = decision_log.events(ws, NAMESPACE)
    assert {event.event for event in events} == {"decided", "applied"}
    assert {event.artifact_digest for event in events} == {artifacts.digest(folder_of(ws, 1))}
    assert judged.recorded_digest(ws, ws.registry.get(MODEL, 1)) == artifacts.digest(folder_of(ws, 1))
    assert judged.recorded_digest(ws, ws.registry.get(MODEL, 2)) == ""


@forged
def test_other_files_and_a_tag_that_fits_them_score_nothing(
    gate_at: At, wide: TinyFolder, tmp_path: Path, forge: Any
) -> None:
    ws, canary = gate_at("challenged"), tmp_path / "canary"
    forge(ws, 1, canary)
    tag(ws, 1)
    with pytest.raises(RegistryError, match="not those that were judged"):
        run_tiny(ws, wide.folder, SECOND, ["score"])
    uri = f"models:/{MODEL}@{CHAMPION}"
    for trusted in (None, (), ("posix.mkdir",)):
        with pytest.raises(RegistryError, match="not those that were judged"):
            ws.fe.score_batch_arrow(model_uri=uri, df=rows(ws), trusted_types=trusted)
        with pytest.raises(RegistryError, match="not those that were judged"):
            ws.fe.score_batch(model_uri=uri, df=rows(ws), trusted_types=trusted)
    assert not canary.exists()


@pytest.mark.parametrize("digest", ["", "0" * 64], ids=["none", "another"])
def test_the_tag_is_not_asked_once_a_decision_is_on_record(gate_at: At, wide: TinyFolder, digest: str) -> None:
    ws = gate_at("challenged")
    tag(ws, 1, digest)
    summary = run_tiny(ws, wide.folder, SECOND, ["score"])
    assert summary.details("score")["model_version"] == 1
    assert not [note for note in summary.details("score").get("notes", []) if "digest" in note]


def test_without_its_tag_a_champion_is_still_one_that_is_checked(gate_at: At, tmp_path: Path) -> None:
    ws, canary = gate_at("challenged"), tmp_path / "canary"
    with_code(ws, 1, canary)
    tag(ws, 1, "")
    with pytest.raises(RegistryError, match="not those that were judged"):
        ws.fe.score_batch_arrow(model_uri=f"models:/{MODEL}@{CHAMPION}", df=rows(ws))
    assert not canary.exists()


@forged_too
def test_the_gate_compares_with_no_champion_that_was_replaced(
    gate_at: At, wide: TinyFolder, tmp_path: Path, forge: Any
) -> None:
    ws, canary = gate_at("challenged"), tmp_path / "canary"
    forge(ws, 1, canary)
    tag(ws, 1)
    details = put(ws, wide).details
    assert details["outcome"] == "rejected"
    assert "The champion, version 1" in details["reason"]
    assert "not those that were judged" in details["reason"]
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1
    assert not canary.exists()


@pytest.mark.parametrize("forge", every(3, FORGERIES[:0:-1]), ids=lambda forge: forge.__name__)
def test_a_challenger_that_would_run_code_is_rejected_whatever_its_tag_says(
    gate_at: At, wide: TinyFolder, tmp_path: Path, forge: Any
) -> None:
    ws, canary = gate_at("challenged"), tmp_path / "canary"
    forge(ws, 2, canary)
    tag(ws, 2)
    shadow = run_tiny(ws, wide.folder, SECOND, ["score"]).details("score")["shadow"]
    assert shadow["rows"] == 0
    assert shadow["failed"]
    details = put(ws, wide).details
    assert details["outcome"] == "rejected"
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1
    assert not canary.exists()


def test_files_replaced_after_a_rejection_are_not_judged_again(gate_at: At, wide: TinyFolder, tmp_path: Path) -> None:
    ws = gate_at("challenged")
    strict = put(ws, wide, hold=True).details
    assert strict["challenger"] == 2
    before = judged.recorded_digest(ws, ws.registry.get(MODEL, 2))
    assert before == artifacts.digest(folder_of(ws, 2))
    another_model(ws, 2, tmp_path)
    tag(ws, 2)
    assert judged.digest_to_judge(ws, ws.registry.get(MODEL, 2)) == before
    with pytest.raises(RegistryError, match="not those that were judged"):
        ws.fe.score_batch_arrow(model_uri=f"models:/{MODEL}@{CHALLENGER}", df=rows(ws), trusted_types=())


def test_decisions_of_earlier_releases_go_on_by_the_tag_and_it_is_said(gate_at: At, wide: TinyFolder) -> None:
    ws = gate_at("challenged")
    stripped(ws)
    details = run_tiny(ws, wide.folder, SECOND, ["score"]).details("score")
    assert details["model_version"] == 1
    (note,) = [note for note in details["notes"] if "digest" in note]
    assert "No decision on record holds the digest of the files of version 1" in note
    another_model(ws, 1, Path())
    with pytest.raises(RegistryError, match="not those registered"):
        ws.fe.score_batch_arrow(model_uri=f"models:/{MODEL}@{CHAMPION}", df=rows(ws), trusted_types=())


@pytest.mark.parametrize("forge", every(3, FORGERIES[1:]), ids=lambda forge: forge.__name__)
def test_where_only_the_tag_is_there_code_is_refused_all_the_same(
    gate_at: At, wide: TinyFolder, tmp_path: Path, forge: Any
) -> None:
    ws, canary = gate_at("challenged"), tmp_path / "canary"
    stripped(ws)
    forge(ws, 1, canary)
    tag(ws, 1)
    with pytest.raises(RegistryError):
        run_tiny(ws, wide.folder, SECOND, ["score"])
    assert not canary.exists()


def test_a_promotion_by_hand_keeps_the_digest_too(gate_at: At, wide: TinyFolder) -> None:
    ws = gate_at("challenged")
    assert put(ws, wide, version=2, override="the new region needs it").details["outcome"] == "promoted"
    assert judged.recorded_digest(ws, ws.registry.get(MODEL, 2)) == artifacts.digest(folder_of(ws, 2))
    another_model(ws, 2, Path())
    tag(ws, 2)
    with pytest.raises(RegistryError, match="not those that were judged"):
        run_tiny(ws, wide.folder, SECOND, ["score"])


def test_going_back_does_not_judge_files_anew(gate_at: At, wide: TinyFolder, tmp_path: Path) -> None:
    ws = gate_at("challenged")
    put(ws, wide, version=2, override="the new region needs it")
    was = judged.recorded_digest(ws, ws.registry.get(MODEL, 1))
    another_model(ws, 1, tmp_path)
    tag(ws, 1)
    assert back(ws, wide, reason="it drifts").details["outcome"] == "rolled back"
    assert {event.artifact_digest for event in decision_log.events(ws, NAMESPACE) if event.kind == "rollback"} == {was}
    with pytest.raises(RegistryError, match="not those that were judged"):
        run_tiny(ws, wide.folder, SECOND, ["score"])


def test_a_record_that_cannot_be_read_is_not_taken_for_none(
    gate_at: At, wide: TinyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = gate_at("challenged")
    read = ws.tables.to_arrow

    def fails(name: Any, **arguments: Any) -> pa.Table:
        if str(name).endswith("gate_decisions") and arguments.get("filters"):
            raise PlatformError("The record cannot be read.", hint="Repair it.")
        return read(name, **arguments)

    monkeypatch.setattr(ws.tables, "to_arrow", fails)
    with pytest.raises(PlatformError, match="cannot be read"):
        ws.fe.score_batch_arrow(model_uri=f"models:/{MODEL}@{CHAMPION}", df=rows(ws), trusted_types=())


def test_the_plan_asks_no_version_that_was_replaced(gate_at: At, wide: TinyFolder, tmp_path: Path) -> None:
    """Whatever a plan asks a live version, the same check stands before it."""
    from mlplatform.as_of import parse_as_of
    from tests.support.tiny_runs import open_tiny

    ws, canary = gate_at("challenged"), tmp_path / "canary"
    with_code(ws, 1, canary)
    tag(ws, 1)
    Pipeline(ws, open_tiny(ws, wide.folder), parse_as_of(FIRST)).plan()
    assert not canary.exists()

"""A training's sample is a function of keys and seed; and what is on record of a training and a gate that drew one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlflow
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlplatform.as_of import parse_as_of
from mlplatform.gate import decision_log
from mlplatform.gate.evaluation import training_labels
from mlplatform.training.label_frame import known_labels
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import MODEL, NAMESPACE
from tests.support.tiny_runs import open_tiny, run_tiny
from tests.support.tiny_use_case import write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AS_OF, LATER = "2020-08-01", "2020-11-01"
NUMBERS = st.lists(st.tuples(st.integers(-(2**40), 2**40), st.text(max_size=5)), unique=True, max_size=60)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("sample") / "home") as ws:
        yield ws


def drawn(ws: LocalWorkspace, keys: list[tuple[int, str]], *, at_most: int, seed: int, chunk: int = 100) -> set[Any]:
    rows = pa.table({"id": [key[0] for key in keys], "name": pa.array([key[1] for key in keys], pa.string())})
    rows = rows.append_column("more", pa.array(range(len(keys)), pa.int64())).cast(
        pa.schema([("id", pa.int64()), ("name", pa.string()), ("more", pa.int64())])
    )
    parts = [rows.slice(start, chunk) for start in range(0, len(keys), chunk)] or [rows]
    frame = ws.frames.sample(
        ws.frames.of(pa.concat_tables(parts)), keys=["id", "name"], at_most=at_most, seed=seed
    ).select("id", "name")
    return {tuple(row.values()) for row in ws.frames.collect(frame, at_most=at_most, what="a sample").to_pylist()}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NUMBERS, st.integers(0, 70), st.integers(0, 70), st.integers(0, 2**32), st.randoms(), st.integers(1, 20))
def test_a_sample_depends_on_keys_and_seed_alone_and_a_smaller_one_is_part_of_it(
    empty: LocalWorkspace, keys: list[tuple[int, str]], at_most: int, fewer: int, seed: int, random: Any, chunk: int
) -> None:
    sample = drawn(empty, keys, at_most=at_most, seed=seed)
    assert len(sample) == min(at_most, len(keys))
    assert sample <= set(keys)
    mixed = random.sample(keys, len(keys))
    assert drawn(empty, mixed, at_most=at_most, seed=seed, chunk=chunk) == sample
    smaller = drawn(empty, mixed, at_most=min(fewer, at_most), seed=seed)
    assert smaller <= sample


def test_every_row_is_as_likely(empty: LocalWorkspace) -> None:
    keys = [(number, "a") for number in range(20)]
    counts = dict.fromkeys(keys, 0)
    for seed in range(200):
        for key in drawn(empty, keys, at_most=10, seed=seed):
            counts[key] += 1
    # 100 on average with a standard deviation of 7: five of them each way.
    assert 65 < min(counts.values()) <= max(counts.values()) < 135


def test_a_training_on_a_sample_says_so_everywhere(tmp_path: Path) -> None:
    limits = {"floor": 0.55, "min_rows": 100, "min_positives": 20, "max_rows": 150, "draws": 100}
    folder = write_tiny_use_case(
        tmp_path / "uc", training={"min_rows": 300, "max_rows": 800, "search": {"max_evals": 1}}, gate=limits
    )
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, folder.folder, AS_OF, ["ingest", "refine", "features", "train", "gate"])
        record = ws.tables.to_arrow("dev.ops.stage_runs", at_most=1000, filters=[("stage", "=", "train")]).to_pylist()[
            -1
        ]
        known = record["rows_in"]
        assert known > 800
        details = json.loads(record["details"])
        assert (details["training_rows"], details["known_rows"], record["rows_out"]) == (800, known, 800)
        assert "800 labelled rows of" in details["notes"][0]
        assert "rows of the rarer class" in details["notes"][0]
        version = ws.registry.get(MODEL, 1)
        assert (version.tags["training_rows"], version.tags["known_rows"]) == ("800", str(known))
        profile = ws.registry.load_json(version, "reference_profile.json")
        assert (profile["training_rows"], profile["known_rows"]) == (800, known)
        assert ws.fe.lineage(version.uri).rows == 800
        client = mlflow.MlflowClient(ws.registry.uri, ws.registry.uri)
        run = client.get_run(version.run_id)
        assert run.data.tags["known_rows"] == str(known)
        page = client.get_logged_model(run.outputs.model_outputs[0].model_id)
        assert {item.key: item.value for item in page.metrics}["known_rows"] == known

        # The gate decides on a sample of what was not fitted on.
        decision = decision_log.events(ws, NAMESPACE)[0]
        assert decision.evaluation["rows"] == 150 < decision.evaluation["known_rows"] < known
        evidence = next(check for check in decision.checks if check["name"] == "evidence")
        assert f"150 labelled rows of {decision.evaluation['known_rows']}" in evidence["detail"]
        stored = ws.registry.load_json(version, f"gate/{decision.decision_id}/evidence.json")
        assert stored["evaluation"]["known_rows"] == decision.evaluation["known_rows"]

        # The baseline by group learns from the rows that were fitted on, and from no others.
        use_case = open_tiny(ws, folder.folder)
        frame = known_labels(ws, NAMESPACE, use_case.label_spine(), parse_as_of(AS_OF))
        learned = training_labels(ws, NAMESPACE, use_case.label_spine(), version)
        assert 0 < learned.num_rows < frame.rows.num_rows == 800
        assert set(learned.column("account").to_pylist()) < set(frame.rows.column("account").to_pylist())

        # Again gives the same rows, and thus the same version.
        run_tiny(ws, folder.folder, AS_OF, ["train"])
        again = ws.tables.to_arrow("dev.ops.stage_runs", at_most=1000, filters=[("stage", "=", "train")]).to_pylist()
        assert json.loads(again[-1]["details"])["version"] == 1


def test_a_training_on_all_rows_says_how_many_and_warns_of_nothing(gate_at: Any) -> None:
    ws = gate_at("trained")
    details = json.loads(
        ws.tables.to_arrow("dev.ops.stage_runs", at_most=1000, filters=[("stage", "=", "train")]).to_pylist()[-1][
            "details"
        ]
    )
    assert details["training_rows"] == details["known_rows"] > 300
    assert "notes" not in details

"""Folders with unusual names: a workspace works there, or says that it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import FeatureLookup, discovery, open_workspace
from mlplatform.errors import ConfigError
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.local.registry import LocalRegistry
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import NAME, first_of, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

MODEL = "dev.x.model"
# Each is a character that one of the engines, or what they are named by, takes for something else.
ODD = (
    *("with space", " leading", "trailing ", "ü", "u\u0308", "日本", "😀", 'a"b', "it's", "a`b", "a#b", "a+b", "a,b"),
    *("a{b}c", "{a,b}", "~", "~nobody", "a%b", "100%", "%", "a*", "a**b", "a?", "a&b", "a;b", "a$b", "$HOME", "${x}"),
    *("a:b", "http:", "s3:", "a@b", "a=b", "(a)", "a!b", "a<b>", "-a", ".a", "..a", "_a", "a.parquet", "x" * 200),
)
ALL_AT_ONCE = 'My "Pro#jects" {a,b} jörg u\u0308 it\'s 100% * ? & ; $HOME ~ 日本'
REFUSED = (
    "back\\slash",
    "a[1]",
    "a]",
    "a|b",
    "a^b",
    "a%20b",
    "a%5Bb",
    "new\nline",
    "tab\tb",
    "a\x01",
    "a\x7f",
    "_delta_log",
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """An engine for all folders: it takes longest to start."""
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("engine")) as ws:
        yield ws.spark


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a registry with a model, to be copied: making one takes seconds."""
    root = tmp_path_factory.mktemp("registry")
    with LocalWorkspace.open(root=root) as ws:
        client = ws.registry._connect()
        run = client.create_run(ws.registry.experiment("/dev/x"))
        ws.registry.ensure_model(MODEL)
        client.create_model_version(MODEL, run.info.artifact_uri, run.info.run_id)
        ws.registry.set_alias(MODEL, "champion", 1)
        ws.registry.log_files(ws.registry.get(MODEL, 1), "kept", {"a.json": '{"a": 1}'})
    return root / "mlflow"


def check_works(root: Path, spark: SparkSession | None, registry: Path) -> None:
    """Do all that a home's engines do in its folder: write, merge, replace, read, compute, compact, clean."""
    shutil.copytree(registry, root / "mlflow")
    with LocalWorkspace.open(root=root, spark=spark) as ws:
        assert ws.root == root
        ws.fe.create_table(name="dev.x.f", primary_keys="k", df=pa.table({"k": [1], "a": [1.0]}))
        ws.fe.write_table(name="dev.x.f", df=pa.table({"k": [1, 2], "a": [2.0, 3.0]}))
        lookup = FeatureLookup("dev.x.f", "id")
        training = ws.fe.create_training_set(df=pa.table({"id": [1, 2]}), feature_lookups=[lookup], label=None)
        assert training.to_arrow().column("a").to_pylist() == [2.0, 3.0]
        assert [row.a for row in training.load_df().orderBy("id").collect()] == [2.0, 3.0]
        # What Spark reads, computes and writes goes through files of the home in both directions.
        assert ws.tables.read("dev.x.f", version=0).count() == 0
        computed = ws.tables.read("dev.x.f").selectExpr("k + 2 AS k", "a")
        ws.tables.merge("dev.x.f", computed)
        assert ws.frames.count(ws.frames.read("dev.x.f", filters=[("k", ">", 2)])) == 2
        assert ws.frames.to_spark(ws.frames.read("dev.x.f")).count() == 4
        assert ws.tables.to_arrow("dev.x.f", at_most=9).sort_by("k").column("a").to_pylist() == [2.0, 3.0, 2.0, 3.0]
        ws.tables.overwrite("dev.x.f", pa.table({"k": [1], "a": [9.0]}))
        ws.tables.append("dev.x.f", pa.table({"k": [5], "a": [5.0]}))
        ws.maintenance.compact("dev.x.f")
        ws.maintenance.clean("dev.x.f", versions=(), days=0)
        ws.tables.create_latest_view("dev.x.v", of="dev.x.f", keys=["k"], order_by=["a"])
        assert ws.frames.count(ws.frames.read("dev.x.v")) == 2
        assert ws.tables.read("dev.x.v").count() == 2
        assert ws.registry.aliases(MODEL) == {"champion": 1}
        version = ws.registry.get(MODEL, 1)
        ws.registry.log_files(version, "kept", {"b.json": '{"b": 2}'})
        assert [ws.registry.load_json(version, f"kept/{name}.json") for name in "ab"] == [{"a": 1}, {"b": 2}]
    # All that there is lies where it belongs: nothing was written to a folder that the name was misread as.
    assert {path.name for path in root.iterdir()} <= {"mlflow", "tables", "tmp", "logs", ".locks", "functions.json"}


def test_a_workspace_works_in_a_folder_with_all_odd_characters(
    tmp_path: Path, spark: SparkSession, registry: Path
) -> None:
    check_works(tmp_path / ALL_AT_ONCE / ALL_AT_ONCE, spark, registry)
    assert [path.name for path in tmp_path.iterdir()] == [ALL_AT_ONCE]


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_a_workspace_works_in_a_folder_called_so(
    tmp_path: Path, name: str, spark: SparkSession, registry: Path
) -> None:
    check_works(tmp_path / name / "home", spark, registry)
    check_works(tmp_path / name / name, spark, registry)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a*", "a?", "{a,ab}"])
def test_of_a_home_whose_name_is_a_pattern_no_other_home_is_read(tmp_path: Path, name: str) -> None:
    with LocalWorkspace.open(root=tmp_path / name) as ws:
        ws.fe.create_table(name="dev.x.f", primary_keys="k", df=pa.table({"k": [1, 2], "a": [1.0, 2.0]}))
    # A copy has files of the same names.
    shutil.copytree(tmp_path / name, tmp_path / "ab")
    with LocalWorkspace.open(root=tmp_path / name) as ws:
        assert ws.frames.count(ws.frames.read("dev.x.f")) == 2
        ws.fe.write_table(name="dev.x.f", df=pa.table({"k": [2, 3], "a": [5.0, 6.0]}))
        assert ws.frames.count(ws.frames.read("dev.x.f")) == 3


def test_tables_are_found_again_in_a_very_long_path(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["long name " * 20] * 6)
    for _ in range(2):
        with open_workspace(root=root) as ws:
            if not ws.tables.exists("dev.x.f"):
                ws.fe.create_table(name="dev.x.f", primary_keys="k", df=pa.table({"k": [1], "a": [1.0]}))
            assert ws.frames.count(ws.frames.read("dev.x.f")) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_engines_misread_is_refused(tmp_path: Path, name: str) -> None:
    for read_only in (False, True):
        with pytest.raises(ConfigError, match="misreads") as caught:
            open_workspace(root=tmp_path / name / "home", read_only=read_only)
        # One line, whatever is in the name; and a way out.
        assert "\n" not in caught.value.message
        assert "--home" in caught.value.hint
    # A link to it is seen through.
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    with pytest.raises(ConfigError, match="misreads"):
        open_workspace(root=tmp_path / "link")
    assert not list((tmp_path / name).iterdir())


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\x80b"])
def test_a_path_that_is_no_text_is_refused(tmp_path: Path, name: bytes) -> None:
    import os

    with pytest.raises(ConfigError, match="not UTF-8"):
        open_workspace(root=tmp_path / os.fsdecode(name))


@pytest.mark.parametrize("name", ["~no_such_user_here/home", "null\x00byte"])
def test_what_cannot_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be kept in"):
        open_workspace(root=name)


def test_a_use_case_and_the_files_that_land_lie_in_any_folder(tmp_path: Path, spark: SparkSession) -> None:
    """Also in those that no home can be in: no engine reads there."""
    tiny = write_tiny_use_case(tmp_path / f"{ALL_AT_ONCE}:[1]^|" / "back\\slash", months=3, rows_a_month=20)
    with LocalWorkspace.open(root=tmp_path / ALL_AT_ONCE, spark=spark) as ws:
        use_case = discovery.opener(NAME, tiny.use_cases)(ws)
        Pipeline(ws, use_case, first_of("2020-04")).run(["ingest", "refine", "features"])
        assert ws.frames.count(ws.frames.read("dev.tiny.silver_signups")) == 60


def test_a_link_leads_to_the_folder_itself(tmp_path: Path, spark: SparkSession, registry: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "li nk").symlink_to(tmp_path / "real")
    with LocalWorkspace.open(root=tmp_path / "li nk") as ws:
        assert ws.root == tmp_path / "real"
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ConfigError, match="cannot be kept in"):
        open_workspace(root=tmp_path / "circle")


def test_a_plain_path_is_itself_and_another_one_is_linked_once(tmp_path: Path, monkeypatch: Any) -> None:
    assert plain_path(Path("/data/ml-platform_1.0/x")) == Path("/data/ml-platform_1.0/x")
    odd = tmp_path / "a b" / "c*"
    (odd / "d").mkdir(parents=True)
    (odd / "d" / "e").write_text("here", encoding="utf-8")
    linked = plain_path(odd / "d" / "e")
    assert linked.read_text(encoding="utf-8") == "here"
    assert plain_path(odd / "d") == linked.parent
    assert linked.parent.parent.is_symlink()
    assert linked.parent.parent.parent.stat().st_mode & 0o777 == 0o700
    # Also where temporary files have an odd place.
    other = tmp_path / "t m p"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))
    assert plain_path(other / "x").parent.resolve() == other


def test_the_registry_of_a_folder_with_a_question_mark_makes_no_other_folder(tmp_path: Path, registry: Path) -> None:
    shutil.copytree(registry, tmp_path / "a?b=c" / "mlflow")
    assert LocalRegistry(tmp_path / "a?b=c" / "mlflow").aliases(MODEL) == {"champion": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a?b=c"]

"""Keys of resources: what would stand twice in one bundle is refused, with both that want it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform.bundle.names import check_names
from mlplatform.cli.main import cli
from mlplatform.errors import ConfigError
from tests.unit.bundle.test_generate import project, run


@pytest.mark.parametrize("name", ["ops", "ops_files", "main_pipeline", "shared"])
def test_what_the_platform_needs_itself_is_reserved(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}': that is") as caught:
        check_names(["churn", name], {}, {})
    assert caught.value.hint


@pytest.mark.parametrize(
    "part",
    ["schema", "model", "experiment", "landing", "setup", "features", "train", "score", "monitor", "main_pipeline"],
)
def test_a_use_case_that_is_called_as_anothers_resource_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match=f"'a_{part}' belongs to the use case a and to the use case called a_{part}"):
        check_names([f"a_{part}", "a"], {}, {})


def test_names_that_only_look_alike_are_taken() -> None:
    check_names(["a", "ab", "a_b", "main", "model", "schema_a", "ops_report", "landing"], {"ops": "shared.yml"}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resources: {schemas: {upsell_model: {name: x}}}\n", "'upsell_model' belongs to resources/own.yml"),
        ("resources: {jobs: {upsell: {name: x}}}\n", "'upsell' belongs to resources/own.yml"),
        ("targets: {dev: {resources: {jobs: {upsell_train: {}}}}}\n", "'upsell_train' belongs to resources/own.yml"),
        ("scripts: {upsell_setup: {content: ls}}\n", "'upsell_setup' belongs to resources/own.yml"),
        ("resources: {jobs: {main_pipeline: {name: x}}}\n", "'main_pipeline' belongs to resources/own.yml"),
        ("variables: {upsell_notify: {default: x}}\n", "variable 'upsell_notify' belongs to resources/own.yml"),
    ],
)
def test_what_is_written_by_hand_is_not_made_a_second_time(tmp_path: Path, text: str, said: str) -> None:
    root = project(tmp_path)
    (root / "resources").mkdir()
    (root / "resources" / "own.yml").write_text(text)
    done = run("--project", root)
    assert isinstance(done.exception, ConfigError)
    assert said in done.exception.message
    assert [path.name for path in (root / "resources").iterdir()] == ["own.yml"], "nothing was written"


def test_what_the_generator_wrote_before_is_nobody_elses(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert run("--project", root).exit_code == 0
    assert run("--project", root).exit_code == 0


def test_two_use_cases_of_a_project_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = project(tmp_path)
    shutil.copytree(root / "use_cases" / "upsell", root / "use_cases" / "upsell_model")
    for named in ([], ["upsell"]):
        done = run(*named, "--project", root)
        assert isinstance(done.exception, ConfigError)
        assert "use case upsell and to the use case called upsell_model" in done.exception.message
    assert not (root / "resources").exists()


@pytest.mark.parametrize("name", ["ops", "upsell_train"])
def test_the_scaffold_writes_no_use_case_that_the_bundle_has_no_place_for(tmp_path: Path, name: str) -> None:
    root = project(tmp_path)
    (root / "data.csv").write_text("id,label\n1,0\n")
    options = ["--task", "classification", "--entity", "id", "--label", "label", "--from-csv", str(root / "data.csv")]
    where = ["--use-cases", str(root / "use_cases")]
    done = CliRunner().invoke(cli, ["new-use-case", name, *options, *where])
    assert isinstance(done.exception, ConfigError)
    assert name in done.exception.message
    assert not (root / "use_cases" / name).exists()

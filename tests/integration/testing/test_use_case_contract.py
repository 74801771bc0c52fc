"""The use-case contract passes for a use case in order, and names what is wrong with one that is not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column, FeatureFunction
from mlplatform.cli.main import cli
from mlplatform.errors import ContractError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.testing import Checked, Contract, UseCaseContract
from tests.support.tiny_use_case import RegionHistory, Subscriptions, Tiny, TinyFolder, TinyTrainer, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlplatform.workspace.local.workspace import LocalWorkspace

AS_OF = "2020-09-01"
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("use_cases"))


class SomeChecks(Contract):
    """Those of the contract that a test is about: each trains, or computes features several times."""

    only: ClassVar[tuple[str, ...]] = ()

    @property
    def checks(self) -> dict[str, Callable[[], str]]:
        """The checks that are asked for, or all."""
        return {name: check for name, check in super().checks.items() if name in self.only or not self.only}


@pytest.fixture
def check(ws: LocalWorkspace, folder: TinyFolder):
    def run(
        name: str, cls: type, where: Path | None = None, as_of: str | None = AS_OF, *, only: Sequence[str] = ()
    ) -> dict[str, Checked]:
        contract = type("Asked", (SomeChecks,), {"only": tuple(only)})(name, cls, where or folder.folder, ws, as_of)
        found = {item.check: item for item in contract.run()}
        assert set(found) >= set(only)
        return found

    return run


def test_a_use_case_in_order_passes_every_check(check):
    found = check("tiny_good", Tiny)
    assert {name: item.status for name, item in found.items()} == dict.fromkeys(
        ("config", "declarations", "keys", "leaks", "incremental", "training_set", "beats_trivial", "scoring"), "passed"
    ) | {"resources": "skipped"}
    assert "no databricks.yml" in found["resources"].detail
    assert "gain +0." in found["beats_trivial"].detail
    assert found["scoring"].detail == "288 predictions made again"  # of August, but for the 1st 00:00


class LeakyHistory(RegionHistory):
    """Counts the cancellations of a region over all time, at each day."""

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        days = super().compute(ws, as_of, since)
        total = days.groupBy("region").agg(F.max("region_cancellations").alias("total"))
        return days.join(total, on="region").select("region", "known_at", F.col("total").alias("region_cancellations"))


class Leaky(Tiny):
    features = (LeakyHistory,)


def test_a_leak_fails_and_the_other_checks_are_still_run(check):
    found = check("tiny_leaky", Leaky, only=["leaks", "scoring"])
    assert found["leaks"].status == "failed"
    assert "Feature table region leaks" in found["leaks"].detail
    assert found["leaks"].hint
    assert found["scoring"].status == "passed"


class TwiceSubscriptions(Subscriptions):
    """A row a subscription and cancellation, by a join that multiplies."""

    def spine(self, ws: Any) -> Any:
        rows = super().spine(ws)
        return rows.unionByName(rows.limit(5))


class WithoutComments(RegionHistory):
    columns = (*RegionHistory.columns[:2], Column("region_cancellations", "bigint", ""))
    inputs = ("silver_signups", "silver_cancelations")


class Untidy(Tiny):
    spine = TwiceSubscriptions
    features = (WithoutComments,)


def test_declarations_say_everything_that_is_wrong(check):
    found = check("tiny_untidy", Untidy)
    detail = found["declarations"].detail
    assert "WithoutComments has no docstring" in detail
    assert "WithoutComments.region_cancellations has no comment" in detail
    assert "WithoutComments.inputs names silver_cancelations" in detail
    assert found["keys"].status == "failed"


class Empty(TinyTrainer):
    def lookups(self) -> Any:

        lookup = self.lookup(RegionHistory, ["region_cancellations"], keys=["account"])
        return [lookup, *super().lookups()[1:]]


class Weak(Tiny):
    trainer = Empty


def test_a_lookup_that_finds_nothing_is_named(check):
    found = check("tiny_weak", Weak, only=["training_set"])
    assert found["training_set"].status == "failed"
    assert "region_cancellations: null in every row" in found["training_set"].detail


def dice(price: float | None) -> float | None:
    """Return the price and a random part."""
    return None if price is None else price + random.random()


DICE = FeatureFunctionSpec.of(dice)


class Gambler(TinyTrainer):
    def lookups(self) -> Any:
        region, _ = super().lookups()
        name = str(self.namespace.table("dice"))
        thrown = FeatureFunction(udf_name=name, input_bindings={"price": "price"}, output_name="price_a_seat")
        return [region, thrown]


class Random(Tiny):
    functions = (*Tiny.functions, DICE)
    trainer = Gambler


def test_a_prediction_that_comes_out_differently_is_counted(check):
    found = check("tiny_random", Random, only=["beats_trivial", "scoring"])
    assert found["scoring"].status == "failed"
    assert "288 come out differently" in found["scoring"].detail
    assert found["beats_trivial"].status == "passed"


class Forgetful(RegionHistory):
    """Counts only what is new, where it is asked to go on from a time."""

    def compute(self, ws: Any, as_of: Any, since: Any) -> Any:
        days = super().compute(ws, as_of, since)
        return days if since is None else days.withColumn("region_cancellations", F.lit(0).cast("bigint"))


class Stepwise(Tiny):
    features = (Forgetful,)


def test_features_that_differ_step_by_step_are_named(check):
    found = check("tiny_stepwise", Stepwise, only=["incremental"])
    assert found["incremental"].status == "failed"
    assert "region computed step by step" in found["incremental"].detail


def test_what_keeps_several_checks_from_being_looked_at_is_said_once(check, tmp_path):
    broken = write_tiny_use_case(tmp_path)
    for path in (broken.data / "signups").iterdir():
        path.write_text("nothing\n1\n")
    found = check("tiny_broken", Tiny, broken.folder)
    assert [name for name, item in found.items() if item.status == "failed"] == ["keys"]
    assert found["scoring"].status == "skipped"
    assert "what keys says comes first" in found["scoring"].detail


class Doubled(Tiny):
    spine = TwiceSubscriptions


def test_keys_that_stand_for_several_rows_are_shown(check):
    found = check("tiny_twice", Doubled)
    assert found["keys"].status == "failed"
    assert "account" in found["keys"].detail


def test_a_model_that_knows_nothing_fails(check, tmp_path):
    noise = write_tiny_use_case(tmp_path, seed=3)
    rng = np.random.default_rng(0)
    for path in sorted((noise.data / "signups").iterdir()):
        head, *lines = path.read_text().splitlines()
        rng.shuffle(lines)
        fields = [line.split(",") for line in lines]
        # Prices, regions and seats of other subscriptions: nothing about the label is left in them.
        facts = [row[2:] for row in fields]
        rng.shuffle(facts)
        rows = [",".join([*row[:2], *fact]) for row, fact in zip(fields, facts, strict=True)]
        path.write_text("\n".join([head, *rows]) + "\n")
    found = check("tiny_noise", Tiny, noise.folder, only=["beats_trivial"])
    assert found["beats_trivial"].status == "failed"
    assert "does not beat the trivial baseline" in found["beats_trivial"].detail


def test_a_wrong_section_of_another_environment_fails(check, tmp_path):
    wrong = write_tiny_use_case(tmp_path)
    config = wrong.folder / "config.yml"
    settings = yaml.safe_load(config.read_text()) | {"environments": {"prod": {"gate": {"flor": 0.7}}}}
    config.write_text(yaml.safe_dump(settings))
    found = check("tiny_config", Tiny, wrong.folder, only=["config"])
    assert found["config"].status == "failed"
    assert "gate.flor: unknown key. Did you mean floor" in found["config"].detail


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that deploys a bundle of one use case, called tiny."""
    write_tiny_use_case(tmp_path / "use_cases")
    (tmp_path / "databricks.yml").write_text("targets: {dev: {mode: development}, prod: {mode: production}}\n")
    (tmp_path / "uv.lock").write_text((PROJECT / "uv.lock").read_text())
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."mlplatform.use_cases"]\ntiny = "use_cases.tiny:Tiny"\n'
    )
    done = CliRunner().invoke(cli, ["bundle", "generate", "--project", str(tmp_path)])
    assert done.exit_code == 0, done.output
    return tmp_path


def test_resources_are_as_the_settings_make_them_and_the_jobs_find_the_use_case(project, ws):
    contract = Contract("tiny", Tiny, project / "use_cases" / "tiny", ws, AS_OF)
    assert "resources/tiny.yml is as" in contract.resources_are_consistent()
    made = project / "resources" / "tiny.yml"
    text = made.read_text()
    made.write_text(text.replace("max_concurrent_runs: 1", "max_concurrent_runs: 2", 1))
    with pytest.raises(ContractError, match=r"\+ +max_concurrent_runs: 1") as caught:
        contract.resources_are_consistent()
    assert caught.value.hint == "mlplatform bundle generate tiny"
    made.unlink()
    with pytest.raises(ContractError, match="is not as the settings make it"):
        contract.resources_are_consistent()
    made.write_text(text)
    (project / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(ContractError, match="does not name tiny") as caught:
        contract.resources_are_consistent()
    assert 'tiny = "use_cases.tiny:Tiny"' in caught.value.hint


def test_without_a_time_it_says_which_setting_gives_one(check):
    found = check("tiny_timeless", Tiny, as_of=None)
    assert found["keys"].status == "failed"
    assert "simulation.start" in found["keys"].hint


def test_the_class_of_tests_has_a_test_for_every_check(ws, folder):
    tests = [name for name in vars(UseCaseContract) if name.startswith("test_")]
    assert len(tests) == len(Contract("tiny", Tiny, folder.folder, ws).checks)

"""`config.yml`: wrong settings are refused, all at once, with the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlplatform.config import UseCaseSettings, load_settings
from mlplatform.errors import ConfigError

BASE = "owner: team@example.com\nlabel: {horizon: 36 months}\ngate: {floor: 0.6}\n"


@pytest.fixture
def load(tmp_path: Path):
    def write_and_load(text: str | bytes, env: str = "dev") -> UseCaseSettings:
        path = tmp_path / "config.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_settings(path, env)

    return write_and_load


def test_the_least_that_is_needed_gets_the_defaults(load):
    settings = load(BASE)
    assert (settings.owner, settings.label.horizon, settings.gate.floor) == ("team@example.com", "36 months", 0.6)
    assert (settings.task, settings.landing, settings.training.metric) == ("classification", "data", "roc_auc")


@pytest.mark.parametrize(
    ("lines", "path", "nearest"),
    [
        ("ownr: x\n", "ownr", "owner"),
        ("label: {horizn: 1 day}\n", "label.horizn", "horizon"),
        ("training: {hold_out: 0.2}\n", "training.hold_out", "holdout"),
        ("training: {search: {max_evalls: 3}}\n", "training.search.max_evalls", "max_evals"),
        ("monitoring: {max_pis: 0.2}\n", "monitoring.max_pis", "max_psi"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_key(load, lines, path, nearest):
    with pytest.raises(ConfigError) as caught:
        load(yaml.safe_dump(yaml.safe_load(BASE) | yaml.safe_load(lines)))
    assert f"{path}: unknown key. Did you mean {nearest}" in caught.value.message


def test_all_errors_are_listed_at_once(load):
    with pytest.raises(ConfigError) as caught:
        load("label: {horizon: soon}\ngate: {floor: high, draws: 3}\ntraining: {holdout: 1.5, sed: 1}\nscorng: {}\n")
    message = caught.value.message
    for place in ("owner", "label.horizon", "gate.floor", "gate.draws", "training.holdout", "training.sed", "scorng"):
        assert f"  {place}: " in message, place
    assert "7 wrong setting(s)" in message
    assert "owner: is required and missing" in message
    assert "'soon'" in message


@pytest.mark.parametrize(
    "wrong",
    [
        "training: {seed: 1.5}",
        "task: clustering",
        "owner: ''",
        "owner: '  '",
        "gate: {floor: 0.5, confidence: 1}",
        "gate: {floor: 0.5, margin: -0.1}",
        "gate: {floor: 0.5, margin: .nan}",
        "monitoring: {max_calibration_ratio: 1}",
        "monitoring: {cooldown: -1 day}",
        "training: {search: {max_evals: 0}}",
        "label: null",
    ],
)
def test_a_value_out_of_its_range_is_refused(load, wrong):
    with pytest.raises(ConfigError, match="wrong setting"):
        load(yaml.safe_dump(yaml.safe_load(BASE) | yaml.safe_load(wrong)))


def test_settings_cannot_be_changed_afterwards(load):
    with pytest.raises(ValueError, match="frozen"):
        load(BASE).gate.floor = 0.1


ENVIRONMENTS = (
    BASE
    + """
monitoring: {max_psi: 0.3, min_rows: 10}
environments:
  staging:
    monitoring: {max_psi: 0.1}
  prod:
    owner: oncall@example.com
    gate: {floor: 0.7}
  empty:
"""
)


def test_an_environment_is_laid_over_the_rest_key_by_key(load):
    dev, staging, prod = (load(ENVIRONMENTS, env) for env in ("dev", "staging", "prod"))
    assert (dev.monitoring.max_psi, staging.monitoring.max_psi, prod.monitoring.max_psi) == (0.3, 0.1, 0.3)
    assert staging.monitoring.min_rows == 10
    assert (dev.owner, prod.owner) == ("team@example.com", "oncall@example.com")
    assert (dev.gate.floor, prod.gate.floor) == (0.6, 0.7)


def test_an_environment_that_says_nothing_changes_nothing(load):
    assert load(ENVIRONMENTS, "empty") == load(ENVIRONMENTS, "dev") == load(ENVIRONMENTS, "unheard-of")


def test_an_unknown_key_in_an_environment_is_named_too(load):
    with pytest.raises(ConfigError, match=r"gate\.flor: unknown key\. Did you mean floor"):
        load(BASE + "environments: {prod: {gate: {flor: 0.7}}}\n", "prod")


def test_an_environment_that_is_no_mapping_is_refused_in_every_environment(load):
    for env in ("dev", "prod"):
        with pytest.raises(ConfigError, match=r"environments\.prod is not a mapping"):
            load(BASE + "environments: {prod: 0.7}\n", env)


@pytest.mark.parametrize("wrong", ["[dev]", "dev", "3"])
def test_environments_that_are_no_mapping_are_refused(load, wrong):
    with pytest.raises(ConfigError):
        load(BASE + f"environments: {wrong}\n")


@pytest.mark.parametrize("text", ["owner: [", "owner: a\n  b: c\n", "\t: x", "a: b: c"])
def test_bad_yaml_is_refused_with_the_place(load, text):
    with pytest.raises(ConfigError, match=r"(?s)not valid YAML.*line"):
        load(text)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just text", "null"])
def test_a_file_without_settings_is_refused(load, text):
    with pytest.raises(ConfigError, match="holds no settings"):
        load(text)


def test_yaml_cannot_make_objects(load):
    with pytest.raises(ConfigError):
        load(BASE + "description: !!python/object/apply:os.getcwd []\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent.config\.yml does not exist"):
        load_settings(tmp_path / "absent" / "config.yml", "dev")


def test_a_file_that_is_not_utf8_is_refused(load):
    with pytest.raises(ConfigError):
        load(BASE.encode() + "description: caf\xe9\n".encode("latin-1"))


def test_a_date_may_be_written_as_yaml_writes_dates(load):
    assert load(BASE + "training: {since: 2003-01-01}\n").training.since.startswith("2003-01-01")


@pytest.mark.parametrize("wrong", ["since: bogus", "metric: rocauc"])
def test_a_time_or_metric_that_is_none_is_refused_when_read(load, wrong):
    with pytest.raises(ConfigError):
        load(BASE + f"training: {{{wrong}}}\n")

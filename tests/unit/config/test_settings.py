"""`config.yml`: wrong settings are refused, all at once, with the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings, load_settings
from mlplatform.errors import ConfigError, UsageError

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
        "training: {search: {library: ray}}",
        "training: {search: {parallelism: 0}}",
        "training: {search: {pruning: true}}",
        "training: {calibrate: platt}",
        "{task: regression, training: {metric: mae, calibrate: sigmoid}}",
        "label: null",
    ],
)
def test_a_value_out_of_its_range_is_refused(load, wrong):
    with pytest.raises(ConfigError, match="wrong setting"):
        load(yaml.safe_dump(yaml.safe_load(BASE) | yaml.safe_load(wrong)))


@pytest.mark.parametrize(
    ("written", "packages"),
    [
        ("{}", ()),
        ("training: {search: {library: optuna}}", ("optuna",)),
        ("{jobs: {packages: [lifetimes, optuna]}, training: {search: {library: optuna}}}", ("lifetimes", "optuna")),
    ],
)
def test_the_jobs_need_the_library_of_the_search(load, written, packages):
    assert load(yaml.safe_dump(yaml.safe_load(BASE) | yaml.safe_load(written))).packages == packages


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
    assert load(ENVIRONMENTS, "empty") == load(ENVIRONMENTS, "dev")


@pytest.mark.parametrize("typo", ["prd", "Prod", "unheard-of", ""])
def test_an_environment_that_nobody_declared_is_refused_with_those_there_are(load, typo):
    with pytest.raises(UsageError, match="Known: dev, staging, prod, empty") as caught:
        load(ENVIRONMENTS, typo)
    assert repr(typo) in caught.value.message


def test_the_catalog_may_differ_by_environment(load):
    text = BASE + "catalog: risk\nenvironments: {prod: {catalog: risk-prod}, acceptance: }\n"
    catalogs = {env: load(text, env).catalog for env in ("dev", "prod", "acceptance")}
    assert catalogs == {"dev": "risk", "prod": "risk-prod", "acceptance": "risk"}
    assert load(BASE).catalog is None


@pytest.mark.parametrize("wrong", ["a.b", "''", "'x; DROP'", "3", "[a]"])
def test_a_catalog_that_is_no_name_is_refused(load, wrong):
    with pytest.raises(ConfigError, match="catalog: "):
        load(BASE + f"catalog: {wrong}\n")


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


def test_a_simulation_is_read_as_it_is_written(load):
    settings = load(BASE + "simulation: {start: 2006-01-01, end: '2012-01-01T06:00', every: 6 months}\n")
    assert settings.simulation.start == "2006-01-01T00:00:00+00:00"
    assert settings.simulation.end == "2012-01-01T06:00:00+00:00"
    assert settings.simulation.every == "6 months"
    assert load(BASE).simulation is None


def test_a_simulation_of_one_moment_is_one(load):
    simulation = load(BASE + "simulation: {start: 2006-01-01, end: 2006-01-01, every: hour}\n").simulation
    assert simulation.start == simulation.end


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{start: 2012-01-01, end: 2006-01-01, every: quarter}", "2006-01-01 lies before"),
        ("{start: 2006-01-02, end: '2006-01-02T00:00+01:00', every: day}", "lies before"),
        ("{start: 2006-01-01, end: 2012-01-01, every: now and then}", "'now and then' is not a duration"),
        ("{start: 2006-01-01, end: 2012-01-01, every: quarters}", "'quarters' is not a duration"),
        ("{start: 2006-01-01, end: 2012-01-01, every: 0 days}", "does not move the time on"),
        ("{start: 2006-01-01, end: 2012-01-01, every: -1 day}", "is not a duration"),
        ("{start: 2006-01-01, end: 2012-01-01, every: 3}", "simulation.every"),
        ("{start: '2006-13-01', end: 2012-01-01, every: day}", "'2006-13-01' is not a time"),
        ("{start: 2006, end: 2012-01-01, every: day}", "simulation.start"),
        ("{start: 2006-01-01, every: day}", "simulation.end: is required and missing"),
        (
            "{start: 2006-01-01, end: 2012-01-01, every: day, evry: day}",
            "simulation.evry: unknown key. Did you mean every",
        ),
        ("{}", "simulation.start: is required and missing"),
        ("often", "simulation: "),
    ],
)
def test_a_simulation_that_cannot_be_replayed_is_refused_when_read(load, section, says):
    with pytest.raises(ConfigError) as caught:
        load(BASE + f"simulation: {section}\n")
    assert says in caught.value.message


def test_an_environment_may_replay_something_else_or_nothing(load):
    text = BASE + "simulation: {start: 2006-01-01, end: 2012-01-01, every: year}\nenvironments:\n"
    text += "  prod: {simulation: null}\n  staging: {simulation: {end: 2007-01-01}}\n"
    assert load(text, "prod").simulation is None
    assert load(text, "staging").simulation.end.startswith("2007-01-01")


@pytest.mark.parametrize(("most", "least"), [(200, 500), (499, 500), (100, 101)])
def test_a_sample_smaller_than_the_least_that_is_trained_on_is_refused(load, most, least):
    with pytest.raises(ConfigError, match=r"training.max_rows is below training.min_rows"):
        load(BASE + f"training: {{max_rows: {most}, min_rows: {least}}}\n")


def test_a_sample_smaller_than_the_default_of_the_least_is_refused_too(load):
    with pytest.raises(ConfigError, match=r"training.max_rows is below training.min_rows"):
        load(BASE + "training: {max_rows: 400}\n")


@pytest.mark.parametrize("most", [500, 10**9, "null"])
def test_a_sample_as_large_as_the_least_will_do(load, most):
    assert load(BASE + f"training: {{max_rows: {most}, min_rows: 500}}\n").training.min_rows == 500


def test_a_training_is_bounded_whatever_is_left_out(load):
    assert load(BASE).training.max_rows == load(BASE + "training: {max_rows: null}\n").training.max_rows == 1_000_000
    assert load(BASE).gate.max_rows == 200_000
    # What was a valid file before there were bounds is one still.
    assert load(BASE + "training: {min_rows: 2000000}\n").training.max_rows == 2_000_000
    text = "owner: me\nlabel: {horizon: 1 day}\ngate: {floor: 0.6, min_rows: 300000}\n"
    assert load(text).gate.max_rows == 300_000


def test_evidence_smaller_than_the_least_that_is_decided_on_is_refused(load):
    text = "owner: me\nlabel: {horizon: 1 day}\ngate: {floor: 0.6, min_rows: 500, max_rows: 499}\n"
    with pytest.raises(ConfigError, match=r"gate.max_rows is below gate.min_rows"):
        load(text)
    assert load(text.replace("499", "500")).gate.max_rows == 500


@pytest.mark.parametrize("threshold", [15.0, 0.0, -3, "0"])
def test_an_event_is_for_regressions(load, threshold):
    text = f"owner: me\nlabel: {{horizon: 1 day, event_above: {threshold}}}\ngate: {{floor: 1}}\n"
    with pytest.raises(ConfigError, match=r"label.event_above is for regressions"):
        load(text)
    regression = load(text + "task: regression\ntraining: {metric: mae}\n")
    assert regression.label.event_above == float(threshold)


@pytest.mark.parametrize("threshold", [".nan", ".inf"])
def test_a_threshold_that_is_no_number_is_refused(load, threshold):
    with pytest.raises(ConfigError):
        load(
            f"owner: me\ntask: regression\ntraining: {{metric: mae}}\n"
            f"label: {{horizon: 1 day, event_above: {threshold}}}\ngate: {{floor: 1}}\n"
        )


@pytest.mark.parametrize("section", ["simulation: {start: 2006-02-30}", "training: {since: 2006-13-01}"])
def test_a_day_that_there_is_not_is_refused_with_our_error(load, section):
    with pytest.raises(ConfigError) as caught:
        load(BASE + section + "\n")
    assert "config.yml" in caught.value.message


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("training:\n  seed: yes\n", "training.seed: Value error, a number belongs here"),
        ("monitoring:\n  max_psi: on\n", "monitoring.max_psi: Value error, a number belongs here"),
        ("monitoring:\n  max_js: true\n", "monitoring.max_js: Value error, a number belongs here"),
        ("monitoring:\n  max_psi: .inf\n", "monitoring.max_psi: Input should be a finite number (got inf)"),
        ("monitoring:\n  performance_floor: nan\n", "monitoring.performance_floor: Input should be a finite number"),
        ("training:\n  min_rows: 1:30\n", "training.min_rows: "),
        (
            "training:\n  window: 30\n",
            "training.window: Value error, '30' is not a duration. Write a number",
        ),
        ("scoring:\n  every: 0 days\n", "scoring.every: Value error, every '0 days' does not move the time on"),
        ("scoring:\n  every: quarters\n", "scoring.every: Value error, 'quarters' is not a duration"),
        ("training:\n  metric: no\n", "training.metric: a text belongs here (got False): put it into quotes"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(load, lines, says):
    with pytest.raises(ConfigError) as caught:
        load(BASE + lines)
    assert says in caught.value.message
    assert caught.value.message.endswith("(line 5)")


def test_a_limit_in_an_environment_is_named_with_the_line_there(load):
    text = BASE + "monitoring: {max_psi: 0.2}\nenvironments:\n  prod:\n    monitoring: {max_psi: .nan}\n"
    assert load(text, "dev").monitoring.max_psi == 0.2
    with pytest.raises(ConfigError, match=r"monitoring\.max_psi: Input should be a finite number \(got nan\).*line 7"):
        load(text, "prod")


@pytest.mark.parametrize("name", ["on", "1", "2013-01-01", "null"])
def test_an_environment_whose_name_is_no_text_is_refused(load, name):
    with pytest.raises(ConfigError, match=r"line \d: environments\..* is no name"):
        load(BASE + f"environments:\n  {name}: {{}}\n")


@pytest.mark.parametrize(
    ("every", "months", "seconds"),
    [("quarter", 3, 0), ("Month", 1, 0), ("year", 12, 0), ("hour", 0, 3600), ("week", 0, 604_800), ("6 months", 6, 0)],
)
def test_scoring_takes_the_words_that_a_simulation_takes(load, every, months, seconds):
    found = load(
        BASE + f"scoring: {{every: {every}}}\nsimulation: {{start: 2006-01-01, end: 2007-01-01, every: {every}}}\n"
    )
    assert found.scoring.every == found.simulation.every == every
    assert Duration.parse(found.scoring.every) == Duration(months, seconds)

"""Every kind of wrong setting: one message that names file, key and line, and says the way out; exit code 2.

The number of kinds is part of what is promised; what a wrong file did before, stands in no case.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.cli.main import main
from mlplatform.config.settings import UseCaseSettings, load_settings
from mlplatform.errors import ConfigError

BASE = "owner: team@example.com\nlabel: {horizon: 36 months}\ngate: {floor: 0.6}\n"
HEAD = "owner: a\nlabel: {horizon: 1 day}\n"
REGRESSION = "owner: a\ntask: regression\nlabel: {horizon: 1 day}\ngate: {floor: 20}\ntraining: {metric: mae}\n"
SEVERAL = "owner: a\ntask: multiclass\nlabel: {horizon: 1 day, classes: [a, b, c]}\ngate: {floor: 2}\n"
LONG = "x" * 5000

# What is wrong -> (the file, the key that is named, its line, what is said). What stands after + follows BASE, what
# stands after = follows HEAD, and after ~ stands a horizon.
KINDS: dict[str, tuple[str, str, int, str]] = {
    # Numbers that are none
    "a floor of NaN": ("=gate: {floor: .nan}\n", "gate.floor", 3, "finite number"),
    "a floor that is the text NaN": (
        "=gate:\n  floor: nan\n",
        "gate.floor",
        4,
        "finite number",
    ),
    "a floor of infinity": ("=gate: {floor: -.inf}\n", "gate.floor", 3, "finite"),
    "a floor beyond all numbers": ("=gate: {floor: 1.0e+400}\n", "gate.floor", 3, "finite"),
    "a guard's floor of NaN": (
        "=gate:\n  floor: 0.6\n  guards:\n    - {metric: average_precision, floor: .nan}\n",
        "gate.guards.0.floor",
        5,
        "finite number",
    ),
    "a guard's loss of infinity": (
        "=gate:\n  floor: 0.6\n  guards: [{metric: brier, max_loss: .inf}]\n",
        "gate.guards.0.max_loss",
        5,
        "finite number",
    ),
    "a guard's event of NaN": (
        REGRESSION.replace("floor: 20", "floor: 20, guards: [{metric: roc_auc, floor: 0.5, event_above: .nan}]"),
        "gate.guards.0.event_above",
        4,
        "finite number",
    ),
    "a quantile that is not said": (
        "owner: a\ntask: quantile\nlabel: {horizon: 1 day}\ngate: {floor: 20}\n",
        "label.quantile",
        3,
        "label.quantile is missing",
    ),
    "a quantile of everything": (
        "owner: a\ntask: quantile\nlabel: {horizon: 1 day, quantile: 1}\ngate: {floor: 20}\n",
        "label.quantile",
        3,
        "less than 1",
    ),
    "a quantile of a mean": (
        REGRESSION.replace("1 day", "1 day, quantile: 0.9"),
        "label.quantile",
        3,
        "label.quantile is set, and means nothing for a regression",
    ),
    "a coverage of counts": (
        "owner: a\ntask: counts\nlabel: {horizon: 1 day}\ngate: {floor: 20, max_coverage_gap: 0.1}\n",
        "gate.max_coverage_gap",
        4,
        "gate.max_coverage_gap is set, and means nothing for a count",
    ),
    "classes that are not said": (SEVERAL.replace(", classes: [a, b, c]", ""), "label.classes", 3, "is missing"),
    "two classes": (SEVERAL.replace("[a, b, c]", "[a, b]"), "label.classes", 3, "the task is classification"),
    "a class twice": (SEVERAL.replace("[a, b, c]", "['1', 1, 2]"), "label.classes", 3, "1 twice"),
    "a class that YAML takes for a truth": (
        SEVERAL.replace("[a, b, c]", "[yes, no, later]"),
        "label.classes.0",
        3,
        "use quotes",
    ),
    "a class that is a broken number": (SEVERAL.replace("[a, b, c]", "[1, 2.5, 3]"), "label.classes.1", 3, "in quotes"),
    "a class with blanks around it": (
        SEVERAL.replace("[a, b, c]", "[a, b, ' c']"),
        "label.classes.2",
        3,
        "without spaces around it",
    ),
    "more classes than can be told apart": (
        SEVERAL.replace("[a, b, c]", f"[{', '.join(f'c{number}' for number in range(41))}]"),
        "label.classes",
        3,
        "40 are the most",
    ),
    "classes of two": (
        f"{HEAD.replace('1 day', '1 day, classes: [a, b, c]')}gate: {{floor: 1}}\n",
        "label.classes",
        2,
        "means nothing",
    ),
    "a slope of several classes": (
        SEVERAL.replace("floor: 2", "floor: 2, min_calibration_slope: 0.5"),
        "gate.min_calibration_slope",
        4,
        "means nothing",
    ),
    "several classes recalibrated": (
        f"{SEVERAL}recalibration: {{when: on_alarm}}\n",
        "recalibration.when",
        5,
        "has no odds of one event to move",
    ),
    "a metric of two classes": (f"{SEVERAL}training: {{metric: roc_auc}}\n", "training.metric", 5, "macro_roc_auc"),
    "a slice's loss of NaN": (
        "=gate: {floor: 0.6, slices: {columns: [a], max_loss: .nan}}\n",
        "gate.slices.max_loss",
        3,
        "finite number",
    ),
    "a margin of NaN": ("=gate: {floor: 1, margin: .nan}\n", "gate.margin", 3, "finite"),
    "a confidence of NaN": (
        "=gate: {floor: 1, confidence: .nan}\n",
        "gate.confidence",
        3,
        "finite",
    ),
    "a slope of NaN": (
        "=gate: {floor: 1, min_calibration_slope: .nan}\n",
        "gate.min_calibration_slope",
        3,
        "finite",
    ),
    "a Brier score of infinity": (
        "=gate: {floor: 1, max_brier: .inf}\n",
        "gate.max_brier",
        3,
        "finite",
    ),
    "a limit of drift of NaN": ("+monitoring:\n  max_psi: .nan\n", "monitoring.max_psi", 5, "finite number"),
    "a limit of drift of infinity": ("+monitoring: {max_js: .inf}\n", "monitoring.max_js", 4, "finite number"),
    "a rate of false alarms of NaN": (
        "+monitoring: {false_alarm_rate: .nan}\n",
        "monitoring.false_alarm_rate",
        4,
        "finite",
    ),
    "a floor of the monitor of NaN": (
        "+monitoring: {performance_floor: .nan}\n",
        "monitoring.performance_floor",
        4,
        "finite",
    ),
    "a match rate of NaN": ("+monitoring: {min_match_rate: .nan}\n", "monitoring.min_match_rate", 4, "finite"),
    "a share to hold out of NaN": ("+training: {holdout: .nan}\n", "training.holdout", 4, "finite"),
    "a timeout of NaN": (
        "+training: {search: {timeout_seconds: .nan}}\n",
        "training.search.timeout_seconds",
        4,
        "finite",
    ),
    "an event of NaN": (
        REGRESSION.replace("label: {horizon: 1 day}", "label: {horizon: 1 day, event_above: .nan}"),
        "label.event_above",
        3,
        "finite",
    ),
    # Numbers out of their range, or of another kind
    "a share above one": ("+training: {holdout: 1.5}\n", "training.holdout", 4, "less than 1"),
    "half a row": ("+training: {min_rows: 100.5}\n", "training.min_rows", 4, "integer"),
    "a negative seed": ("+training: {seed: -1}\n", "training.seed", 4, "greater than or equal to 0"),
    "a seed of 65 bits": ("+training: {seed: 36893488147419103232}\n", "training.seed", 4, "less than 4294967296"),
    "more rows than an engine counts": ("+monitoring: {max_rows: 3000000000}\n", "monitoring.max_rows", 4, "less than"),
    "a number of thousands of digits": (
        "+training: {min_rows: 0x" + "f" * 5000 + "}\n",
        "training.min_rows",
        4,
        "20,000 bits",
    ),
    "a floor of thousands of digits": (
        "=gate: {floor: 0x" + "f" * 5000 + "}\n",
        "gate.floor",
        3,
        "20,000 bits",
    ),
    "a million draws": ("=gate: {floor: 1, draws: 1000000}\n", "gate.draws", 3, "less than"),
    "days beyond the calendar": ("+maintenance: {keep_days: 999999999}\n", "maintenance.keep_days", 4, "less than"),
    "windows without end": ("+monitoring: {of_windows: 100000}\n", "monitoring.of_windows", 4, "less than"),
    "a job of a year": ("+jobs: {timeout_minutes: 525600}\n", "jobs.timeout_minutes", 4, "less than"),
    "yes for a number": ("+monitoring: {max_psi: yes}\n", "monitoring.max_psi", 4, "a number belongs here"),
    "a decimal comma": ('+monitoring: {max_psi: "0,25"}\n', "monitoring.max_psi", 4, "valid number"),
    "a number with a unit": ("+monitoring: {max_psi: 25%}\n", "monitoring.max_psi", 4, "valid number"),
    "a list for a number": ("+monitoring: {max_psi: [0.25]}\n", "monitoring.max_psi", 4, "valid number"),
    "a sample below the least": (
        "+training: {min_rows: 500, max_rows: 200}\n",
        "training.max_rows",
        4,
        "below training.min_rows",
    ),
    # Times and durations
    "a horizon of zero": ("~0 days", "label.horizon", 2, "above zero"),
    "a horizon of 10^21 months": (
        "~1000000000000000000000 months",
        "label.horizon",
        2,
        "1,000 years",
    ),
    "a horizon of 5,000 digits": (
        "~" + "9" * 4000 + " months",
        "label.horizon",
        2,
        "not a duration",
    ),
    "a horizon that is a number": ("~30", "label.horizon", 2, "not a duration"),
    "a horizon in other digits": ("~٣ months", "label.horizon", 2, "not a duration"),
    "a negative horizon": ("~-3 months", "label.horizon", 2, "not a duration"),
    "a horizon that is a list": ("~[1 day]", "label.horizon", 2, "not a duration"),
    "a window of nothing": ("+monitoring: {window: 0 hours}\n", "monitoring.window", 4, "above zero"),
    "a window of training of nothing": ("+training: {window: 0 months}\n", "training.window", 4, "above zero"),
    "scoring without end": ("+scoring: {every: 0 days}\n", "scoring.every", 4, "above zero"),
    "a time of day for a duration": ("+scoring: {every: 12:00:00}\n", "scoring.every", 4, "not a duration"),
    "a simulation until the year 9999": (
        "+simulation: {start: 2020-01-01, end: 9999-12-31, every: year}\n",
        "simulation.end",
        4,
        "not plausible",
    ),
    "a simulation from the year 1": (
        "+simulation: {start: 0001-01-01, end: 2020-01-01, every: year}\n",
        "simulation.start",
        4,
        "not plausible",
    ),
    "a simulation by another calendar": (
        "+simulation: {start: 1445-06-01, end: 2020-01-01, every: year}\n",
        "simulation.start",
        4,
        "not plausible",
    ),
    "a simulation of 87 million steps": (
        "+simulation: {start: 1950-01-01, end: 2115-01-01, every: 1 minute}\n",
        "simulation",
        4,
        "steps",
    ),
    "a year 0": ("+training: {since: '0000-01-01'}\n", "training.since", 4, "not a time"),
    "a month 13": ("+training: {since: '2006-13-01'}\n", "training.since", 4, "not a time"),
    # Texts
    "an owner of nothing": ("owner: ' '\nlabel: {horizon: 1 day}\ngate: {floor: 1}\n", "owner", 1, "at least 1"),
    "a text of 5,000 signs": (f"+description: {LONG}\n", "description", 4, "at most 4000"),
    "no for a text": ("+landing: no\n", "landing", 4, "put it into quotes"),
    "a date for a text": ("+description: 2020-01-01\n", "description", 4, "put it into quotes"),
    "a catalog with SQL in it": ('+catalog: "x\'; DROP TABLE y"\n', "catalog", 4, "not a valid catalog"),
    "a catalog of 5,000 signs": ("+catalog: " + "c" * 3999 + "\n", "catalog", 4, "not a valid catalog"),
    "a webhook's URL": (
        "+monitoring: {alerts: {webhook: {secret: 'https://hooks.example/T0/B0'}}}\n",
        "monitoring.alerts.webhook.secret",
        4,
        "scope/key",
    ),
    # Names of things
    "a metric of none": ("+training: {metric: rocauc}\n", "training.metric", 4, "Did you mean roc_auc"),
    "a regression's metric": ("+training: {metric: mae}\n", "training.metric", 4, "no metric of a classification"),
    "a task of none": (
        "+task: clustering\n",
        "task",
        4,
        "'classification', 'multiclass', 'regression', 'quantile' or 'counts'",
    ),
    "a guard that limits nothing": (
        "=gate: {floor: 1, guards: [{metric: brier}]}\n",
        "gate.guards.0",
        3,
        "limits nothing",
    ),
    "a guard given twice": (
        "=gate:\n  floor: 1\n  guards: [{metric: brier, floor: 1}, {metric: brier, floor: 1}]\n",
        "gate.guards",
        5,
        "the same guard twice",
    ),
    "slices of nothing": (
        "=gate: {floor: 1, slices: {columns: []}}\n",
        "gate.slices.columns",
        3,
        "at least 1",
    ),
    "a time zone of none": ("+jobs: {timezone: Mars/Olympus}\n", "jobs.timezone", 4, "no time zone"),
    "a time zone that is a folder": ("+jobs: {timezone: Europe}\n", "jobs.timezone", 4, "no time zone"),
    "a time zone outside": ("+jobs: {timezone: ../../etc/passwd}\n", "jobs.timezone", 4, "no time zone"),
    "a time zone of 3,000 signs": ("+jobs: {timezone: " + "z" * 3000 + "}\n", "jobs.timezone", 4, "no time zone"),
    "a cron of Unix": ("+jobs: {schedules: {score: '0 5 * * *'}}\n", "jobs.schedules.score", 4, "6 or 7"),
    "a cron in other digits": ("+jobs: {schedules: {score: '0 ٣٠ 5 * * ?'}}\n", "jobs.schedules.score", 4, "is no"),
    "a cron of 5,000 digits": (
        "+jobs: {schedules: {score: '0 " + "9" * 3900 + " 5 * * ?'}}\n",
        "jobs.schedules.score",
        4,
        "is no",
    ),
    "an address that is none": ("+jobs: {notify: [nobody]}\n", "jobs.notify.0", 4, "no e-mail"),
    "a package with a version": ("+jobs: {packages: ['lightgbm==4']}\n", "jobs.packages.0", 4, "no package's name"),
    # Keys
    "an unknown key": ("+monitoring:\n  max_pis: 0.2\n", "monitoring.max_pis", 5, "Did you mean max_psi"),
    "an unknown key with a line's end": ('+"ow\\nner": x\n', "'ow\\nner'", 4, "unknown key"),
    "an unknown key of 5,000 signs": (f"+? {LONG}\n: x\n", "5,000 characters", 4, "unknown key"),
    "a key that is no text": ("+1: x\n", "1", 4, "strings"),
    "a section of nothing": ("owner: a\nlabel:\ngate: {floor: 1}\n", "label", 2, "valid dictionary"),
    "a section that is a list": ("+monitoring: [max_psi]\n", "monitoring", 4, "valid dictionary"),
    "a section that is a text": ("+scoring: often\n", "scoring", 4, "valid dictionary"),
    "a key given twice": ("+training:\n  seed: 1\n  seed: 2\n", "seed", 6, "stands on line 5 already"),
    "a section given twice": ("+gate: {draws: 200}\n", "gate", 4, "stands on line 3 already"),
    "environments that are a list": ("+environments: [prod]\n", "environments", 4, "not a mapping"),
    "an environment that is a number": ("+environments:\n  1: {}\n", "environments.1", 5, "is no name"),
    # The file
    "nothing": ("", "", 1, "is empty"),
    "a list": ("- owner: a\n", "", 1, "is a list"),
    "a tab": ("owner: a\nlabel:\n\thorizon: 1 day\n", "", 3, "not valid YAML"),
    "a bracket that is never closed": ("owner: [a\nlabel: x\n", "", 2, "not valid YAML"),
    "20,000 brackets": ("+landing: " + "[" * 20_000 + "]" * 20_000 + "\n", "", 4, "levels in one another"),
    "20,000 braces": ("+landing: " + "{a: " * 20_000 + "}" * 20_000 + "\n", "", 4, "levels in one another"),
    "an alias of itself": ("+landing: &x [*x]\n", "", 4, "holds itself"),
    "an object of Python": ("+description: !!python/object/apply:os.getcwd []\n", "", 4, "not valid YAML"),
    "a NUL": ("+description: a\0b\n", "", 4, "U+0000"),
    "5 MB of text": ("+description: " + "x" * 5_000_000 + "\n", "", 4, "5,000,085 bytes"),
    "two documents": ("+---\nowner: b\n", "", 4, "not valid YAML"),
    "a day that there is not": ("+training: {since: 2013-02-31}\n", "", 4, "is no timestamp"),
}


def written(text: str, folder: Path) -> Path:
    use_case = folder / "use_cases" / "tiny"
    use_case.mkdir(parents=True)
    (use_case / "__init__.py").touch()
    path = use_case / "config.yml"
    path.write_text(whole(text), encoding="utf-8")
    return path


def whole(text: str) -> str:
    first, rest = text[:1], text[1:]
    if first == "~":
        return f"owner: a\nlabel: {{horizon: {rest}}}\ngate: {{floor: 1}}\n"
    return {"+": BASE + rest, "=": HEAD + rest}.get(first, text)


def test_there_are_as_many_kinds_as_promised() -> None:
    assert len(KINDS) >= 90


@pytest.mark.parametrize(("text", "key", "line", "says"), [pytest.param(*it, id=name) for name, it in KINDS.items()])
def test_a_wrong_setting_is_named_with_file_key_and_line_and_the_way_out(
    text: str, key: str, line: int, says: str, tmp_path: Path
) -> None:
    path = written(text, tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, "dev")
    message = caught.value.message
    assert str(path) in message
    assert key in message
    assert f"line {line}" in message
    assert says in message
    assert caught.value.hint
    assert len(message) < 1500 + len(str(path)), "a message is read"


@pytest.mark.parametrize("text", [it[0] for it in KINDS.values()], ids=list(KINDS))
def test_on_the_command_line_it_is_wrong_use_and_no_traceback(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(text, tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["config", "show", "tiny", "--use-cases", str(tmp_path / "use_cases")])
    said = capsys.readouterr()
    assert left.value.code == 2
    assert not said.out
    assert said.err.startswith("Error: ")
    assert str(path) in said.err
    assert "\nHint:  " in said.err
    assert "Traceback" not in said.err


def test_many_wrong_settings_are_listed_up_to_a_number(tmp_path: Path) -> None:
    text = "+" + "".join(f"unknown_{number}: 1\n" for number in range(3000))
    with pytest.raises(ConfigError) as caught:
        load_settings(written(text, tmp_path), "dev")
    assert "3000 wrong setting(s)" in caught.value.message
    assert "and 2,950 more" in caught.value.message
    assert len(caught.value.message.splitlines()) == 52


def test_the_url_of_a_webhook_that_was_written_in_place_of_its_reference_is_not_repeated(tmp_path: Path) -> None:
    url = "https://hooks.example/T0/very-secret"
    text = f"+monitoring: {{alerts: {{webhook: {{secret: '{url}'}}}}}}\n"
    with pytest.raises(ConfigError) as caught:
        load_settings(written(text, tmp_path), "dev")
    assert "very-secret" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("gate", "floor", float("nan")),
        ("gate", "margin", float("inf")),
        ("gate", "guards", ({"metric": "brier", "floor": float("nan")},)),
        ("gate", "slices", {"columns": ("a",), "max_loss": float("nan")}),
        ("monitoring", "max_psi", float("nan")),
        ("monitoring", "performance_floor", float("-inf")),
        ("training", "holdout", float("nan")),
    ],
)
def test_settings_made_in_python_are_refused_too(section: str, name: str, value: object) -> None:
    settings = {"owner": "a", "label": {"horizon": "1 day"}, "gate": {"floor": 0.6}}
    wrong = settings | {section: {**settings.get(section, {}), name: value}}
    with pytest.raises(ValueError, match="finite number"):
        UseCaseSettings.model_validate(wrong)

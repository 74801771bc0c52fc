"""The section `jobs` of `config.yml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.config.origins import json_schema
from mlplatform.config.settings import UseCaseSettings, load_settings
from mlplatform.errors import ConfigError

BASE = "owner: team@example.com\nlabel: {horizon: 36 months}\ngate: {floor: 0.6}\n"


@pytest.fixture
def load(tmp_path: Path):
    def write_and_load(jobs: str) -> UseCaseSettings:
        path = tmp_path / "config.yml"
        path.write_text(f"{BASE}jobs: {jobs}\n")
        return load_settings(path, "dev")

    return write_and_load


def test_without_it_nothing_runs_by_itself_and_runs_end(load):
    jobs = load("{}").jobs
    assert not any(jobs.schedules.model_dump().values())
    assert (jobs.timezone, jobs.timeout_minutes, jobs.retries, jobs.notify) == ("UTC", 120, 1, ())


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("{schedules: {score: '0 6 * * *'}}", r"jobs\.schedules\.score: .*5 fields"),
        ("{schedules: {scores: '0 0 6 * * ?'}}", "Did you mean score"),
        ("{timezone: Mars/Olympus}", "no time zone"),
        ("{timezone: ../../etc/passwd}", "no time zone"),
        ("{notify: [somebody]}", "no e-mail address"),
        ("{packages: [lifetimes==0.11.3]}", "leave versions out"),
        ("{packages: ['-r x']}", "no package's name"),
        ("{performance_target: FAST}", "PERFORMANCE_OPTIMIZED"),
        ("{budget_policy_id: ours}", "no id of a usage policy"),
        ("{budget_policy_id: ''}", "no id of a usage policy"),
        ("{timeout_minutes: 30}", "must be below timeout_minutes"),
        ("{retries: -1}", "jobs.retries"),
    ],
)
def test_what_would_fail_at_the_deployment_is_refused_here(load, jobs, said):
    with pytest.raises(ConfigError, match=said):
        load(jobs)


def test_every_setting_is_in_the_schema_with_its_meaning():
    definitions = json_schema()["$defs"]
    for name in ("JobSettings", "ScheduleSettings"):
        described = {key: item.get("description") for key, item in definitions[name]["properties"].items()}
        assert all(text for key, text in described.items() if key != "schedules"), described

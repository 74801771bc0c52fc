"""A setting under its old name is read, means what the new name means, and a warning says what to write instead."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mlplatform.config.origins import json_schema, sources
from mlplatform.config.renamed import RENAMED, RenamedSettingWarning
from mlplatform.config.settings import UseCaseSettings, load_settings

BASE = "owner: x\nlabel: {horizon: 1 day}\n"
PROJECT = Path(__file__).resolve().parents[3]


def loaded(folder: Path, text: str, env: str = "prod") -> tuple[UseCaseSettings, list[str]]:
    config = folder / "config.yml"
    config.write_text(BASE + text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = load_settings(config, env)
    assert all(item.category is RenamedSettingWarning for item in caught)
    return settings, [str(item.message).removeprefix(f"{config} ") for item in caught]


@pytest.mark.parametrize(
    ("text", "gate", "monitor", "warned"),
    [
        ("gate: {floor: 0.6}\n", None, 0.1, ""),
        ("gate: {floor: 0.6}\nmonitoring: {max_null_increase: 0.2}\n", 0.2, 0.2, ""),
        (
            "gate: {floor: 0.6, features: {max_null_increase: 0.3}}\n",
            0.3,
            0.3,
            (
                "line 3: gate.features.max_null_increase is called monitoring.max_null_increase now. "
                "It is read under its old name for now: rename it."
            ),
        ),
        (
            "gate:\n  floor: 0.6\n  features: {max_null_increase: 0.3}\nmonitoring: {max_null_increase: 0.2}\n",
            0.2,
            0.2,
            (
                "line 5: gate.features.max_null_increase is called monitoring.max_null_increase now, which stands in "
                "line 6. The new one counts, and the gate goes by the stricter of both. Remove the old key."
            ),
        ),
        (
            "gate: {floor: 0.6}\nenvironments: {prod: {gate: {features: {max_null_increase: 0.4}}}}\n",
            0.4,
            0.4,
            (
                "line 4: environments.prod.gate.features.max_null_increase is called "
                "environments.prod.monitoring.max_null_increase now. It is read under its old name for now: rename it."
            ),
        ),
    ],
)
def test_monitor_and_gate_go_by_one_limit(
    text: str, gate: float | None, monitor: float, warned: str, tmp_path: Path
) -> None:
    settings, messages = loaded(tmp_path, text)
    assert (settings.gate.features.max_null_increase, settings.monitoring.max_null_increase) == (gate, monitor)
    assert messages == ([warned] if warned else [])


def test_another_environment_s_old_name_is_not_this_one_s(tmp_path: Path) -> None:
    text = "gate: {floor: 0.6}\nenvironments: {prod: {gate: {features: {max_null_increase: 0.4}}}}\n"
    settings, messages = loaded(tmp_path, text, env="dev")
    assert (settings.gate.features.max_null_increase, messages) == (None, [])


def test_what_a_decision_is_known_by_stays_where_nothing_was_renamed(tmp_path: Path) -> None:
    """The gate's settings are part of a decision's id: an open one is found again by the code that renamed the key."""
    old, _ = loaded(tmp_path, "gate: {floor: 0.6, features: {max_null_increase: 0.3}}\n")
    new, _ = loaded(tmp_path, "gate: {floor: 0.6}\nmonitoring: {max_null_increase: 0.3}\n")
    assert old.gate.model_dump_json() == new.gate.model_dump_json()
    assert '"features":{"max_null_increase":0.3,"max_age":null}' in new.gate.model_dump_json()


def test_only_the_new_name_is_shown_with_where_its_value_came_from(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    for text, origin in (
        ("gate: {floor: 0.6}\n", "default"),
        ("gate: {floor: 0.6}\nmonitoring: {max_null_increase: 0.3}\n", "config.yml line 4"),
    ):
        config.write_text(BASE + text)
        shown = {item.key: item.origin for item in sources(config, "prod")}
        assert shown["monitoring.max_null_increase"] == origin
        assert not {".".join(key) for key in RENAMED} & set(shown)
    config.write_text(f"{BASE}gate: {{floor: 0.6, features: {{max_null_increase: 0.3}}}}\n")
    with pytest.warns(RenamedSettingWarning):
        shown = {item.key: item.origin for item in sources(config, "prod")}
    assert shown["monitoring.max_null_increase"] == "gate.features.max_null_increase, config.yml line 3"


def test_editors_strike_the_old_name_out() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["FeatureLimits"]["properties"]["max_null_increase"]["deprecated"]
    assert "deprecated" not in definitions["MonitoringSettings"]["properties"]["max_null_increase"]


def test_the_command_line_says_it_once_and_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "alpha"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "config.yml").write_text(f"{BASE}gate: {{floor: 0.6, features: {{max_null_increase: 0.3}}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "--use-cases", tmp_path, "config", "show", "alpha"],
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == (
        f"Warning: {folder / 'config.yml'} line 3: gate.features.max_null_increase is called "
        "monitoring.max_null_increase now. It is read under its old name for now: rename it.\n"
    )


def test_an_environment_s_old_name_lies_over_the_new_name_of_the_rest(tmp_path: Path) -> None:
    text = (
        "gate: {floor: 0.6}\nmonitoring: {max_null_increase: 0.05}\n"
        "environments: {prod: {gate: {features: {max_null_increase: 0.4}}}}\n"
    )
    settings, (message,) = loaded(tmp_path, text)
    assert (settings.gate.features.max_null_increase, settings.monitoring.max_null_increase) == (0.4, 0.4)
    assert "It is read under its old name for now" in message
    settings, messages = loaded(tmp_path, text, env="dev")
    assert (settings.gate.features.max_null_increase, messages) == (0.05, [])


def test_written_under_both_names_the_gate_is_never_laxer_than_it_was(tmp_path: Path) -> None:
    text = "gate: {floor: 0.6, features: {max_null_increase: 0.05}}\nmonitoring: {max_null_increase: 0.3}\n"
    settings, _ = loaded(tmp_path, text)
    assert (settings.gate.features.max_null_increase, settings.monitoring.max_null_increase) == (0.05, 0.3)


def test_a_section_without_content_takes_the_new_name(tmp_path: Path) -> None:
    text = "gate: {floor: 0.6, features: {max_null_increase: 0.3}}\nmonitoring:\n"
    settings, _ = loaded(tmp_path, text)
    assert settings.monitoring.max_null_increase == 0.3

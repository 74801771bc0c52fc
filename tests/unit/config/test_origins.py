"""Where each setting came from; the JSON schema; and the commands that print them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.config.origins import json_schema, sources
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[3]
CONFIG = """\
owner: team@example.com
label: {horizon: 1 day}
gate:
  floor: 0.6
  slices: {columns: [state, sector]}
monitoring:
  alerts:
    webhook: {secret: alerts/slack}
environments:
  prod:
    gate:
      floor: 0.7
    scoring: {every: 1 day}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "use_cases" / "tiny" / "config.yml"
    made.parent.mkdir(parents=True)
    made.write_text(CONFIG)
    (made.parent / "__init__.py").touch()
    return made


def found(path: Path, env: str) -> dict[str, tuple[object, str]]:
    return {item.key: (item.value, item.origin) for item in sources(path, env)}


def test_each_value_says_where_it_came_from(path):
    dev, prod = found(path, "dev"), found(path, "prod")
    assert dev["gate.floor"] == (0.6, "config.yml line 4")
    assert prod["gate.floor"] == (0.7, "config.yml line 12 (environments.prod)")
    assert dev["scoring.every"] == ("1 month", "default")
    assert prod["scoring.every"] == ("1 day", "config.yml line 13 (environments.prod)")
    assert dev["gate.slices.columns"] == (["state", "sector"], "config.yml line 5")
    assert dev["gate.slices.min_rows"] == (100, "default")
    assert prod["owner"] == ("team@example.com", "config.yml line 1")


def test_the_catalog_says_where_it_came_from(path):
    assert found(path, "prod")["catalog"] == ("prod", "default (the environment's name)")
    path.write_text(CONFIG + "    catalog: main\ncatalog: sandbox\n")
    assert found(path, "dev")["catalog"] == ("sandbox", "config.yml line 15")
    assert found(path, "prod")["catalog"] == ("main", "config.yml line 14 (environments.prod)")
    command = ["config", "show", "tiny", "--use-cases", str(path.parents[1]), "--json"]
    for said, given in ((["--catalog", "told"], {}), ([], {"MLPLATFORM_CATALOG": "told"})):
        shown = json.loads(CliRunner().invoke(cli, [*command, *said], env=given, catch_exceptions=False).output)
        (row,) = [row for row in shown["settings"] if row["key"] == "catalog"]
        assert (row["value"], row["origin"]) == ("told", "--catalog, or MLPLATFORM_CATALOG")


def test_every_setting_is_listed_once(path):
    keys = [item.key for item in sources(path, "dev")]
    assert len(keys) == len(set(keys))
    assert {key.split(".")[0] for key in keys} == set(UseCaseSettings.model_fields)


def test_what_is_merged_in_has_the_line_of_its_anchor(path):
    path.write_text(
        "owner: a\nlabel: {horizon: 1 day}\ngate: &limits\n  floor: 0.6\n  draws: 200\n"
        "environments:\n  prod:\n    gate:\n      draws: 300\n      <<: *limits\n"
    )
    prod = found(path, "prod")
    assert prod["gate.floor"] == (0.6, "config.yml line 4 (environments.prod)")
    assert prod["gate.draws"] == (300, "config.yml line 9 (environments.prod)")


def test_a_secret_is_a_reference_and_marked(path):
    (secret,) = [item for item in sources(path, "dev") if item.secret]
    assert (secret.key, secret.value) == ("monitoring.alerts.webhook.secret", "alerts/slack")
    path.write_text(CONFIG.replace("alerts/slack", "https://hooks.example.com/T0/B0/x"))
    with pytest.raises(ConfigError) as caught:
        sources(path, "dev")
    assert "hooks.example.com" not in str(caught.value)


def test_show_prints_values_and_origins(path):
    command = ["config", "show", "tiny", "--use-cases", str(path.parents[1])]
    shown = CliRunner().invoke(cli, [*command, "--env", "prod"], catch_exceptions=False)
    assert shown.exit_code == 0
    row = next(line for line in shown.output.splitlines() if "gate.floor" in line)
    assert "0.7" in row
    assert "line 12 (environments.prod)" in row
    assert "secret alerts/slack" in shown.output
    as_json = json.loads(CliRunner().invoke(cli, [*command, "--json"]).output)
    assert as_json["env"] == "dev"
    assert {"key": "gate.floor", "value": 0.6, "origin": "config.yml line 4", "secret": False} in as_json["settings"]


def fits(schema: dict, value: object, whole: dict) -> bool:
    """Whether a value fits, by the few words that our schema is made of."""
    if "$ref" in schema:
        return fits(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, whole)
    if "anyOf" in schema:
        return any(fits(option, value, whole) for option in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    if not isinstance(value, types.get(schema.get("type"), object)):
        return False
    if isinstance(value, dict):
        extra = schema.get("additionalProperties", True)
        known = schema.get("properties", {})
        inner = [fits(known.get(key, extra if isinstance(extra, dict) else {}), it, whole) for key, it in value.items()]
        closed = extra is False and set(value) - set(known)
        return all(inner) and not closed and set(schema.get("required", ())) <= set(value)
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    return all(fits(schema.get("items", {}), item, whole) for item in value) if isinstance(value, list) else True


def load(text: str) -> object:
    """As an editor reads it: a date is text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.mark.parametrize("name", ["credit_risk", "delivery_delay", "churn"])
def test_the_schema_takes_the_settings_of_the_use_cases(name):
    schema = json_schema()
    settings = load((PROJECT / "use_cases" / name / "config.yml").read_text())
    assert fits(schema, settings, schema)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("floor: 0.6", "flor: 0.6"),
        ("floor: 0.6", "floor: high"),
        ("owner: team@example.com\n", ""),
        ("horizon: 1 day", "horizon: 1"),
        ("floor: 0.7", "flor: 0.7"),
        ("alerts/slack", "https://hooks.example.com/T0/B0/x"),
        ("every: 1 day", "every: [1]"),
    ],
)
def test_the_schema_refuses_what_the_platform_refuses_in_overrides_too(right, wrong):
    schema = json_schema()
    assert fits(schema, load(CONFIG), schema)
    assert not fits(schema, load(CONFIG.replace(right, wrong)), schema)


def test_the_schema_explains_and_the_command_prints_it():
    printed = json.loads(CliRunner().invoke(cli, ["config", "schema"]).output)
    assert printed == json_schema()
    horizon = printed["$defs"]["LabelSettings"]["properties"]["horizon"]
    assert "mature" in horizon["description"]
    assert "required" not in printed["$defs"]["GateSettingsOverride"]
    assert printed["$defs"]["GateSettings"]["required"] == ["floor"]


FLOORS = {
    "": ("0.6", "gate.floor, config.yml line 3"),
    "monitoring: {min_rows: 7}\n": ("0.6", "gate.floor, config.yml line 3"),
    "monitoring: {performance_floor: 0.5}\n": ("0.5", "config.yml line 4"),
    "monitoring: {performance_floor: null}\n": ("None", "config.yml line 4"),
    "environments: {prod: {gate: {floor: 0.7}}}\n": ("0.7", "gate.floor, config.yml line 4 (environments.prod)"),
    "environments: {prod: {monitoring: {performance_floor: 0.4}}}\n": ("0.4", "config.yml line 4 (environments.prod)"),
}


@pytest.mark.parametrize("more", FLOORS)
def test_the_performance_floor_follows_the_gate_s_and_says_so(tmp_path, more):
    config = tmp_path / "config.yml"
    config.write_text(f"owner: x\nlabel: {{horizon: 1 day}}\ngate: {{floor: 0.6}}\n{more}")
    (found,) = (item for item in sources(config, "prod") if item.key == "monitoring.performance_floor")
    assert (str(found.value), found.origin) == FLOORS[more]

"""Where each setting came from, and the JSON schema by which editors complete and check a `config.yml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlplatform.config.alerts import SECRET_REFERENCE
from mlplatform.config.base import Settings
from mlplatform.config.environments import CATALOG, ENVIRONMENTS, read_config
from mlplatform.config.renamed import RENAMED, old_name_of
from mlplatform.config.settings import FOLLOWS, UseCaseSettings, load_settings
from mlplatform.config.yaml_file import Place

DEFAULT = "default"


@dataclass(frozen=True)
class SettingValue:
    """One setting as it is in an environment.

    Attributes:
        key: Its place, as in `training.search.max_evals`.
        value: Its value; of a secret, its reference.
        origin: `default` (of the catalog: the environment's name), `config.yml line 12`, or
            `config.yml line 40 (environments.prod)`; of what takes another setting's value where it is not set,
            `gate.floor, config.yml line 12`.
        secret: Whether the value is a reference to a secret.
    """

    key: str
    value: Any
    origin: str
    secret: bool = False


def sources(path: Path, env: str) -> list[SettingValue]:
    """Return every setting of a use case in one environment, and where it came from.

    The later wins: the defaults, then the file, then the file's section `environments.<env>`.

    Args:
        path: The `config.yml`.
        env: Name of the environment.

    Raises:
        ConfigError: If the file is wrong; see `load_settings`.
    """
    settings = load_settings(path, env)
    lines = read_config(path).lines

    def stands(key: Place) -> bool:
        return key in lines or (ENVIRONMENTS, env, *key) in lines

    def origin(key: Place) -> str:
        override = lines.get((ENVIRONMENTS, env, *key))
        line = override or lines.get(key)
        other = FOLLOWS.get(key) or old_name_of(key)
        if not line and other is not None and (key in FOLLOWS or stands(other)):
            return f"{'.'.join(other)}, {origin(other)}"
        place = f"{path.name} line {line}" if line else DEFAULT
        return f"{place} ({ENVIRONMENTS}.{env})" if override else place

    values = []
    for key, value, secret in _values(settings, ()):
        if key in RENAMED:
            continue
        if key == (CATALOG,) and value is None:
            values.append(SettingValue(CATALOG, env, f"{DEFAULT} (the environment's name)", secret))
        else:
            values.append(SettingValue(".".join(key), value, origin(key), secret))
    return values


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `config.yml`, with the section `environments`, in which nothing is required."""
    schema = UseCaseSettings.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    whole = {key: value for key, value in schema.items() if key != "$defs"}
    overrides = {f"{name}Override": _optional(item) for name, item in definitions.items()}
    definitions |= overrides | {"UseCaseOverride": _optional(whole)}
    schema["properties"][ENVIRONMENTS] = {
        "type": "object",
        "description": "Settings that differ by environment (dev, staging, prod, or one declared here), laid over "
        "the rest.",
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/UseCaseOverride"}, {"type": "null"}]},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "config.yml of a use case"}


def _optional(item: Any) -> Any:
    # An override names what differs, so that nothing is required of it, at any depth but in the elements of lists:
    # a list is replaced as a whole. What it does not name keeps its value, so that there are no defaults either.
    if isinstance(item, list):
        return [_optional(part) for part in item]
    if not isinstance(item, dict):
        return item
    optional = {key: value if key == "items" else _optional(value) for key, value in item.items()}
    optional = {key: value for key, value in optional.items() if key not in ("required", "default", "properties")}
    if "properties" in item:
        optional["properties"] = {name: _optional(value) for name, value in item["properties"].items()}
    if "$ref" in optional:
        optional["$ref"] = f"{optional['$ref']}Override"
    return optional


def _values(settings: Settings, path: Place) -> Iterator[tuple[Place, Any, bool]]:
    for name, field in type(settings).model_fields.items():
        value, here = getattr(settings, name), (*path, name)
        if isinstance(value, Settings):
            yield from _values(value, here)
            continue
        extra = field.json_schema_extra
        yield here, _plain(value), isinstance(extra, dict) and extra.get("format") == SECRET_REFERENCE


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value

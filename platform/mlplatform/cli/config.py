"""`mlplatform config`: the settings of a use case, where each came from, and the schema of them all."""

from __future__ import annotations

import click

from mlplatform.cli import output
from mlplatform.cli.commands import CommandGroup, command
from mlplatform.cli.options import CATALOG_SETTING, Options


@click.group(cls=CommandGroup)
def config() -> None:
    """Show settings, or the schema of all settings."""


@command(
    group=config,
    without_workspace=True,
    examples=("mlplatform config schema > use_cases/config.schema.json",),
    note="An editor takes it from the first line of a config.yml: "
    "# yaml-language-server: $schema=../config.schema.json",
)
def schema(options: Options) -> None:
    """Print the JSON schema of config.yml.

    It holds every setting with its meaning, type and default.
    """
    from mlplatform.config.origins import json_schema

    del options  # it is JSON in any case

    output.show_json(json_schema())


@command(
    group=config,
    examples=(
        "mlplatform config show credit_risk",
        "mlplatform config show credit_risk --env prod --json",
    ),
)
@click.argument("use_case")
def show(use_case: str, options: Options) -> None:
    """Print each setting of a use case, and its origin.

    The later wins: the platform's defaults, then config.yml, then its section environments.<env>, then --catalog.
    Secrets are references everywhere: no value of one is read.
    """
    from mlplatform import discovery
    from mlplatform.config.environments import CATALOG
    from mlplatform.config.origins import SettingValue, sources

    path = discovery.config_file(discovery.get(use_case, options.use_cases))
    values = sources(path, options.env)
    if options.catalog:
        told = SettingValue(CATALOG, options.catalog, f"--catalog, or {CATALOG_SETTING}")
        values = [told if item.key == CATALOG else item for item in values]
    if options.as_json:
        settings = [vars(item) for item in values]
        output.show_json({"use_case": use_case, "env": options.env, "file": str(path), "settings": settings})
        return
    rows = [(item.key, _shown(item.value, secret=item.secret), item.origin) for item in values]
    title = f"{use_case} in {options.env}, from {path}"
    output.console().print(output.table(title, ("setting", "value", "from"), rows))


def _shown(value: object, *, secret: bool) -> str | None:
    if value is None or value == "":
        return None
    if secret:
        return f"secret {value}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or None
    return str(value).lower() if isinstance(value, bool) else str(value)

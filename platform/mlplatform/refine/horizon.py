"""The label's horizon, for a silver table's SQL: it stands in `config.yml`, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from mlplatform.as_of import Duration
from mlplatform.config.environments import ENVIRONMENTS, read_config
from mlplatform.config.settings import CONFIG_FILE, load_settings
from mlplatform.errors import ConfigError


def label_horizon(module: str) -> str:
    """Return `label.horizon` of the `config.yml` beside a module, as an interval of Spark's SQL.

    Args:
        module: The module's `__file__`.

    Raises:
        ConfigError: If the settings cannot be read, or an environment has a horizon of its own: a table's SQL is the
            same in all of them.
    """
    path = Path(module).with_name(CONFIG_FILE)
    horizon = load_settings(path, "dev").label.horizon
    for env in read_config(path).sections:
        other = load_settings(path, env).label.horizon
        if other != horizon:
            raise ConfigError(
                f"{path}: label.horizon is {horizon} in dev and {other} in {env}; the tables hold one.",
                hint=f"Take label.horizon out of {ENVIRONMENTS}.",
            )
    return interval(Duration.parse(horizon))


def label_classes(module: str) -> tuple[str, ...]:
    """Return `label.classes` of the `config.yml` beside a module: the values that a label of several classes may have.

    Args:
        module: The module's `__file__`.

    Raises:
        ConfigError: If the settings cannot be read, or an environment has classes of its own.
    """
    path = Path(module).with_name(CONFIG_FILE)
    classes = load_settings(path, "dev").label.classes
    for env in read_config(path).sections:
        if load_settings(path, env).label.classes != classes:
            raise ConfigError(
                f"{path}: label.classes in {env} are others than in dev; the tables hold one label.",
                hint=f"Take label.classes out of {ENVIRONMENTS}.",
            )
    return classes


def interval(duration: Duration) -> str:
    """Return a duration as an interval of Spark's SQL.

    Examples:
        >>> interval(Duration.parse("1 quarter")), interval(Duration.parse("2 weeks"))
        ('INTERVAL 3 MONTHS', 'INTERVAL 14 DAYS')
        >>> interval(Duration.parse("90 minutes"))
        'INTERVAL 5400 SECONDS'
    """
    if duration.months:
        return f"INTERVAL {duration.months} MONTHS"
    days, rest = divmod(duration.seconds, 86_400)
    return f"INTERVAL {days} DAYS" if days and not rest else f"INTERVAL {duration.seconds} SECONDS"

"""Keys of resources: the Databricks CLI wants each once in a bundle, over all kinds of resources and all use cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlplatform.errors import ConfigError

SCHEMA, LANDING, MODEL, EXPERIMENT = "schema", "landing", "model", "experiment"
SETUP, FEATURES, TRAIN, SCORE, MONITOR = "setup", "features", "train", "score", "monitor"
MAINTENANCE, MAIN_PIPELINE, DEPLOYMENT = "maintenance", "main_pipeline", "deployment"
RECALIBRATE = "recalibrate"
_PARTS = (
    SCHEMA,
    LANDING,
    MODEL,
    EXPERIMENT,
    SETUP,
    FEATURES,
    TRAIN,
    SCORE,
    MONITOR,
    MAINTENANCE,
    MAIN_PIPELINE,
    DEPLOYMENT,
    RECALIBRATE,
)
# Whatever a bundle makes of them, their files or schemas would be one another's.
_RESERVED = {
    "ops": "the schema of the platform's own tables",
    "ops_files": "the volume of the platform's own files",
    MAIN_PIPELINE: "the job over all use cases",
    "shared": "resources/shared.yml, what all use cases share",
}


def key(use_case: str, part: str) -> str:
    """Return the key of a use case's resource.

    Examples:
        >>> key("upsell", MODEL)
        'upsell_model'
    """
    return f"{use_case}_{part}"


def notify_variable(use_case: str) -> str:
    """Return the variable of the bundle that holds whom a use case's jobs tell."""
    return f"{use_case}_notify"


def check_names(use_cases: Iterable[str], taken: Mapping[str, str], variables: Mapping[str, str]) -> None:
    """Refuse use cases that cannot stand in one bundle with each other or with what is written there by hand.

    Args:
        use_cases: The names of all use cases of the project.
        taken: Where each key stands that no use case makes.
        variables: Where each variable stands that no use case makes.

    Raises:
        ConfigError: If a name is reserved, if it is another's key, or if two things would have one key.
    """
    if MAIN_PIPELINE in taken:
        raise _clash(MAIN_PIPELINE, taken[MAIN_PIPELINE], "the job over all use cases")
    names = sorted(set(use_cases))
    for name in names:
        if name in _RESERVED:
            raise ConfigError(
                f"No use case of a bundle can be called {name!r}: that is {_RESERVED[name]}.", hint="Rename its folder."
            )
        if notify_variable(name) in variables:
            variable = notify_variable(name)
            raise _clash(variable, variables[variable], f"the use case {name}", what="variable")
    owners = dict(taken)
    for name in names:
        for resource in (key(name, part) for part in _PARTS):
            if resource in owners:
                raise _clash(resource, owners[resource], f"the use case {name}")
            owners[resource] = f"the use case {name}"
    for name in names:
        if name in owners:
            raise _clash(name, owners[name], f"the use case called {name}")


def _clash(name: str, one: str, other: str, what: str = "resource key") -> ConfigError:
    return ConfigError(
        f"The {what} {name!r} belongs to {one} and to {other}; a bundle has each only once, whatever the kind.",
        hint="Rename one of the two; a use case is called as its folder.",
    )

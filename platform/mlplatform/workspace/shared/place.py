"""Where in a home a workspace works: the environment, its catalog, and a prefix."""

from __future__ import annotations

from mlplatform.errors import ConfigError
from mlplatform.naming import check_part


class Place:
    """Environment, catalog and prefix: it alone decides on the catalog, so that every name has the same one.

    What is said to the workspace wins: `open_workspace(catalog=...)`, `--catalog`. Else the first use case that is
    opened decides: by its setting `catalog`, else the catalog is called as the environment is.

    Attributes:
        env: The environment.
        prefix: Put before the names of schemas and models.
    """

    def __init__(self, env: str, catalog: str | None, prefix: str) -> None:
        """Remember where; see the class for what `catalog=None` means."""
        self.env = check_part(env, of=env)
        self.prefix = prefix
        self._catalog = check_part(catalog, of=catalog) if catalog else None
        self._decided_by = ""

    @property
    def catalog(self) -> str:
        """First level of every name."""
        return self._catalog or self.env

    @catalog.setter
    def catalog(self, name: str) -> None:
        self._catalog, self._decided_by = check_part(name, of=name), ""

    def settle_catalog(self, use_case: str, catalog: str | None) -> None:
        """Take the catalog that a use case's settings name, unless the workspace was told one.

        Args:
            use_case: The use case that is opened.
            catalog: Its setting; None: the environment's name.

        Raises:
            ConfigError: If another use case has decided on another catalog: the platform's own tables are in one.
        """
        name = catalog or self.env
        if self._catalog is None:
            self._catalog, self._decided_by = check_part(name, of=name), use_case
        elif self._decided_by and name != self._catalog:
            raise ConfigError(
                f"In {self.env} the use case {use_case} is in the catalog {name}, and this workspace is in "
                f"{self._catalog}, the catalog of {self._decided_by}, which was opened in it first.",
                hint=f"Open a workspace of its own for each: open_workspace(env={self.env!r}, catalog={name!r}).",
            )

"""Feature specs by three-level name, a file each in the workspace's folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.features.named_spec import NamedSpec
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.workspace.local import whole_file
from mlplatform.workspace.shared.feature_specs import SpecDeclaration

_REQUIREMENTS = "extra_pip_requirements"


class LocalFeatureSpecs:
    """The feature specs of a local workspace; see `mlplatform.workspace.shared.feature_specs.FeatureSpecs`."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder."""
        self._folder = folder

    def get(self, name: ObjectName) -> NamedSpec:
        """Return a feature spec.

        Raises:
            FeatureStoreError: If it does not exist; the hint suggests similar names.
        """
        spec = self.find(name)
        if spec is None:
            names = [path.stem for path in self._folder.glob("*.yaml")]
            raise FeatureStoreError(f"There is no feature spec {name}.", hint=did_you_mean(str(name), names))
        return spec

    def find(self, name: ObjectName) -> NamedSpec | None:
        """Return a feature spec, or None.

        Raises:
            FeatureStoreError: If its file is damaged.
        """
        path = self._path(name)
        if not path.is_file():
            return None
        return read_spec(path)

    def create(self, declaration: SpecDeclaration) -> None:
        """Keep a new feature spec, whole or not at all."""
        path, spec = self._path(declaration.name), declaration.spec
        path.parent.mkdir(parents=True, exist_ok=True)
        content = spec.spec.to_dict() | {_REQUIREMENTS: list(spec.extra_pip_requirements)}
        whole_file.write(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def delete(self, name: ObjectName) -> None:
        """Remove a feature spec.

        Raises:
            FeatureStoreError: If it does not exist.
        """
        self.get(name)
        self._path(name).unlink()

    def _path(self, name: ObjectName) -> Path:
        return self._folder / f"{name}.yaml"


def read_spec(file: Path) -> NamedSpec:
    """Return the feature spec that a file holds.

    Raises:
        FeatureStoreError: If it holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return NamedSpec(FeatureSpec.from_dict(content, of=str(file)), tuple(content.get(_REQUIREMENTS, ())))
    except (yaml.YAMLError, OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        if isinstance(error, FeatureStoreError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FeatureStoreError(
            f"{file} does not hold a feature spec any more: {reason}",
            hint="Restore it from a backup, or put it aside and create the feature spec again with "
            "ws.fe.create_feature_spec.",
        ) from error

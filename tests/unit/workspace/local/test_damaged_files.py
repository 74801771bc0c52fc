"""Small files of the workspace that were cut or overwritten: an error that names the file, never an empty record."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplatform.errors import FeatureStoreError
from mlplatform.naming import ObjectName
from mlplatform.workspace.local.feature_specs import LocalFeatureSpecs
from mlplatform.workspace.local.functions import LocalFunctions

damaged = pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"a: [1"])


def ratio(a: float) -> float:
    """Be importable."""
    return a


@damaged
def test_functions_that_are_damaged_are_neither_found_nor_written_over(tmp_path, content):
    file = tmp_path / "functions.json"
    file.write_bytes(content)
    functions = LocalFunctions(file)
    with pytest.raises(FeatureStoreError, match=r"functions\.json does not hold"):
        functions.get("dev.a.ratio")
    with pytest.raises(FeatureStoreError, match=r"functions\.json does not hold"):
        functions.register("dev.a.ratio", ratio, parameters=[("a", "double")], returns="double")
    assert file.read_bytes() == content


@damaged
def test_a_feature_spec_that_is_damaged_is_named(tmp_path, content):
    (tmp_path / "dev.a.spec.yaml").write_bytes(content)
    specs = LocalFeatureSpecs(Path(tmp_path))
    for ask in (specs.get, specs.find, specs.delete):
        with pytest.raises(FeatureStoreError, match=r"dev\.a\.spec\.yaml"):
            ask(ObjectName.parse("dev.a.spec"))

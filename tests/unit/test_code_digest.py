"""What changes the digest of code, and what does not."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlplatform import FeatureTable
from mlplatform.code_digest import code_digest, has_changed

FILES = {
    "__init__.py": "from .unrelated import NOTHING\n",
    "tables.py": '''
"""Tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform import Column, FeatureTable
from . import helpers
from .checked import Only as Checked
from .parts import FACTOR
import digest_case.constants as constants

if TYPE_CHECKING:
    from .typed import Only


def sideways():
    from .lazily import lazy

    return lazy


class Prices(FeatureTable):
    """Prices."""

    name = "prices"
    description = "Prices by account"
    keys = ("account",)
    timeseries_column = "at"
    inputs = ("silver_prices",)
    columns = (Column("account", "string", "Number"), Column("price", "double", comment="In euros"))

    def compute(self, ws, as_of, since):
        """Compute."""
        return helpers.scaled(1) * FACTOR * constants.RATE  # scaled
''',
    "helpers.py": "from .deeper import TWO\n\n\ndef scaled(value):\n    return value * TWO\n",
    "deeper.py": "TWO = 2\n",
    "parts/__init__.py": "from .inner import FACTOR\n",
    "parts/inner.py": "FACTOR = 3\n",
    "constants.py": "RATE = 1.5\n",
    "lazily.py": "lazy = 1\n",
    "checked.py": "import typing as t\n\nif t.TYPE_CHECKING:\n    Only = int\nelse:\n    Only = 1\n",
    "typed.py": "Only = int\n",
    "unrelated.py": "NOTHING = None\n",
    "held.py": "def doubled(value):\n    return value * 2\n\n\nhalved = lambda value: value / 2\n",
}


class Package:
    """A package that is edited and imported again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "digest_case"
        for name, text in FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def load(self, module: str = "tables") -> types.ModuleType:
        forget()
        importlib.invalidate_caches()
        return importlib.import_module(f"digest_case.{module}")

    def digest(self) -> str:
        return code_digest(self.load().Prices)


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "digest_case"]:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Package(tmp_path)
    forget()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tables.py", "scaled(1)", "scaled(2)"),
        ("tables.py", '"double"', '"float"'),
        ("helpers.py", "value * TWO", "value * TWO + 1"),
        ("deeper.py", "TWO = 2", "TWO = 2.0"),
        ("parts/__init__.py", "FACTOR", "FACTOR as FACTOR"),
        ("parts/inner.py", "3", "4"),
        ("constants.py", "1.5", "1.6"),
        ("lazily.py", "1", "True"),
        ("checked.py", "Only = 1", "Only = 2"),
    ],
)
def test_code_that_is_computed_with_counts(package: Package, file: str, old: str, new: str):
    before = package.digest()
    package.edit(file, old, new)
    assert package.digest() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tables.py", "# scaled", "# scaled, and so on"),
        ("tables.py", '"""Compute."""', '"""Compute them."""\n'),
        ("tables.py", '"""Prices."""', ""),
        ("tables.py", '"Number"', '"Number of the account"'),
        ("tables.py", "In euros", "In dollars"),
        ("tables.py", "Prices by account", "Prices by account and time"),
        ("tables.py", 'description = "Prices by account"', 'description: str = "Prices"'),
        ("tables.py", "    from .typed import Only", "    from .typed import Only\n    from .unrelated import NOTHING"),
        (
            "helpers.py",
            "from .deeper",
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    A = 1\nfrom .deeper",
        ),
        ("tables.py", '("silver_prices",)', "(\n    'silver_prices',\n    )"),
        ("typed.py", "int", "float"),
        ("checked.py", "Only = int", "Only = float"),
        ("unrelated.py", "None", "0"),
    ],
)
def test_text_and_what_is_not_computed_with_do_not(package: Package, file: str, old: str, new: str):
    before = package.digest()
    package.edit(file, old, new)
    assert package.digest() == before


def test_only_the_platforms_columns_have_comments(package: Package):
    package.edit(
        "tables.py",
        "from mlplatform import Column, FeatureTable",
        "from types import SimpleNamespace\nfrom mlplatform import FeatureTable\n\n"
        "Column = lambda name, *_, comment='', **__: SimpleNamespace(name=name)",
    )
    before = package.digest()
    package.edit("tables.py", '"Number"', '"Other"')
    assert package.digest() != before


def test_a_lazily_imported_module_counts_alike_before_and_after_it_is_imported(package: Package):
    tables = package.load()
    before = code_digest(tables.Prices)
    assert "digest_case.lazily" not in sys.modules  # taking the digest imports nothing
    assert tables.sideways() == 1
    assert code_digest(tables.Prices) == before


@pytest.mark.parametrize("name", ["doubled", "halved"])
def test_functions_given_as_attributes_count_by_their_module(package: Package, name: str):
    def digest() -> str:
        prices = package.load().Prices
        held = getattr(importlib.import_module("digest_case.held"), name)
        return code_digest(type("Given", (prices,), {"how": {"most": (held,)}, "__module__": prices.__module__}))

    before = digest()
    package.edit("held.py", "value", "number")
    assert digest() != before


def test_a_function_counts_with_its_module(package: Package):
    before = code_digest(package.load("helpers").scaled)
    package.edit("deeper.py", "2", "5")
    assert code_digest(package.load("helpers").scaled) != before


def test_classes_of_one_module_and_settings_are_told_apart(package: Package):
    package.edit("tables.py", "class Prices", "class Others(FeatureTable):\n    pass\n\n\nclass Prices")
    tables = package.load()
    assert code_digest(tables.Prices) != code_digest(tables.Others)
    assert code_digest(tables.Prices, settings="a") != code_digest(tables.Prices, settings="b")


def test_a_base_class_of_a_library_counts_by_its_name(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    library = tmp_path / "site-packages" / "digest_library"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("from .base import Estimator, Regressor\n")
    monkeypatch.syspath_prepend(library.parent)
    package.edit("tables.py", "class Prices(", "from digest_library import Estimator\n\n\nclass Prices(Estimator, ")

    def installed(text: str) -> str:
        (library / "base.py").write_text(text + "\n\n\nclass Regressor(Estimator):\n    fits = 2\n")
        for name in [name for name in sys.modules if name.partition(".")[0] == "digest_library"]:
            del sys.modules[name]
        return package.digest()

    before = installed("class Estimator:\n    fits = 1")
    assert installed("class Mixin:\n    pass\n\n\nclass Estimator(Mixin):\n    fits = 3") == before
    package.edit("tables.py", "Estimator", "Regressor")
    assert installed("class Estimator:\n    fits = 1") != before


def test_a_class_of_the_platform_counts_alike_wherever_it_stands(package: Package, monkeypatch: pytest.MonkeyPatch):
    prices = package.load().Prices
    before = code_digest(prices)
    monkeypatch.setitem(sys.modules, "mlplatform.features.moved", sys.modules[FeatureTable.__module__])
    monkeypatch.setattr(FeatureTable, "__module__", "mlplatform.features.moved")
    assert code_digest(prices) == before


def test_a_class_of_a_packages_own_module_counts_with_what_that_imports(package: Package):
    package.edit("__init__.py", "from", "from .tables import Prices\n\n\nclass Cheap(Prices):\n    pass\n\n\nfrom")

    def digest() -> str:
        package.load()
        return code_digest(sys.modules["digest_case"].Cheap)

    before = digest()
    package.edit("unrelated.py", "None", "0")
    assert digest() != before


def test_a_class_of_a_notebook_counts_by_what_it_was_compiled_to():
    def defined(body: str) -> Any:
        module = types.ModuleType("digest_notebook")
        exec(f"class Cell:\n    def compute(self):\n        {body}\n", module.__dict__)
        return module.__dict__["Cell"]

    assert code_digest(defined("return 1 in {1, 2}")) == code_digest(defined("return 1 in {1, 2}"))
    assert code_digest(defined("return 1")) != code_digest(defined("return 2"))


def test_a_digest_by_other_rules_says_nothing():
    digest = code_digest(Package)
    assert not has_changed("0123456789abcdef", digest)
    assert not has_changed(None, digest)
    assert not has_changed("2:0123456789abcdef", digest)
    assert has_changed("3:0123456789abcdef", digest)

"""Parts are found in the modules of a use case's package, in a fixed order; what is declared wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlplatform import BatchScorer, ChampionGate, UseCase, discovery
from mlplatform.errors import ConfigError
from mlplatform.use_case_parts import repeated_names

TABLES = '''
from mlplatform import Column, LabelSpine, SilverTable, Source


class SalesSource(Source, files="*.csv", columns=("id", "at")):
    """Sales."""


class Sales(SilverTable, source=SalesSource, keys=("id",), known_at="at"):
    """Sales."""

    columns = (Column("id", "string", "Number"), Column("at", "timestamp", "When"))


class AbandonedSource(Source, files="abandoned_*.csv", columns=("id", "at")):
    """Carts."""


class Abandoned(Sales, source=AbandonedSource):
    """Carts."""


class Buyers(LabelSpine, table=Sales, label="bought"):
    """Buyers."""

    def labels(self, ws):
        return ws.read(Abandoned)
'''
FEATURES = '''
from mlplatform import FeatureFunctionSpec, FeatureTable, RollingFeatureTable

from .tables import Sales


def half(x: float | None) -> float | None:
    return None if x is None else x / 2


HALF = FeatureFunctionSpec.of(half)


class _Base(FeatureTable, table=Sales):
    """A base class, and no part."""


class Abstract(RollingFeatureTable):
    """Without events, nothing can be summed."""


class ZebraFeatures(_Base):
    """First in the module."""


class AppleFeatures(_Base):
    """Second in the module."""
'''
MODEL = """
from mlplatform import Trainer

from .features import HALF, AppleFeatures, ZebraFeatures


class Model(Trainer):
    def lookups(self):
        return [self.lookup(ZebraFeatures), self.lookup(AppleFeatures), self.function(HALF)]

    def estimator(self, params):
        return params
"""
HEAD = "from mlplatform import UseCase\n\n\nclass Shop(UseCase):\n    "


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., type[UseCase]]:
    """Write a use case, and load it; modules are given by name, a part of the class as `body`."""
    number = iter(range(100))

    def load_it(body: str = '"""Found."""', head: str = HEAD, **modules: str) -> type[UseCase]:
        name = f"shop{next(number)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yml").write_text("owner: me\n")
        (folder / "__init__.py").write_text(head + body + "\n")
        for module, text in ({"tables": TABLES, "features": FEATURES, "model": MODEL} | modules).items():
            (folder / f"{module}.py").write_text(text)
        return discovery.load(discovery.get(name, tmp_path))

    return load_it


def names(classes: tuple[type, ...]) -> list[str]:
    return [cls.__name__ for cls in classes]


def test_parts_are_found_as_they_stand_in_the_modules(load):
    cls = load(aaa="from .tables import Sales\nfrom mlplatform import Monitor\n\n\nclass Watch(Monitor):\n    pass\n")
    assert names(cls.sources) == ["SalesSource", "AbandonedSource"]
    assert names(cls.silver) == ["Sales", "Abandoned"]
    assert names(cls.features) == ["ZebraFeatures", "AppleFeatures"]
    assert [cls.spine.__name__, cls.trainer.__name__, cls.monitor.__name__] == ["Buyers", "Model", "Watch"]
    assert [function.name for function in cls.functions] == ["half"]
    # What the modules only import is no part; without one of its own, the platform's class stands.
    assert (cls.gate, cls.scorer) == (ChampionGate, BatchScorer)
    assert cls.spine.inputs == ("silver_sales", "silver_abandoned")


def test_modules_come_in_one_order_whoever_imports_whom(load):
    more = "from mlplatform import FeatureTable\n\nfrom .tables import Sales\n\n\n"
    more += "class {}(FeatureTable, table=Sales):\n    pass\n"
    cls = load(zoo=more.format("Zoo"), ant=more.format("Ant"), tables=TABLES + "\n\nfrom . import zoo  # noqa\n")
    assert names(cls.features) == ["ZebraFeatures", "AppleFeatures", "Ant", "Zoo"]


def test_what_is_declared_wins(load):
    body = "from .features import AppleFeatures\n    features = (AppleFeatures,)\n    functions = ()"
    cls = load(body)
    assert (names(cls.features), cls.functions) == (["AppleFeatures"], ())
    assert names(cls.silver) == ["Sales", "Abandoned"]


def test_two_of_what_there_is_one_of_are_an_error_that_names_both_and_the_way_out(load):
    other = MODEL.replace("class Model", "class Another")
    cls = load(other=other)
    with pytest.raises(
        ConfigError, match=r"Model \(use_cases\.\w+\.model\) and Another \(use_cases\.\w+\.other\)"
    ) as caught:
        _ = cls.trainer
    assert "trainer = Model in Shop" in caught.value.hint
    declared = load("from .other import Another\n    trainer = Another", other=other)
    assert declared.trainer.__name__ == "Another"


@pytest.mark.parametrize(
    ("part", "modules"),
    [
        ("trainer", {"model": ""}),
        ("spine", {"tables": TABLES[: TABLES.index("class Buyers")]}),
        ("sources", {"tables": "", "features": "", "model": ""}),
        ("silver", {"tables": "", "features": "", "model": ""}),
    ],
)
def test_a_part_that_there_must_be_is_asked_for(load, part, modules):
    cls = load(**modules)
    with pytest.raises(ConfigError, match=f"Shop has no {part}") as caught:
        getattr(cls, part)
    assert f"declare {part} in Shop" in caught.value.hint


def test_a_class_name_is_there_once(load):
    cls = load(other="class Sales:\n    pass\n\n\nclass _Base:\n    pass\n")
    with pytest.raises(
        ConfigError, match=r"Sales is taken twice, in use_cases\.\w+\.other and in use_cases\.\w+\.tables"
    ):
        _ = cls.features
    assert len(list(repeated_names(cls))) == 1


def test_tests_and_private_modules_are_left_alone(load, tmp_path):
    fails = "raise AssertionError('imported')\n"
    load(test_shop=fails, conftest=fails, _private=fails)
    with pytest.raises(ConfigError, match="AssertionError: imported"):
        load(public=fails)


def test_a_use_case_that_stands_in_a_module_has_the_parts_of_that_module(load):
    whole = TABLES + "\n\nfrom mlplatform import UseCase\n\n\nclass Shop(UseCase):\n    pass\n"
    cls = load("", head="from .whole import Shop", tables="", features="", model="", whole=whole)
    assert names(cls.silver) == ["Sales", "Abandoned"]
    assert cls.features == ()

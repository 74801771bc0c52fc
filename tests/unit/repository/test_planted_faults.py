"""The faults that `make mutants` plants: each still fits the code, and names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.planted import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_each_fits_the_code_and_names_its_tests(fault: Fault) -> None:
    text = (ROOT / fault.path).read_text(encoding="utf-8")
    planted = fault.planted(text)
    assert planted != text
    # A fault that is no Python would be noticed by any test at all.
    ast.parse(planted)
    assert fault.tests
    for test in fault.tests:
        assert (ROOT / test).is_file()


def test_they_lie_where_a_mistake_would_be_quiet() -> None:
    rooms = {fault.file.split("/")[0] for fault in FAULTS}
    assert {"workspace", "refine", "training", "gate", "scoring", "monitoring", "statistics"} <= rooms
    assert len(FAULTS) == len({fault.what for fault in FAULTS}) >= 25

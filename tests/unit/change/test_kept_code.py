"""Code on record: imported beside the code that is installed under its name, and with the same digests."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform import discovery
from mlplatform.change.kept_code import Package, load
from mlplatform.code_digest import code_digest
from mlplatform.errors import StageError
from mlplatform.ops.kept import in_place
from mlplatform.ops.records import CODE, CodeRecord
from tests.support.edited_use_case import NAME, Edit, write_use_case

if TYPE_CHECKING:
    from pathlib import Path

PRIOR: Edit = {"features.py": [("PRIOR = 20.0", "PRIOR = 400.0")]}
HELPER: Edit = {"prices.py": [("CENTS = 1.0", "CENTS = 100.0")]}


@pytest.fixture
def then(tmp_path: Path) -> CodeRecord:
    """The use case's code before an edit, as it is on record."""
    return record_of(imported(write_use_case(tmp_path / "then", tmp_path)))


def imported(use_cases: Path) -> Any:
    return discovery.load(discovery.get(NAME, use_cases))


def record_of(use_case: type) -> CodeRecord:
    package = Package.of(use_case)
    assert package is not None
    record = CodeRecord(
        use_case=NAME,
        declared="",
        package=package.name,
        use_case_class=package.use_case_class,
        files=package.files(),
        recorded_at=datetime(2020, 1, 1, tzinfo=UTC),
    )
    return CODE.decode(CODE.encode(record))


@pytest.mark.parametrize("edit", [PRIOR, HELPER], ids=["its own module", "a module that it imports"])
def test_code_on_record_has_the_digest_that_it_had(edit: Edit, then: CodeRecord, tmp_path: Path) -> None:
    before = [code_digest(table) for table in imported(tmp_path / "then").features]
    now = imported(write_use_case(tmp_path / "now", tmp_path, edit))
    assert [code_digest(table) for table in now.features] != before
    code = load(then, NAME)
    with in_place(code.modules):
        assert [code_digest(table) for table in code.use_case.features] == before
    # What is installed is in its place again, untouched.
    assert sys.modules[f"use_cases.{NAME}.features"].RegionFeatures in now.features
    assert imported(tmp_path / "now") is now


def test_what_code_on_record_imports_late_is_its_own(then: CodeRecord, tmp_path: Path) -> None:
    imported(write_use_case(tmp_path / "now", tmp_path, HELPER))
    with in_place(load(then, NAME).modules):
        import use_cases.edited.prices as named  # type: ignore[import-not-found]
        from use_cases.edited.prices import CENTS  # type: ignore[import-not-found]

        assert (CENTS, named.CENTS) == (1.0, 1.0)
    import use_cases.edited.prices as after

    assert after.CENTS == 100.0


def test_functions_of_code_on_record_go_to_workers_by_value(then: CodeRecord, tmp_path: Path) -> None:
    from pyspark import cloudpickle

    imported(write_use_case(tmp_path / "now", tmp_path, {"features.py": [("price / seats", "seats / price")]}))
    code = load(then, NAME)
    with in_place(code.modules):
        (function,) = code.use_case.functions
        pickled = cloudpickle.dumps(function.fn)
    # A worker has the code of now.
    assert cloudpickle.loads(pickled)(10.0, 4.0) == 2.5


def test_tests_and_data_are_not_kept(tmp_path: Path) -> None:
    use_cases = write_use_case(tmp_path / "then", tmp_path)
    for name in ("tests/test_it.py", "data/big.py", ".env.py", "notes.txt", "query.sql"):
        (use_cases / NAME / name).parent.mkdir(exist_ok=True)
        (use_cases / NAME / name).write_text("x = 1", encoding="utf-8")
    package = Package.of(imported(use_cases))
    assert package is not None
    assert set(package.files()) == {
        "__init__.py", "features.py", "model.py", "prices.py", "query.sql", "tables.py",
    }  # fmt: skip


def test_a_use_case_of_no_package_has_no_code_to_keep() -> None:
    class InACell:
        pass

    assert Package.of(InACell) is None


def test_code_that_cannot_be_imported_any_more_says_what_to_do(then: CodeRecord, tmp_path: Path) -> None:
    use_cases = write_use_case(tmp_path / "now", tmp_path)
    now = imported(use_cases)
    broken = CODE.encode(then) | {"files": '{"__init__.py": "import a_library_that_is_gone"}'}
    with pytest.raises(StageError, match="cannot be imported: ModuleNotFoundError") as caught:
        load(CODE.decode(broken), NAME)
    assert "mlplatform apply edited --in-place" in caught.value.hint
    assert imported(use_cases) is now

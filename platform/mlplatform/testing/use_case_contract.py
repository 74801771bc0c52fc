"""The contract as a class of tests: one import and one class give a use case's tests all of it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from mlplatform import discovery
from mlplatform.testing.contract import Contract, NothingToCheckError
from mlplatform.workspace import open_workspace


class UseCaseContract:
    """Base class of a use case's contract tests, for pytest; runs in a local workspace that is thrown away.

    Attributes:
        use_case: The use case's name.
        use_cases: The folder that holds it; None: found as the command line finds it.
        as_of: The time; None: where the use case's simulation starts.

    Examples:
        >>> class TestCreditRisk(UseCaseContract):
        ...     use_case = "credit_risk"
        ...     as_of = "2006-01-01"
    """

    use_case: ClassVar[str]
    use_cases: ClassVar[str | Path | None] = None
    as_of: ClassVar[str | None] = None
    _stack: ClassVar[ExitStack]
    _contract: ClassVar[Contract]

    @classmethod
    def setup_class(cls) -> None:
        """Open an empty workspace."""
        cls._stack = ExitStack()
        location = discovery.get(cls.use_case, cls.use_cases)
        loaded = discovery.load(location)
        root = cls._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        ws = cls._stack.enter_context(open_workspace("local", root=root))
        folder = discovery.folder_of(location, loaded)
        cls._contract = Contract(cls.use_case, loaded, folder, ws, cls.as_of)

    @classmethod
    def teardown_class(cls) -> None:
        """Close it."""
        cls._stack.close()

    def test_config_is_valid(self) -> None:
        """See `Contract.config_is_valid`."""
        self._contract.config_is_valid()

    def test_tables_are_declared_and_documented(self) -> None:
        """See `Contract.tables_are_declared_and_documented`."""
        self._contract.tables_are_declared_and_documented()

    def test_resources_are_consistent(self) -> None:
        """See `Contract.resources_are_consistent`."""
        self._unless_there_is_nothing("resources")

    def test_keys_are_unique(self) -> None:
        """See `Contract.keys_are_unique`."""
        self._contract.keys_are_unique()

    def test_no_feature_table_leaks(self) -> None:
        """See `Contract.no_feature_table_leaks`."""
        self._unless_there_is_nothing("leaks")

    def test_step_by_step_is_at_once(self) -> None:
        """See `Contract.step_by_step_is_at_once`."""
        self._unless_there_is_nothing("incremental")

    def test_the_training_set_is_as_declared(self) -> None:
        """See `Contract.the_training_set_is_as_declared`."""
        self._contract.the_training_set_is_as_declared()

    def test_the_model_beats_the_trivial_baseline(self) -> None:
        """See `Contract.the_model_beats_the_trivial_baseline`."""
        self._contract.the_model_beats_the_trivial_baseline()

    def test_predictions_can_be_made_again(self) -> None:
        """See `Contract.predictions_can_be_made_again`."""
        self._unless_there_is_nothing("scoring")

    def _unless_there_is_nothing(self, check: str) -> None:
        try:
            self._contract.checks[check]()
        except NothingToCheckError as nothing:
            raise SkipTest(str(nothing)) from None

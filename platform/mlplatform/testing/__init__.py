"""What a use case's author uses in tests."""

from mlplatform.testing.contract import Checked, Contract
from mlplatform.testing.incremental_check import check_incremental, check_table_incremental
from mlplatform.testing.leak_check import check_events, check_features, check_table
from mlplatform.testing.use_case_contract import UseCaseContract

__all__ = [
    "Checked",
    "Contract",
    "UseCaseContract",
    "check_events",
    "check_features",
    "check_incremental",
    "check_table",
    "check_table_incremental",
]

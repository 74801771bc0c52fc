"""What a use case's author uses in tests."""

from mlplatform.testing.leak_check import check_features, check_table

__all__ = ["check_features", "check_table"]

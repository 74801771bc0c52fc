"""The loader that models name which were stored before the flavor moved to `mlplatform.training.skops_flavor`."""

from mlplatform.training.skops_flavor import _load_pyfunc

__all__ = ["_load_pyfunc"]

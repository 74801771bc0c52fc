"""What every use case must hold to, on the real data of this one.

Slow: months and years are refined, and a model is trained.
"""

from pathlib import Path

import pytest

from mlplatform.testing import UseCaseContract


@pytest.mark.slow
class TestChurn(UseCaseContract):
    """The contract."""

    use_case = "churn"
    use_cases = Path(__file__).resolve().parents[2]

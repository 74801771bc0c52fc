"""Each use case of this repository keeps the contract, on its real data.

Slow: months and years of real data are refined, and a model of each is trained.
"""

from __future__ import annotations

import pytest

from mlplatform.testing import UseCaseContract

pytestmark = pytest.mark.slow


class TestChurn(UseCaseContract):
    use_case = "churn"


class TestCreditRisk(UseCaseContract):
    use_case = "credit_risk"


class TestDeliveryDelay(UseCaseContract):
    use_case = "delivery_delay"

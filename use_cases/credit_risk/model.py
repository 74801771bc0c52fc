"""The model: what it looks up, the estimator, and what the search may try."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import BatchScorer, FeatureFunction, FeatureLookup, Monitor, Trainer, coded

from .features import GUARANTEED_SHARE, SAME_STATE, IndustryFeatures, LenderFeatures, StateFeatures

CATEGORIES = ["sector", "industry", "state", "lender_state", "revolving_line", "low_doc"]
HISTORIES = ("lender_relative_risk", "lender_mean_amount", "industry_relative_risk", "state_relative_risk")
NUMBERS = [
    "amount", "guaranteed_amount", "guaranteed_share", "employees", "jobs_created", "jobs_retained", "is_franchise",
    "is_new_business", "urban_rural", "same_state", *HISTORIES,
]  # fmt: skip


class CreditRiskScorer(BatchScorer):
    """Keeps with each prediction what moved it: a lender has to be able to say why."""

    reason_codes = 3


class CreditRiskMonitor(Monitor):
    """Watches the application's facts.

    The histories move by construction: nothing had been charged off yet in the first year, so that every later window
    lies far from the training data, which says nothing.
    """

    slices = ("is_new_business",)
    ignored_columns = HISTORIES


class CreditRiskTrainer(Trainer):
    """Gradient boosting on application facts and histories.

    The lender itself is a key for its history, not an input: it is the holder at extraction (see the README).
    """

    exclude_columns = ("lender",)
    default_params: ClassVar = {
        "max_depth": 3, "learning_rate": 0.05, "max_iter": 100, "min_samples_leaf": 50, "l2_regularization": 10.0,
        "max_features": 0.5,
    }  # fmt: skip

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Histories as of the approval, and the two feature functions."""
        return [
            self.lookup(LenderFeatures, ["lender_relative_risk", "lender_mean_amount"]),
            self.lookup(IndustryFeatures, ["industry_relative_risk"]),
            self.lookup(StateFeatures, ["state_relative_risk"]),
            self.function(GUARANTEED_SHARE),
            self.function(SAME_STATE),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Shallow trees; rare categories share a code."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        seed = self.settings.training.seed
        boosting = HistGradientBoostingClassifier(**params, early_stopping=False, random_state=seed)
        return coded(boosting, CATEGORIES, NUMBERS, min_frequency=10)

    def search_space(self) -> dict[str, Any]:
        """A narrow space: the first years have about a hundred charge-offs."""
        import numpy as np
        from hyperopt import hp

        return {
            "max_depth": hp.choice("max_depth", [2, 3, 4]),
            "learning_rate": hp.loguniform("learning_rate", np.log(0.03), np.log(0.1)),
            "max_iter": hp.choice("max_iter", [60, 100, 150]),
            "min_samples_leaf": hp.choice("min_samples_leaf", [30, 50, 100]),
            "l2_regularization": hp.loguniform("l2_regularization", np.log(1), np.log(30)),
            "max_features": hp.choice("max_features", [0.5, 1.0]),
        }

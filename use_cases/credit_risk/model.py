"""The model: what it looks up, the estimator, and what the search may try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import BatchScorer, FeatureFunction, FeatureLookup, Monitor, Trainer

CATEGORIES = ["sector", "industry", "state", "lender_state", "revolving_line", "low_doc"]
NUMBERS = [
    "amount",
    "guaranteed_amount",
    "guaranteed_share",
    "employees",
    "jobs_created",
    "jobs_retained",
    "is_franchise",
    "is_new_business",
    "urban_rural",
    "same_state",
    "lender_relative_risk",
    "lender_mean_amount",
    "industry_relative_risk",
    "state_relative_risk",
]


class CreditRiskScorer(BatchScorer):
    """Keeps with each prediction what moved it: a lender has to be able to say why."""

    reason_codes = 3


class CreditRiskMonitor(Monitor):
    """Watches the application's facts.

    Histories move by construction: in the first year nothing had been charged off yet, so that every later window lies
    far from the training data's, which says nothing.
    """

    slices = ("is_new_business",)
    ignored_columns = (
        "lender_relative_risk",
        "lender_mean_amount",
        "industry_relative_risk",
        "state_relative_risk",
    )


class CreditRiskTrainer(Trainer):
    """Gradient boosting on application facts and histories.

    The lender itself is a key for its history, not an input: it is the holder at extraction (see the README).
    """

    exclude_columns = ("lender",)
    default_params: ClassVar[Mapping[str, Any]] = {
        "max_depth": 3,
        "learning_rate": 0.05,
        "max_iter": 100,
        "min_samples_leaf": 50,
        "l2_regularization": 10.0,
        "max_features": 0.5,
    }

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Histories as of the approval, and the two feature functions."""
        table = self.namespace.table
        return [
            FeatureLookup(
                table_name=str(self.namespace.features("lender")),
                lookup_key="lender",
                feature_names=["lender_relative_risk", "lender_mean_amount"],
                timestamp_lookup_key="approved_at",
            ),
            FeatureLookup(
                table_name=str(self.namespace.features("industry")),
                lookup_key="industry",
                feature_names=["industry_relative_risk"],
                timestamp_lookup_key="approved_at",
            ),
            FeatureLookup(
                table_name=str(self.namespace.features("state")),
                lookup_key="state",
                feature_names=["state_relative_risk"],
                timestamp_lookup_key="approved_at",
            ),
            FeatureFunction(
                udf_name=str(table("guaranteed_share")),
                input_bindings={"guaranteed_amount": "guaranteed_amount", "amount": "amount"},
                output_name="guaranteed_share",
            ),
            FeatureFunction(
                udf_name=str(table("same_state")),
                input_bindings={"state": "state", "lender_state": "lender_state"},
                output_name="same_state",
            ),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Ordinal codes for categories, numbers as they are; nulls are the trees' business."""
        import numpy as np
        from sklearn.compose import ColumnTransformer
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OrdinalEncoder

        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, min_frequency=10
        )
        columns = ColumnTransformer([("categories", codes, CATEGORIES), ("numbers", "passthrough", NUMBERS)])
        boosting = HistGradientBoostingClassifier(
            **params, early_stopping=False, random_state=self.settings.training.seed
        )
        return Pipeline([("columns", columns), ("boosting", boosting)])

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

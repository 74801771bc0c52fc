"""The model: what it looks up, and the estimator."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import FeatureFunction, FeatureLookup, Monitor, Trainer

from .features import MonthlyFeatures, RecencyFeatures, WeeklyFeatures


class ChurnMonitor(Monitor):
    """Watches what customers do, and how well each segment of value is ranked."""

    slices = ("value_segment",)
    # All customers came in the first quarter of 1997: what counts from the first purchase on moves with the calendar.
    ignored_columns = (
        "days_since_first", "usual_gap", "overdue", "days_ever", "cds_ever", "cents_ever", "days_trend_monthly",
        "cents_trend_monthly",
    )  # fmt: skip


class ChurnTrainer(Trainer):
    """Small trees on recency, frequency, value and trend."""

    # How long a customer has been one is calendar time here (see the README): a tree would learn the season by it.
    exclude_columns = ("value_segment", "days_since_first")
    default_params: ClassVar = {"max_iter": 120, "learning_rate": 0.05, "min_samples_leaf": 40}

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """All as of the cut-off."""
        return [
            self.lookup(MonthlyFeatures, lookback="1 day"),
            self.lookup(WeeklyFeatures, lookback="7 days"),
            self.lookup(RecencyFeatures, lookback="1 day"),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Gradient boosting, which takes nulls as they are."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        seed = self.settings.training.seed
        return HistGradientBoostingClassifier(**params, max_leaf_nodes=15, early_stopping=False, random_state=seed)


class LightGBMTrainer(ChurnTrainer):
    """The same columns for LightGBM, which adds trees until the validation months are ranked no better by them."""

    default_params: ClassVar = {
        "n_estimators": 1000, "learning_rate": 0.05, "min_child_samples": 40, "num_leaves": 15,
    }  # fmt: skip

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Leaf-wise trees; the same on any number of cores."""
        from lightgbm import LGBMClassifier

        seed = self.settings.training.seed
        return LGBMClassifier(
            **params,
            metric="auc",
            early_stopping_rounds=50,
            deterministic=True,
            force_row_wise=True,
            random_state=seed,
        )

"""The model: what it looks up, and the estimator."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import FeatureFunction, FeatureLookup, Trainer, coded

from .features import AccountFeatures, CustomerFeatures, StoreFeatures


class ReturnTrainer(Trainer):
    """A small gradient boosting on the order, its store, its customer and the account."""

    exclude_columns = ("customer_id", "store")
    default_params: ClassVar = {"max_iter": 40, "learning_rate": 0.1, "min_samples_leaf": 50}

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """All as of the order."""
        return [
            self.lookup(StoreFeatures, lookback="7 days"),
            self.lookup(CustomerFeatures, lookback="40 days"),
            self.lookup(AccountFeatures),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Shallow trees."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        seed = self.settings.training.seed
        boosting = HistGradientBoostingClassifier(**params, max_leaf_nodes=15, early_stopping=False, random_state=seed)
        return coded(boosting, ["channel", "segment", "region"])

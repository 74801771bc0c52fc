"""The model: what it looks up, the estimator, and what the search may try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import FeatureFunction, FeatureLookup, Monitor, Trainer

from .features import (
    CarrierHistory,
    DestinationHistory,
    FlightHistory,
    OriginHistory,
    RouteHistory,
    WeatherAtOrigin,
)

CATEGORIES = ["carrier", "origin"]


class DeliveryDelayMonitor(Monitor):
    """Watches the plan, the last hours at the origin, the flight numbers' histories, and the predictions.

    The others hold one value a carrier, destination or hour for a whole week of legs: a week of them always lies far
    from half a year's, which says nothing.
    """

    ignored_columns = (
        *(column.name for table in (CarrierHistory, DestinationHistory, RouteHistory) for column in table.columns[2:]),
        *("origin_arrival_delay_1d", "origin_departure_delay_1d", "origin_late_1d"),
        *("temperature", "humidity", "pressure", "wind_speed"),
    )


class DeliveryDelayTrainer(Trainer):
    """Gradient boosting on the plan, the histories and the weather.

    Delays have a long right tail, and the error that counts is absolute: the model is fitted to the delay's normal
    score, so that what it predicts lies near the median of the minutes, and one leg ten hours late does not lead it.
    """

    exclude_columns = ("dest", "route", "flight")
    default_params: ClassVar[Mapping[str, Any]] = {
        "max_iter": 120,
        "learning_rate": 0.08,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 60,
    }

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Everything as of two hours before the planned departure; a row older than its feed allows is missing."""
        return [
            self.lookup(OriginHistory, lookback="6 hours"),
            self.lookup(CarrierHistory, lookback="1 day"),
            self.lookup(DestinationHistory, lookback="1 day"),
            self.lookup(RouteHistory, lookback="3 days"),
            self.lookup(FlightHistory, lookback="2 weeks"),
            self.lookup(WeatherAtOrigin, lookback="4 hours"),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Ordinal codes for categories, numbers as they are; nulls are the trees' business."""
        import numpy as np
        from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OrdinalEncoder, QuantileTransformer

        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        boosting = HistGradientBoostingRegressor(
            **params, early_stopping=False, random_state=self.settings.training.seed
        )
        columns = ColumnTransformer([("categories", codes, CATEGORIES)], remainder="passthrough")
        return TransformedTargetRegressor(
            Pipeline([("columns", columns), ("boosting", boosting)]),
            transformer=QuantileTransformer(output_distribution="normal", subsample=None),
        )

    def search_space(self) -> dict[str, Any]:
        """How fine the trees may be."""
        from hyperopt import hp

        return {
            "max_iter": hp.choice("max_iter", [80, 120, 180]),
            "learning_rate": hp.uniform("learning_rate", 0.05, 0.12),
            "max_leaf_nodes": hp.choice("max_leaf_nodes", [15, 31, 63]),
            "min_samples_leaf": hp.choice("min_samples_leaf", [40, 80, 160]),
        }

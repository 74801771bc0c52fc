"""The model: what it looks up, the estimator, and what the search may try."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlplatform import FeatureFunction, FeatureLookup, Monitor, Trainer, coded

from . import features

_COARSE = (features.CarrierFeatures, features.DestinationFeatures, features.RouteFeatures)


class DeliveryDelayMonitor(Monitor):
    """Watches the plan, the last hours at the origin, the flight numbers' histories, and the predictions."""

    # One value for all legs of a carrier, destination or hour: a week of them always lies far from half a year's.
    ignored_columns = (
        *(column.name for table in _COARSE for column in table.columns[2:]),
        *("origin_arrival_delay_1d", "origin_departure_delay_1d", "origin_late_1d"),
        *("temperature", "humidity", "pressure", "wind_speed", "wind_direction"),
    )


class DeliveryDelayTrainer(Trainer):
    """Gradient boosting on the plan, the histories and the weather.

    Delays have a long right tail, and the error that counts is absolute: the model is fitted to the delay's normal
    score, so that what it predicts lies near the median of the minutes, and one leg ten hours late does not lead it.
    """

    exclude_columns = ("published_at", "departs_at", "dest", "route", "flight")
    default_params: ClassVar = {
        "max_iter": 120, "learning_rate": 0.08, "min_samples_leaf": 60, "l2_regularization": 0.0,
    }  # fmt: skip

    def lookups(self) -> Sequence[FeatureLookup | FeatureFunction]:
        """Everything as of two hours before the planned departure; a row older than its feed allows is missing."""
        return [
            self.lookup(features.OriginFeatures, lookback="6 hours"),
            self.lookup(features.CarrierFeatures, lookback="1 day"),
            self.lookup(features.DestinationFeatures, lookback="1 day"),
            self.lookup(features.RouteFeatures, lookback="3 days"),
            self.lookup(features.FlightFeatures, lookback="2 weeks"),
            self.lookup(features.WeatherFeatures, lookback="4 hours"),
        ]

    def estimator(self, params: Mapping[str, Any]) -> Any:
        """Trees on the delay's normal score."""
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.preprocessing import QuantileTransformer

        seed = self.settings.training.seed
        boosting = HistGradientBoostingRegressor(**params, early_stopping=False, random_state=seed)
        score = QuantileTransformer(output_distribution="normal", subsample=None)
        return TransformedTargetRegressor(coded(boosting, ["carrier", "origin"]), transformer=score)

    def search_space(self) -> dict[str, Any]:
        """How smooth the trees are; more of it gains nothing that half a year could tell from chance."""
        from hyperopt import hp

        return {
            "max_iter": hp.choice("max_iter", [120, 200]),
            "learning_rate": 0.08,
            "min_samples_leaf": hp.choice("min_samples_leaf", [60, 300]),
            "l2_regularization": hp.choice("l2_regularization", [0.0, 10.0]),
        }

"""Two histories over rolling windows (few keys, many keys), and one snapshot of an entity."""

from pyspark.sql import DataFrame

from mlplatform import Column, FeatureTable, RollingFeatureTable, WorkspaceAsOf

from .tables import Accounts, PlacedOrders, Returns


class _History(RollingFeatureTable):
    """Orders and returns of one key."""

    measures = ("orders", "cents", "returns")

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Orders when they are placed, and returns when they come back."""
        orders = ws.read(PlacedOrders)
        placed = orders.selectExpr(
            *self.keys, "placed_at AS known_at", "1 AS orders", "bigint(round(amount * 100)) AS cents", "0 AS returns"
        )
        returned = ws.read(Returns).join(orders.select("order_id", *self.keys), on="order_id")
        returned = returned.selectExpr(
            *self.keys, "returned_at AS known_at", "0 AS orders", "0L AS cents", "1 AS returns"
        )
        return placed.unionByName(returned)


class StoreFeatures(_History, keys=("store",), grid="1 day", windows=("7 days", "28 days")):
    """A few hundred keys, a row a day for each."""

    values = (
        Column(
            "store_mean_amount_{window}", "double", "Mean {within}", sql="cents_{window} / nullif(orders_{window}, 0)"
        ),
        Column(
            "store_returns_{window}", "double", "Returns {within}", sql="returns_{window} / nullif(orders_{window}, 0)"
        ),
    )


class CustomerFeatures(_History, keys=("customer_id",), grid="1 month", windows=("1 month", "3 months")):
    """As many keys as customers, a row a month for each."""

    values = (
        Column("customer_orders_{window}", "bigint", "Orders {within}", sql="orders_{window}"),
        Column("customer_cents_{window}", "bigint", "Cents {within}", sql="cents_{window}"),
        Column("customer_returns_{window}", "bigint", "Returns {within}", sql="returns_{window}"),
    )


class AccountFeatures(FeatureTable, table=Accounts):
    """The accounts as they stand, from the moment of each change on."""

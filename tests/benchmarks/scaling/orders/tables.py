"""Bronze sources, silver tables with their expectations, and the label spine."""

import os

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  (the name every PySpark reader knows)

from mlplatform import Column, Duration, Expectation, LabelSpine, SilverTable, Source, WorkspaceAsOf

# Numbers that the accounts have besides, as the generated data do; see tests/benchmarks/scaling/data.py.
MORE = tuple(f"number_{number:05d}" for number in range(int(os.environ.get("MLPLATFORM_BENCHMARK_COLUMNS", "0"))))
ORDER_ID = Column("order_id", "string", "Running number, ten digits")
CUSTOMER_ID = Column("customer_id", "string", "Number of the customer", nullable=False)


class OrdersSource(Source, files="orders/orders_*.csv", available="period_end"):
    """Orders by the days on which they were placed."""

    columns = ("order_id", "customer_id", "store", "placed_at", "channel", "items", "amount", "discount")


class ReturnsSource(Source, files="returns/returns_*.csv", available="period_end"):
    """Returns by the days on which they came back."""

    columns = ("order_id", "returned_at", "reason")


class AccountsSource(Source, files="accounts/accounts_*.csv", available="period_end"):
    """What is known about the customers, whenever it changes."""

    columns = ("customer_id", "changed_at", "segment", "region", "credit_limit", *MORE)


class PlacedOrders(SilverTable, source=OrdersSource, keys=("order_id",), known_at="placed_at"):
    """Orders as they were placed."""

    columns = (
        ORDER_ID,
        Column("placed_at", "timestamp", "When it was placed", nullable=False, sql="try_to_timestamp(placed_at)"),
        CUSTOMER_ID,
        Column("store", "string", "The store", nullable=False),
        Column("channel", "string", "web, app or shop"),
        Column("items", "bigint", "Number of items"),
        Column("amount", "double", "Amount, in euros"),
        Column("discount", "double", "Share of the amount that was taken off"),
    )
    expectations = (
        Expectation("order_id_is_ten_digits", "order_id RLIKE '^[0-9]{10}$'"),
        Expectation("placed_before_the_drop", "placed_at < _available_at"),
        Expectation("amount_is_positive", "amount > 0"),
        Expectation("items_are_counted", "items >= 1"),
    )


class Returns(SilverTable, source=ReturnsSource, keys=("order_id",), known_at="returned_at"):
    """Orders that came back."""

    columns = (
        ORDER_ID,
        Column("returned_at", "timestamp", "When it came back", nullable=False, sql="try_to_timestamp(returned_at)"),
        Column("reason", "string", "Why"),
    )
    expectations = (Expectation("returned_before_the_drop", "returned_at < _available_at"),)


class Accounts(SilverTable, source=AccountsSource, keys=("customer_id",), timeseries=True, known_at="changed_at"):
    """What is known about a customer from a moment on."""

    columns = (
        CUSTOMER_ID,
        Column("changed_at", "timestamp", "From when on", nullable=False, sql="try_to_timestamp(changed_at)"),
        Column("segment", "string", "private or business"),
        Column("region", "string", "Where the customer is"),
        Column("credit_limit", "double", "In euros"),
        *(Column(name, "double", "A number") for name in MORE),
    )
    expectations = (Expectation("credit_limit_is_a_limit", "credit_limit IS NULL OR credit_limit >= 0"),)


class OrdersToJudge(LabelSpine, table=PlacedOrders, label="returned"):
    """Each order is predicted when it is placed; its label is mature `label.horizon` later."""

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """1 for a return within the horizon, 0 for none."""
        horizon = F.make_dt_interval(secs=F.lit(int(Duration.parse(self.settings.label.horizon).seconds)))
        orders = ws.read(PlacedOrders).select(*self.primary_keys)
        labels = orders.join(ws.read(Returns).select("order_id", "returned_at"), on="order_id", how="left")
        returned = F.coalesce(F.col("returned_at") <= F.col("label_known_at"), F.lit(False))
        return labels.withColumn("label_known_at", F.col("placed_at") + horizon).select(
            *self.primary_keys, returned.cast("double").alias(self.label), "label_known_at"
        )

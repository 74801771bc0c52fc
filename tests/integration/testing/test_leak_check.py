"""Every feature table of credit risk is put through the leak check, and the check catches a table that leaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column, FeatureTable, UseCase, WorkspaceAsOf, discovery, open_workspace, parse_as_of
from mlplatform.errors import ContractError, TableError
from mlplatform.pipeline import Pipeline
from mlplatform.protocols.workspace import Workspace
from mlplatform.testing import check_events, check_features, check_incremental, check_table

EVERYTHING = parse_as_of("2007-01-01")
# Also in the middle of a month and of a quarter, and before the first charge-off is known.
MOMENTS = [parse_as_of(text) for text in ("2003-01-01", "2005-02-15", "2006-07-01T12:00")]


@pytest.fixture(scope="module")
def credit_risk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, UseCase]]:
    found = discovery.get("credit_risk", "use_cases")
    cls = discovery.load(found)
    with open_workspace("local", root=tmp_path_factory.mktemp("leaks")) as ws:
        use_case = cls.open("credit_risk", discovery.folder_of(found, cls), ws)
        Pipeline(ws, use_case, EVERYTHING).run(["ingest", "refine"])
        yield ws, use_case


# By day: test_incremental_check.py, and the contract in use_cases/credit_risk/tests.
@pytest.mark.slow
def test_every_feature_table_of_credit_risk_is_step_by_step_what_it_is_at_once(
    credit_risk: tuple[Workspace, UseCase],
) -> None:
    ws, use_case = credit_risk
    check_incremental(ws, use_case, [*MOMENTS, EVERYTHING])


def test_no_feature_table_of_credit_risk_leaks(credit_risk: tuple[Workspace, UseCase]) -> None:
    ws, use_case = credit_risk
    check_features(ws, use_case, [*MOMENTS, EVERYTHING])


class LeakyHistory(FeatureTable):
    """Stamps a charge-off at the approval of its loan: years before anybody could know it."""

    name = "leaky"
    keys = ("lender",)
    timeseries_column = "known_at"
    inputs = ("silver_loans", "silver_outcomes")
    columns = (
        Column("lender", "string", "The bank"),
        Column("known_at", "timestamp", "Day of an approval"),
        Column("charge_offs", "bigint", "Charge-offs of the loans approved that day"),
    )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        loans = ws.read("silver_loans").where(F.col("lender").isNotNull())
        charge_offs = ws.read("silver_outcomes").where(F.col("charged_off_at").isNotNull()).select("loan_id")
        return (
            loans.join(charge_offs.withColumn("gone", F.lit(1)), on="loan_id", how="left")
            .groupBy("lender", F.col("approved_at").alias("known_at"))
            .agg(F.count("gone").alias("charge_offs"))
        )


def test_a_leaky_table_is_caught_with_an_example(credit_risk: tuple[Workspace, UseCase]) -> None:
    ws, use_case = credit_risk
    with pytest.raises(
        ContractError, match=r"Feature table leaky leaks: of its rows up to 2005-02-15 .* differ"
    ) as caught:
        check_table(ws, use_case, LeakyHistory(), [MOMENTS[1], EVERYTHING])
    assert "charge_offs" in str(caught.value)


class UndeclaredInput(LeakyHistory):
    """Reads a table that it does not declare."""

    name = "undeclared"
    inputs = ("silver_loans",)


def test_a_table_can_read_its_declared_inputs_only(credit_risk: tuple[Workspace, UseCase]) -> None:
    ws, use_case = credit_risk
    with pytest.raises(TableError, match="silver_outcomes is read, but not declared"):
        check_table(ws, use_case, UndeclaredInput(), [MOMENTS[1], EVERYTHING])


def test_a_check_that_compares_nothing_fails(credit_risk: tuple[Workspace, UseCase]) -> None:
    ws, use_case = credit_risk
    with pytest.raises(ValueError, match="looked at nothing"):
        check_table(ws, use_case, LeakyHistory(), [parse_as_of("1999-01-01"), EVERYTHING])


def test_the_charge_offs_of_credit_risk_do_not_leak(credit_risk: tuple[Workspace, UseCase]) -> None:
    ws, use_case = credit_risk
    assert check_events(ws, use_case, [*MOMENTS, EVERYTHING]) > 100

"""Names of columns that the platform uses beside an author's: refused where they are declared, or no matter at all."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform import Column, FeatureTable, LabelSpine, SilverTable, Source
from mlplatform.errors import ConfigError
from mlplatform.ingest.source import INGESTED_AT, RESCUED
from mlplatform.protocols.landing import LANDED_CORRUPT, LANDED_FILE, LANDED_ORDER
from mlplatform.refine.expectations import REASONS, Expectation, over_landed
from mlplatform.refine.silver import BATCH, CORRECTED_AT, DELIVERY
from mlplatform.refine.spine import LABEL_KNOWN_AT


class Landed(Source):
    files = "x/*.csv"
    columns = ("id", "day")


def silver(name: str) -> type:
    class Cases(SilverTable):
        source = Landed
        keys = ("id",)
        columns = (Column("id", "string", "Number"), Column(name, "double", "Odd", sql="id"))

    return Cases


def features(name: str) -> type:
    class Odd(FeatureTable):
        keys = ("id",)
        timeseries_column = "known_at"
        inputs = ("silver_cases",)
        columns = (Column("id", "string", "Number"), Column(name, "double", "Odd"))

    return Odd


def spine(name: str) -> type:
    class Odd(LabelSpine):
        label = "late"
        key_columns = (Column("id", "string", "Number"), Column("at", "timestamp", "Time"))
        columns = (Column(name, "double", "Odd"),)

        def labels(self, ws: Any) -> Any:
            raise NotImplementedError

    return Odd


def key(name: str) -> type:
    class Odd(LabelSpine):
        label = "late"
        key_columns = (Column(name, "string", "Number"), Column("at", "timestamp", "Time"))
        columns = ()

        def labels(self, ws: Any) -> Any:
            raise NotImplementedError

    return Odd


def source(name: str) -> type:
    class Odd(Source):
        files = "x/*.csv"
        columns = ("id", name)

    return Odd


ANYWHERE = ("__rows", "__nth", "__raw", "__ours", "__Landed_Text", "__row", "__key_id", "__not_finite")


@pytest.mark.parametrize(
    ("declare", "name"),
    [
        *((declare, name) for declare in (source, silver, features, spine, key) for name in ANYWHERE),
        *((source, name) for name in (*DELIVERY, INGESTED_AT, RESCUED, LANDED_FILE, LANDED_ORDER, LANDED_CORRUPT)),
        *((silver, name) for name in (*DELIVERY, BATCH, CORRECTED_AT, REASONS, REASONS.upper())),
        *((spine, name) for name in (LABEL_KNOWN_AT, "_label", "_before")),
        *(
            (key, name)
            for name in (LABEL_KNOWN_AT, "_label", "prediction", "model_version", "alias", "as_of", "run_id")
        ),
    ],
)
def test_a_name_of_ours_is_refused_where_it_is_declared(declare, name):
    with pytest.raises(ConfigError, match=name.lower() if declare is source else name) as raised:
        declare(name)
    assert raised.value.hint


@pytest.mark.parametrize("declare", [source, silver, features, spine, key])
@pytest.mark.parametrize(
    "name", ["raw", "reason", "content", "rows", "_id", "_index", "t_id", "batch", "count", "kind"]
)
def test_other_names_are_the_authors(declare, name):
    assert declare(name)


@pytest.mark.parametrize(
    ("condition", "read"),
    [
        ("raw.amount > 0", "__raw.amount > 0"),
        ("RAW . `Amount (€)` IS NULL", "__raw . `Amount (€)` IS NULL"),
        ("`raw`.amount = raw", "__raw.amount = raw"),
        (
            "straw.amount = 'raw.x' OR x.raw.y OR \"raw.z\" = `raw.a`",
            "straw.amount = 'raw.x' OR x.raw.y OR \"raw.z\" = `raw.a`",
        ),
        ("x = 'it''s raw.x' AND raw.x = 'a\\'b raw.y'", "x = 'it''s raw.x' AND __raw.x = 'a\\'b raw.y'"),
        ("coalesce(raw.x,raw.y)", "coalesce(__raw.x,__raw.y)"),
    ],
)
def test_landed_text_is_read_under_a_name_that_no_column_has(condition, read):
    assert over_landed(Expectation("e", condition), "__raw") == Expectation("e", read)


def test_what_becomes_of_a_number_that_is_none_is_one_of_two_words():
    with pytest.raises(ConfigError, match="not_finite is 'nul'") as raised:
        Column("a", "double", "A", not_finite="nul")  # type: ignore[arg-type]
    assert "null" in (raised.value.hint or "")

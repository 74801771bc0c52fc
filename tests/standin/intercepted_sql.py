"""The seam's stand-in: statements that only Databricks knows are kept as text, and told to the stand-in server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.standin import documented_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from tests.standin.metastore import Metastore

_NAME = r"((?:`[^`]+`|[\w-]+)(?:\.(?:`[^`]+`|[\w-]+))*)"
_KEY = re.compile(rf"ALTER TABLE {_NAME} ADD CONSTRAINT {_NAME} PRIMARY KEY \((.*)\)", re.IGNORECASE | re.DOTALL)
_NO_KEY = re.compile(rf"ALTER TABLE {_NAME} DROP PRIMARY KEY IF EXISTS", re.IGNORECASE)
_KEY_COLUMN = re.compile(r"(`[^`]+`|[^\s,`]+)(\s+TIMESERIES)?", re.IGNORECASE)
_SET = re.compile(rf"ALTER (TABLE|VIEW|SCHEMA|VOLUME) {_NAME} SET TAGS \((.*)\)", re.IGNORECASE | re.DOTALL)
_UNSET = re.compile(rf"ALTER (TABLE|VIEW|SCHEMA|VOLUME) {_NAME} UNSET TAGS \((.*)\)", re.IGNORECASE | re.DOTALL)
_GRANT = re.compile(rf"(GRANT|REVOKE) (.+) ON (\w+) {_NAME} (?:TO|FROM) `((?:[^`]|``)+)`", re.IGNORECASE | re.DOTALL)
_FUNCTION = re.compile(
    rf"CREATE OR REPLACE FUNCTION {_NAME}\s*\((.*?)\)\s*RETURNS\s+(.+?)\s+LANGUAGE PYTHON\b.*?AS\s+(\$\w*\$)(.*)\4\s*",
    re.IGNORECASE | re.DOTALL,
)
_TEXT = r"'((?:[^'\\]|\\.|'')*)'"


class InterceptedSql:
    """A `UnitySql` for open-source Spark.

    Attributes:
        statements: Every statement, as it was given.
        streams: (path, options, schema) of every stream that was read.
    """

    def __init__(self, spark: Callable[[], SparkSession], metastore: Metastore) -> None:
        self._spark, self._metastore = spark, metastore
        self.statements: list[str] = []
        self.streams: list[tuple[str, dict[str, str], str]] = []

    def execute(self, statement: str) -> None:
        """Keep a statement, and tell of what it does.

        Raises:
            SqlRefusedError: If Databricks' documentation does not have it.
            AssertionError: If it has, and the tests do not know what it would do.
        """
        documented_sql.check(statement)
        self.statements.append(statement)
        text = statement.strip().rstrip(";")
        known = self._metastore
        if match := _KEY.fullmatch(text):
            parts = _KEY_COLUMN.findall(match[3])
            columns = [_bare(column) for column, _ in parts]
            timeseries = [_bare(column) for column, mark in parts if mark]
            known.set_primary_key(_bare(match[1]), columns, next(iter(timeseries), None), _bare(match[2]))
        elif match := _NO_KEY.fullmatch(text):
            known.drop_primary_key(_bare(match[1]))
        elif match := _SET.fullmatch(text):
            for key, value in re.findall(rf"{_TEXT}\s*=\s*{_TEXT}", match[3]):
                known.set_tag(_kind(match[1]), _bare(match[2]), _text(key), _text(value))
        elif match := _UNSET.fullmatch(text):
            for key in re.findall(_TEXT, match[3]):
                known.unset_tag(_kind(match[1]), _bare(match[2]), _text(key))
        elif match := _GRANT.fullmatch(text):
            change = known.grant if match[1].upper() == "GRANT" else known.revoke
            principal = match[5].replace("``", "`")
            change(match[3], _bare(match[4]), principal, [part.strip() for part in match[2].split(",")])
        elif match := _FUNCTION.fullmatch(text):
            parameters = [(_bare(name), kind) for name, kind in _split_parameters(match[2])]
            comment = re.search(rf"\bCOMMENT {_TEXT}\s+AS ", text)
            known.add_function(
                _bare(match[1]), parameters, match[3].strip(), match[5], _text(comment[1]) if comment else ""
            )
        else:
            raise AssertionError(f"Not a statement that the tests know; open-source Spark does not either: {statement}")

    def read_stream(self, path: str, options: Mapping[str, str], schema: str) -> DataFrame:
        """Return open-source Spark's stream of the folder, with what Auto Loader would add."""
        from pyspark.sql import functions as F  # noqa: N812

        self.streams.append((path, dict(options), schema))
        # Auto Loader's own options go; what the format knows (header, quotes, globs, corrupt records) stays.
        known = {key: value for key, value in options.items() if not key.startswith("cloudFiles.")}
        rescued = known.pop("rescuedDataColumn", options.get("cloudFiles.rescuedDataColumn"))
        kind = options["cloudFiles.format"]
        stream = self._spark().readStream.format(kind).options(**known).schema(schema).load(path)
        # `_metadata` comes of itself: a hidden column of every file source.
        return stream if rescued is None else stream.withColumn(rescued, F.lit(None).cast("string"))


def _kind(word: str) -> str:
    return {"TABLE": "tables", "VIEW": "tables", "SCHEMA": "schemas", "VOLUME": "volumes"}[word.upper()]


def _bare(name: str) -> str:
    return name.strip().replace("`", "")


def _text(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal.replace("''", "'"))


def _split_parameters(text: str) -> list[tuple[str, str]]:
    """Split at the commas that stand in no brackets: `m MAP<STRING, INT>` is one parameter."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(f"{text},"):
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    found: list[Any] = [part.split(None, 1) for part in parts if part]
    return [(name, kind.strip()) for name, kind in found]

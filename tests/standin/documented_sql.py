"""Databricks' SQL as its documentation has it, restated by hand: what the platform sends is held against this.

Not made from the platform's own statements: each rule is the syntax of the page that is named beside it, as far as the
platform could ever need it (pages below docs.databricks.com/sql/language-manual/, but where another place is named).
`check` refuses what no rule has, as the service's parser would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<dollars>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)|(?P<quoted>`(?:[^`]|``)+`)"
    r"|(?P<text>'(?:[^'\\]|\\.|'')*')|(?P<number>\d+(?:\.\d+)?(?![\w]))|(?P<word>\w+)|(?P<symbol>[^\s\w])",
    re.DOTALL,
)


class SqlRefusedError(Exception):
    """A statement that the documentation does not have."""


@dataclass(frozen=True)
class Token:
    """One token: its kind, by the names of the groups above, and its text."""

    kind: str
    text: str


Rule = Callable[[list[Token], int], Iterator[int]]
"""Gives every place up to which it can take the tokens from a place on."""


def tokens(statement: str) -> list[Token]:
    """Cut a statement into its tokens; a trailing semicolon is none."""
    found, place = [], 0
    statement = statement.rstrip().removesuffix(";")
    while place < len(statement):
        match = _TOKEN.match(statement, place)
        if match is None:
            raise SqlRefusedError(f"[PARSE_SYNTAX_ERROR] Syntax error at or near {statement[place:]!r}.")
        kind = next(name for name in ("space", "dollars", "quoted", "text", "number", "word", "symbol") if match[name])
        if kind != "space":
            found.append(Token(kind, match[0]))
        place = match.end()
    return found


def words(text: str) -> Rule:
    """Keywords or symbols, in order."""
    wanted = text.split()

    def rule(given: list[Token], at: int) -> Iterator[int]:
        part = given[at : at + len(wanted)]
        if [token.text.upper() for token in part if token.kind in ("word", "symbol")] == wanted:
            yield at + len(wanted)

    return rule


def kind(*names: str) -> Rule:
    """One token of a kind."""

    def rule(given: list[Token], at: int) -> Iterator[int]:
        if at < len(given) and given[at].kind in names:
            yield at + 1

    return rule


def seq(*rules: Rule) -> Rule:
    """All of them, one after the other."""

    def rule(given: list[Token], at: int) -> Iterator[int]:
        if not rules:
            yield at
            return
        for end in rules[0](given, at):
            yield from seq(*rules[1:])(given, end)

    return rule


def alt(*rules: Rule) -> Rule:
    """One of them: the documentation's { a | b }."""

    def rule(given: list[Token], at: int) -> Iterator[int]:
        for one in rules:
            yield from one(given, at)

    return rule


def opt(*rules: Rule) -> Rule:
    """All of them or nothing: the documentation's [ a ]."""
    return alt(seq(*rules), seq())


def listed(one: Rule) -> Rule:
    """One or more, with commas: the documentation's a [, ...]."""

    def rule(given: list[Token], at: int) -> Iterator[int]:
        yield from seq(one, opt(words(","), rule))(given, at)

    return rule


def any_of(*rules: Rule) -> Rule:
    """Any of them, in any order, each at most once."""

    def rule(given: list[Token], at: int) -> Iterator[int]:
        yield at
        for place, one in enumerate(rules):
            for end in one(given, at):
                if end > at:
                    yield from any_of(*rules[:place], *rules[place + 1 :])(given, end)

    return rule


def anything(given: list[Token], at: int) -> Iterator[int]:
    """A query or an expression: Spark's own parser judges it, which the tests run."""
    if at < len(given):
        yield len(given)


# sql-ref-identifiers, sql-ref-names
IDENTIFIER = kind("quoted", "word")
NAME = seq(IDENTIFIER, opt(words("."), IDENTIFIER), opt(words("."), IDENTIFIER))
TEXT = kind("text")
# sql-ref-datatypes
PRIMITIVE = alt(
    *map(
        words,
        ("BIGINT", "BINARY", "BOOLEAN", "BYTE", "DATE", "DOUBLE", "FLOAT", "INT", "INTEGER", "LONG", "REAL", "SHORT",
         "SMALLINT", "STRING", "TIMESTAMP", "TIMESTAMP_NTZ", "TINYINT", "VARIANT"),
    ),
    seq(alt(words("DECIMAL"), words("DEC"), words("NUMERIC")), opt(words("("), listed(kind("number")), words(")"))),
)  # fmt: skip


def TYPE(given: list[Token], at: int) -> Iterator[int]:  # noqa: N802  (a rule like the others; it calls itself)
    """A type: sql-ref-datatypes, array-type, map-type, struct-type."""
    field = seq(IDENTIFIER, opt(words(":")), TYPE, opt(words("NOT NULL")), opt(words("COMMENT"), TEXT))
    array = seq(words("ARRAY <"), TYPE, words(">"))
    mapping = seq(words("MAP <"), TYPE, words(","), TYPE, words(">"))
    struct = seq(words("STRUCT <"), listed(field), words(">"))
    yield from alt(PRIMITIVE, array, mapping, struct)(given, at)


# sql-ref-privileges: which privileges there are; "Privileges and securable objects in Unity Catalog"
PRIVILEGES = (
    "ALL PRIVILEGES", "APPLY TAG", "BROWSE", "CREATE CATALOG", "CREATE CONNECTION", "CREATE EXTERNAL LOCATION",
    "CREATE EXTERNAL TABLE", "CREATE EXTERNAL VOLUME", "CREATE FUNCTION", "CREATE MANAGED STORAGE",
    "CREATE MATERIALIZED VIEW", "CREATE MODEL", "CREATE MODEL VERSION", "CREATE SCHEMA", "CREATE SHARE",
    "CREATE TABLE", "CREATE VOLUME", "EXECUTE", "EXTERNAL USE LOCATION", "EXTERNAL USE SCHEMA", "MANAGE", "MODIFY",
    "READ FILES", "READ VOLUME", "REFRESH", "SELECT", "USE CATALOG", "USE CONNECTION", "USE SCHEMA", "WRITE FILES",
    "WRITE VOLUME",
)  # fmt: skip
# The same page's syntax of `securable_object`. There is no MODEL: "MLflow registered models are a specific type of
# function; when you use SQL to grant privileges on a model, you use GRANT ON FUNCTION", says
# data-governance/unity-catalog/manage-privileges/privileges ("Unity Catalog privileges and securable objects").
SECURABLE = alt(
    seq(words("CATALOG"), opt(NAME)),
    seq(
        alt(
            *map(
                words,
                ("CONNECTION", "CLEAN ROOM", "EXTERNAL LOCATION", "EXTERNAL METADATA", "FUNCTION", "PROCEDURE",
                 "SCHEMA", "DATABASE", "SHARE", "STORAGE CREDENTIAL", "SERVICE CREDENTIAL", "CREDENTIAL", "TABLE",
                 "MATERIALIZED VIEW", "VIEW", "VOLUME"),
            )
        ),
        NAME,
    ),
    words("METASTORE"),
)  # fmt: skip
# data-governance/unity-catalog/access-control/privileges-reference: what may be granted on what. FUNCTION has what
# functions and registered models have.
APPLICABLE = {
    "TABLE": {"ALL PRIVILEGES", "APPLY TAG", "BROWSE", "MANAGE", "MODIFY", "SELECT"},
    "VOLUME": {"ALL PRIVILEGES", "APPLY TAG", "BROWSE", "MANAGE", "READ VOLUME", "WRITE VOLUME"},
    "FUNCTION": {"ALL PRIVILEGES", "APPLY TAG", "BROWSE", "CREATE MODEL VERSION", "EXECUTE", "MANAGE"},
    "SCHEMA": {
        "ALL PRIVILEGES", "APPLY TAG", "BROWSE", "CREATE FUNCTION", "CREATE MATERIALIZED VIEW", "CREATE MODEL",
        "CREATE MODEL VERSION", "CREATE TABLE", "CREATE VOLUME", "EXECUTE", "EXTERNAL USE SCHEMA", "MANAGE", "MODIFY",
        "READ VOLUME", "REFRESH", "SELECT", "USE SCHEMA", "WRITE VOLUME",
    },
}  # fmt: skip
APPLICABLE["CATALOG"] = APPLICABLE["SCHEMA"] | {"USE CATALOG", "CREATE SCHEMA"}

# security-grant, security-revoke
_PRIVILEGE_TYPES = listed(alt(*map(words, PRIVILEGES)))
GRANT = seq(words("GRANT"), _PRIVILEGE_TYPES, words("ON"), SECURABLE, words("TO"), IDENTIFIER)
REVOKE = seq(words("REVOKE"), _PRIVILEGE_TYPES, words("ON"), SECURABLE, words("FROM"), IDENTIFIER)

# sql-ref-syntax-ddl-alter-table-add-constraint
_OPTION = alt(*map(words, ("NOT ENFORCED", "DEFERRABLE", "INITIALLY DEFERRED", "NORELY", "RELY")))
_PRIMARY_KEY = seq(
    words("PRIMARY KEY ("), listed(seq(IDENTIFIER, opt(words("TIMESERIES")))), words(")"), opt(_OPTION), opt(_OPTION)
)
ADD_CONSTRAINT = seq(words("ADD"), opt(words("CONSTRAINT"), IDENTIFIER), _PRIMARY_KEY)
# sql-ref-syntax-ddl-alter-table-drop-constraint
DROP_CONSTRAINT = seq(words("DROP PRIMARY KEY"), opt(words("IF EXISTS")), opt(alt(words("RESTRICT"), words("CASCADE"))))
# sql-ref-syntax-ddl-alter-table, also -alter-view, -alter-schema, -alter-volume
SET_TAGS = seq(words("SET TAGS ("), listed(seq(TEXT, words("="), TEXT)), words(")"))
UNSET_TAGS = seq(words("UNSET TAGS ("), listed(TEXT), words(")"))
_PROPERTY = seq(alt(TEXT, IDENTIFIER), words("="), alt(TEXT, kind("number"), IDENTIFIER))
SET_PROPERTIES = seq(words("SET TBLPROPERTIES ("), listed(_PROPERTY), words(")"))
_COLUMN = seq(IDENTIFIER, TYPE, any_of(words("NOT NULL"), seq(words("COMMENT"), TEXT)))
# sql-ref-syntax-ddl-alter-table-add-column
ADD_COLUMNS = seq(alt(words("ADD COLUMN"), words("ADD COLUMNS")), words("("), listed(_COLUMN), words(")"))
# sql-ref-syntax-ddl-alter-table-manage-column, "ALTER COLUMN clause"; TYPE also on the page delta/type-widening
ALTER_COLUMN = seq(
    words("ALTER COLUMN"), IDENTIFIER,
    alt(seq(words("TYPE"), TYPE), seq(words("COMMENT"), TEXT), words("SET NOT NULL"), words("DROP NOT NULL")),
)  # fmt: skip
_TABLE_CLAUSE = alt(
    ADD_CONSTRAINT, DROP_CONSTRAINT, SET_TAGS, UNSET_TAGS, SET_PROPERTIES, ADD_COLUMNS, ALTER_COLUMN
)  # fmt: skip
ALTER = seq(
    words("ALTER"),
    alt(
        seq(words("TABLE"), NAME, _TABLE_CLAUSE),
        seq(alt(words("VIEW"), words("SCHEMA"), words("VOLUME")), NAME, alt(SET_TAGS, UNSET_TAGS)),
    ),
)

# sql-ref-syntax-ddl-create-sql-function: "CREATE FUNCTION (SQL and Python)"; a Python function returns a scalar, and
# its body is a dollar-quoted string
_PARAMETER = seq(IDENTIFIER, TYPE, opt(words("COMMENT"), TEXT))
CREATE_FUNCTION = seq(
    words("CREATE"), opt(words("OR REPLACE")), opt(words("TEMPORARY")), words("FUNCTION"), opt(words("IF NOT EXISTS")),
    NAME, words("("), opt(listed(_PARAMETER)), words(")"), words("RETURNS"), TYPE,
    any_of(
        words("LANGUAGE PYTHON"), alt(words("DETERMINISTIC"), words("NOT DETERMINISTIC")), seq(words("COMMENT"), TEXT),
        alt(words("CONTAINS SQL"), words("READS SQL DATA")),
    ),
    words("AS"), kind("dollars"),
)  # fmt: skip

# sql-ref-syntax-ddl-create-schema
CREATE_SCHEMA = seq(
    words("CREATE"), alt(words("SCHEMA"), words("DATABASE")), opt(words("IF NOT EXISTS")), NAME,
    any_of(seq(words("COMMENT"), TEXT), seq(words("MANAGED LOCATION"), TEXT)),
)  # fmt: skip
# sql-ref-syntax-ddl-create-table-using and, for CLUSTER BY, sql-ref-syntax-ddl-cluster-by
_CLUSTER_BY = seq(words("CLUSTER BY"), alt(seq(words("("), listed(NAME), words(")")), words("AUTO"), words("NONE")))
CREATE_TABLE = seq(
    words("CREATE"), opt(words("EXTERNAL")), words("TABLE"), opt(words("IF NOT EXISTS")), NAME,
    words("("), listed(_COLUMN), opt(words(","), opt(words("CONSTRAINT"), IDENTIFIER), _PRIMARY_KEY), words(")"),
    opt(words("USING DELTA")),
    any_of(
        seq(words("PARTITIONED BY ("), listed(IDENTIFIER), words(")")), _CLUSTER_BY, seq(words("COMMENT"), TEXT),
        seq(words("TBLPROPERTIES ("), listed(_PROPERTY), words(")")),
    ),
)  # fmt: skip
# sql-ref-syntax-ddl-create-view
CREATE_VIEW = seq(
    words("CREATE"), opt(words("OR REPLACE")), opt(words("TEMPORARY")), words("VIEW"), opt(words("IF NOT EXISTS")),
    NAME, any_of(seq(words("COMMENT"), TEXT), seq(words("TBLPROPERTIES ("), listed(_PROPERTY), words(")"))),
    words("AS"), anything,
)  # fmt: skip
# sql-ref-syntax-ddl-drop-table, delta-describe-history (with LIMIT: delta/history), delta-describe-table
DROP_TABLE = seq(words("DROP TABLE"), opt(words("IF EXISTS")), NAME)
DESCRIBE = seq(
    alt(words("DESCRIBE"), words("DESC")),
    alt(seq(words("HISTORY"), NAME, opt(words("LIMIT"), kind("number"))), seq(words("DETAIL"), NAME)),
)
# delta-merge-into, delta-delete-from: conditions and values are Spark's to judge
MERGE = seq(words("MERGE INTO"), NAME, anything)
DELETE = seq(words("DELETE FROM"), NAME, opt(words("WHERE"), anything))
SELECT = seq(words("SELECT"), anything)

STATEMENTS = (
    GRANT, REVOKE, ALTER, CREATE_FUNCTION, CREATE_SCHEMA, CREATE_TABLE, CREATE_VIEW, DROP_TABLE, DESCRIBE, MERGE,
    DELETE, SELECT,
)  # fmt: skip
MOST_CLUSTERING_COLUMNS = 4  # page delta/clustering


def check(statement: str) -> None:
    """Refuse a statement that the documentation does not have.

    Raises:
        SqlRefusedError: If it is of no form that is documented, or grants what cannot be granted there.
    """
    given = tokens(statement)
    if not any(end == len(given) for rule in STATEMENTS for end in rule(given, 0)):
        raise SqlRefusedError(f"[PARSE_SYNTAX_ERROR] No documented statement reads so: {statement}")
    if given[0].text.upper() in ("GRANT", "REVOKE"):
        _check_privileges(statement)
    clustered = re.search(r"\bCLUSTER BY \(([^)]*)\)", statement)
    if clustered and clustered[1].count(",") >= MOST_CLUSTERING_COLUMNS:
        raise SqlRefusedError(f"[DELTA_CLUSTER_BY_INVALID_NUM_COLUMNS] More than four: {clustered[1]}")
    key = re.search(r"PRIMARY KEY \(([^)]*)\)", statement)
    if key and len(re.findall(r"\bTIMESERIES\b", key[1])) > 1:
        raise SqlRefusedError(f"[PARSE_SYNTAX_ERROR] A key has one time at most: {key[1]}")


def _check_privileges(statement: str) -> None:
    match = re.fullmatch(r"(?:GRANT|REVOKE)\s+(.+?)\s+ON\s+(\w+)\b.*", statement, re.IGNORECASE | re.DOTALL)
    assert match is not None
    securable = {"DATABASE": "SCHEMA", "VIEW": "TABLE"}.get(match[2].upper(), match[2].upper())
    for privilege in re.split(r"\s*,\s*", match[1].upper()):
        if securable in APPLICABLE and privilege not in APPLICABLE[securable]:
            raise SqlRefusedError(f"[INVALID_PARAMETER_VALUE] Privilege {privilege} is not applicable to {securable}.")

"""Numbers as files write them: the SQL that reads `1.234,50`, `$150,000.00`, `(12.50)` or `40%`, and nothing else.

What is not written as declared becomes null, never another number: `12,50` is not 1250, `02134` is a code, and `NaN`,
`inf` and `1e400` are no numbers. The patterns are those of Python, Java and Rust alike: both engines read the same.
"""

from __future__ import annotations

from unicodedata import category

from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import Dialect

# What other programs write where a number is missing, or could not be computed.
NO_NUMBER = frozenset(
    {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "#div/0!", "#value!", "#ref!", "#num!"}
    | {f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity")}
)
SPACES = " \u00a0\u202f\u2009\t"
_BLANKS = f"[{SPACES}]*"
_MINUS = "[-\u2212]"
# Beyond sixteen digits two whole numbers can be one to the computer.
_WHOLE = "(0|[1-9][0-9]{0,15})"
_GROUPING = {"": "", ",": "[,]", ".": "[.]", " ": f"[{SPACES}]", "'": "['\u2019]"}
_DECIMAL = {".": "[.]", ",": "[,]"}
_PLAIN = f"^[+-]?({_WHOLE}([.][0-9]*)?|[.][0-9]+)$"
# Without a point or a sign before its digits an exponent is more likely a code, such as 12E3.
_SCIENTIFIC = f"^[+-]?({_WHOLE}[.][0-9]*[eE][+-]?|{_WHOLE}[eE][+-])[0-9]{{1,2}}$"


def number_pattern(unit: str = "", thousands: str = "", decimal: str = ".") -> str:
    """Return the regular expression of a number's text, without blanks around it.

    Args:
        unit: What may stand before or after it, as in `$`, `%` or `kg`.
        thousands: What separates thousands: `,`, `.`, a blank (any), `'`, or nothing.
        decimal: What separates decimals: `.` or `,`.

    Raises:
        UsageError: If a separator is none of these, both are the same, or the unit holds other signs.
    """
    if thousands not in _GROUPING or decimal not in _DECIMAL or thousands == decimal:
        raise UsageError(
            f"{thousands!r} and {decimal!r} do not separate the thousands and decimals of a number.",
            hint="Thousands: ',', '.', ' ', \"'\" or ''; decimals: '.' or ','.",
        )
    if not all(letter.isalpha() or letter in "%‰°./" or category(letter) == "Sc" for letter in unit):
        raise UsageError(f"{unit!r} is no unit.", hint="Letters, currency signs, %, and / or . between them.")
    if not unit and not thousands and decimal == ".":
        return f"({_PLAIN}|{_SCIENTIFIC})"
    whole, point = _WHOLE, _DECIMAL[decimal]
    if thousands:
        mark = _GROUPING[thousands]
        grouped = f"[1-9][0-9]{{0,2}}({mark}[0-9]{{3}}){{1,4}}"
        if thousands == ",":  # 12,34,567.80, as India writes it
            grouped += "|[1-9][0-9]?(,[0-9]{2}){1,5},[0-9]{3}"
        whole = f"({grouped}|{_WHOLE})"
    body = f"({whole}({point}[0-9]*)?|{point}[0-9]+)"
    sign = f"({_MINUS}{_BLANKS}|[+])?"
    if not unit:
        return f"^({sign}{body}|{body}{_BLANKS}{_MINUS}|[(]{body}[)])$"
    mark = _literally(unit)
    before, after = f"({mark}{_BLANKS})?", f"({_BLANKS}{mark})?"
    plain = f"{before}{body}{after}"
    return f"^({sign}{before}{sign}{body}{after}|{plain}{_BLANKS}{_MINUS}|[(]{plain}[)])$"


def number_sql(
    landed: str, *, unit: str = "", thousands: str = "", decimal: str = ".", dialect: Dialect | None = None
) -> str:
    """Return the SQL that reads a landed column as a double; null where it is not written so.

    Args:
        landed: The landed column, as it stands in SQL.
        unit: What may stand before or after the number, as in `$`, `%` or `kg`. It is taken off: `40%` is 40.
        thousands: What separates thousands: `,`, `.`, a blank (any), `'`, or nothing.
        decimal: What separates decimals: `.` or `,`.
        dialect: The source's, which says both; instead of `thousands` and `decimal`.

    Raises:
        UsageError: If a separator is none of these, both are the same, the unit holds other signs, or separators are
            given beside a dialect.

    Examples:
        >>> number_sql("age").startswith("CASE WHEN trim(age) RLIKE")
        True
        >>> "try_cast" in number_sql("`Amount (€)`", thousands=".", decimal=",")
        True
        >>> brazilian = Dialect(delimiter=";", thousands=".", decimal=",")
        >>> number_sql("valor", dialect=brazilian) == number_sql("valor", thousands=".", decimal=",")
        True
    """
    if dialect is not None:
        if (thousands, decimal) != ("", "."):
            raise UsageError(
                f"number_sql({landed!r}) is given a dialect, and separators beside it.", hint="Give one of both."
            )
        thousands, decimal = dialect.thousands, dialect.decimal
    pattern = number_pattern(unit, thousands, decimal)
    if not unit and not thousands and decimal == ".":
        text = f"trim({landed})"
        return f"CASE WHEN {text} RLIKE '{pattern}' THEN try_cast({text} AS double) END"
    text, digits = _bare(landed, unit, decimal)
    sign = f"CASE WHEN {text} RLIKE '[(]|{_MINUS}' THEN -1 ELSE 1 END"
    return f"CASE WHEN {text} RLIKE '{_quoted(pattern)}' THEN {sign} * try_cast({digits} AS double) END"


def digits_sql(landed: str, dialect: Dialect) -> str:
    """Return the SQL that rewrites a landed number as a program writes it, digit by digit; null where it is none.

    Args:
        landed: The landed column, as it stands in SQL.
        dialect: Says how numbers are written.
    """
    text, digits = _bare(landed, "", dialect.decimal)
    sign = f"CASE WHEN {text} RLIKE '[(]|{_MINUS}' THEN '-' ELSE '' END"
    pattern = _quoted(number_pattern("", dialect.thousands, dialect.decimal))
    return f"CASE WHEN {text} RLIKE '{pattern}' THEN concat({sign}, {digits}) END"


def _bare(landed: str, unit: str, decimal: str) -> tuple[str, str]:
    """Return the SQL of a number's text without blanks around it, and of its digits with a point."""
    text = f"regexp_replace({landed}, '^[{SPACES}]+|[{SPACES}]+$', '')"
    # The unit goes first: it may hold a point, as in Rs. 500.
    bare = f"regexp_replace({text}, '{_literally(unit)}', '')" if unit else text
    return text, f"regexp_replace(regexp_replace({bare}, '[^0-9{decimal}]', ''), '[{decimal}]', '.')"


def _quoted(pattern: str) -> str:
    return pattern.replace("['", "[\\'")


def present_sql(landed: str) -> str:
    """Return the condition that a landed column holds something: it is not empty, NA, null, or the like.

    Args:
        landed: The landed column, as it stands in SQL.

    Examples:
        >>> present_sql("`Age`").startswith("coalesce(lower(trim(`Age`)) NOT IN")
        True
    """
    words = ", ".join(f"'{word}'" for word in sorted(NO_NUMBER))
    return f"coalesce(lower(trim({landed})) NOT IN ({words}), false)"


def readable_sql(column: str, landed: str) -> str:
    """Return the condition of an expectation: the number was read, or is missing in the file.

    Args:
        column: The silver table's column, as it stands in SQL.
        landed: The landed column, as it stands in SQL; without `raw`.

    Examples:
        >>> readable_sql("age", "`Age`").startswith("age IS NOT NULL OR NOT coalesce(lower(trim(raw.`Age`))")
        True
    """
    return f"{column} IS NOT NULL OR NOT {present_sql(f'raw.{landed}')}"


def _literally(unit: str) -> str:
    return "".join(letter if letter.isalpha() else f"[{letter}]" for letter in unit)

"""How a column's numbers are written: plain, with thousands, a decimal comma, a currency, percent; or that it is codes.

A plain column is a number only if each text is what its number would be written as: `02134`, nineteen digits and `12E3`
are codes, and two texts that would become one number are kept apart as text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from unicodedata import category

from mlplatform.refine.numbers import NO_NUMBER, SPACES, number_pattern

_CURRENCIES = frozenset(
    "USD EUR GBP CHF JPY CNY INR BRL CAD AUD NZD SEK NOK DKK PLN CZK HUF MXN ZAR SGD HKD KRW TRY "  # noqa: SIM905
    "US$ R$ A$ C$ CA$ AU$ NZ$ HK$ S$ MX$ Fr. Rs Rs. kr Kr zł Kč Ft RM".split()
)
_FORMS = ((",", "."), ("", ","), (".", ","), (" ", ","), (" ", "."), ("'", "."), ("'", ","), ("", "."))
_NUMERAL = re.compile(rf"[0-9](?:[0-9.,'\u2019{SPACES}]*[0-9])?[.,]?|[.,][0-9]+")
_LONG_UNIT = 5
_EXACT, _LONGEST = 2**53, 20
_EXACT_DIGITS = 16  # the least that a number beyond has
_GROUPED = 4
_LONG_EXAMPLE = 40
_MOSTLY = 0.9
_ALIKE = str.maketrans("23456789", "11111111")


@dataclass(frozen=True)
class Form:
    """How the numbers of a column are written.

    Attributes:
        unit: What stands before or after each.
        thousands: What separates thousands.
        decimal: What separates decimals.
        doubt: What can be read in two ways, and how it is read; empty: nothing can.
    """

    unit: str = ""
    thousands: str = ""
    decimal: str = "."
    doubt: str = ""

    @property
    def plain(self) -> bool:
        """Whether the text is as a program would write the number."""
        return not self.unit and not self.thousands and self.decimal == "."

    def value(self, text: str) -> float:
        """Return the number that a text of this form says."""
        if self.plain:
            return float(text)
        digits = text.replace(self.unit, "") if self.unit else text
        number = float(re.sub(rf"[^0-9{self.decimal}]", "", digits).replace(self.decimal, "."))
        return -number if re.search("[(\u2212-]", text) else number


@dataclass(frozen=True)
class NoNumber:
    """Why a column that looks like numbers is not one of numbers; empty: it does not look like numbers."""

    why: str = ""


def form_of(texts: Iterable[str], decimals: Collection[str] = ()) -> Form | NoNumber:
    """Return how the numbers are written, or why they are none.

    Args:
        texts: The column's texts, none missing.
        decimals: Decimal separators of the file's other columns: where this one can be read in two ways.

    Examples:
        >>> form_of(["1.234,50", "7,5"])
        Form(unit='', thousands='.', decimal=',', doubt='')
        >>> form_of(["02134", "94105"]).why
        'leading zeros, as in 02134: codes'
    """
    # As Spark's trim, which leaves other blanks: they are for the longer form to take off.
    all_trimmed = sorted({text.strip(" ") for text in texts})
    trimmed = _one_of_each_shape(all_trimmed)
    values = _without_blanks(trimmed)
    if not values:
        return NoNumber()
    if code := _code(values):
        return NoNumber(code)
    plain = re.compile(number_pattern())
    if all(plain.search(value) for value in trimmed if value.lower() not in NO_NUMBER):
        return _alike(_without_blanks(all_trimmed)) or _doubtful_plain(values, decimals)
    unit = _unit(values)
    if unit is None:
        return NoNumber(_almost(_without_blanks(all_trimmed), plain))
    forms = [
        Form(unit, *marks) for marks in _FORMS if (unit or marks != ("", ".")) and _reads(Form(unit, *marks), values)
    ]
    return _chosen(forms, values, decimals) if forms else NoNumber(_almost(_without_blanks(all_trimmed), plain))


def _without_blanks(trimmed: Iterable[str]) -> list[str]:
    return sorted({text.strip(SPACES) for text in trimmed if text.lower() not in NO_NUMBER} - {""})


def _one_of_each_shape(values: list[str]) -> list[str]:
    """Return one of the texts that differ in nothing but digits other than 0: they are written in the same form.

    A wide file has millions of texts, and few shapes of them. Of long ones each counts: which number it is says whether
    it is exact.
    """
    shapes: dict[str, str] = {}
    for value in values:
        shapes.setdefault(value.translate(_ALIKE) if len(value) < _EXACT_DIGITS else value, value)
    return list(shapes.values())


def _code(values: list[str]) -> str:
    """Why texts of digits are codes."""
    for value in values:
        if re.fullmatch(r"[+-]?0[0-9]+", value):
            return f"leading zeros, as in {value:.{_LONG_EXAMPLE}}: codes"
        if re.fullmatch(r"[0-9]+[eE][0-9]+", value):
            return f"letters, as in {value:.{_LONG_EXAMPLE}}: codes"
        if re.fullmatch(r"[+-]?[0-9]+", value) and (len(value) > _LONGEST or abs(int(value)) >= _EXACT):
            return f"more digits than a number keeps apart, as in {value:.{_LONG_EXAMPLE}}: codes"
    if all(re.fullmatch(r"[+][0-9]+", value) for value in values):
        return f"a sign before each, as in {values[0]}: codes"
    if all(re.fullmatch(r"[0-9]+[eE][+-]?[0-9]+", value) for value in values):
        return f"letters, as in {values[0]}: codes"
    return ""


def _alike(values: list[str]) -> NoNumber | None:
    """Texts that differ and would be one number: unless it is a whole number, such as 5 and 5.0."""
    seen: dict[float, str] = {}
    for value in values:
        number = float(value)
        if number in seen and not number.is_integer():
            return NoNumber(f"{seen[number]} and {value} would be one number: versions or codes")
        seen[number] = value
    return None


def _doubtful_plain(values: list[str], decimals: Collection[str]) -> Form:
    german = Form("", ".", ",")
    if set(decimals) == {","} and any("." in value for value in values) and _reads(german, values):
        example = next(value for value in values if "." in value)
        return replace(german, doubt=f"{example} is read as {german.value(example):g}, as the file has decimal commas")
    return Form()


def _unit(values: list[str]) -> str | None:
    """What stands beside every number: one unit or none; None if there are several, or there is no number."""
    units: set[str] = set()
    for value in values:
        numerals = list(_NUMERAL.finditer(value))
        if len(numerals) != 1:
            return None
        before = value[: numerals[0].start()].strip(f"{SPACES}()+-\u2212")
        behind = value[numerals[0].end() :]
        after = behind.strip(f"{SPACES}()+-\u2212")
        if (before and not _is_currency(before)) or (after and not _is_unit(after, behind)):
            return None
        beside = {unit for unit in (before, after) if unit}
        if len(beside) > 1:
            return None
        # A zero needs no unit; any other number without one may be of another.
        units |= beside or ({""} if re.search("[1-9]", value) else set())
    return units.pop() if len(units) == 1 else ("" if not units else None)


def _is_currency(unit: str) -> bool:
    return unit in _CURRENCIES or (len(unit) == 1 and category(unit) == "Sc")


def _is_unit(unit: str, behind: str) -> bool:
    """A currency, percent, or a few letters after a space: 12A may be a code, 12 km is not."""
    letters = unit.replace("/", "").replace("\u00b0", "")
    short = letters.isalpha() and len(unit) <= _LONG_UNIT and behind[0] in SPACES
    return _is_currency(unit) or unit in ("%", "\u2030") or short


def _reads(form: Form, values: list[str]) -> bool:
    pattern = re.compile(number_pattern(form.unit, form.thousands, form.decimal))
    return all(pattern.search(value) for value in values)


def _chosen(forms: list[Form], values: list[str], decimals: Collection[str]) -> Form | NoNumber:
    """Of the forms that every value has: the one that the other values, else the other columns, speak for."""
    if len({tuple(map(form.value, values)) for form in forms}) == 1:
        usual = "," if set(decimals) == {","} else "."
        forms = [min(forms, key=lambda form: (form.decimal != usual, bool(form.thousands)))]
    # Who separates thousands writes 5,000: where there is a 5000, the comma is a decimal one.
    digits = [re.split("[.,]", re.sub(rf"[^0-9.,{SPACES}]", "", value))[0].strip(SPACES) for value in values]
    if any(len(number) >= _GROUPED and number.isdigit() for number in digits):
        forms = [form for form in forms if not form.thousands] or forms
    choices = {tuple(map(form.value, values)): form for form in reversed(forms)}
    chosen = next((form for form in forms if set(decimals) == {form.decimal}), forms[0])
    uniform = chosen.thousands and not any(chosen.decimal in value for value in values)
    if uniform and not chosen.unit and chosen.thousands != "," and len({len(value) for value in values}) == 1:
        return NoNumber(f"digits in groups, as in {values[0]}: numbers, or codes")
    if len(choices) == 1 or set(decimals) == {chosen.decimal}:
        return chosen
    example = next(value for value in values if len({form.value(value) for form in choices.values()}) > 1)
    others = " or ".join(sorted(f"{form.value(example):g}" for form in choices.values() if form is not chosen))
    return replace(chosen, doubt=f"{example} is read as {chosen.value(example):g}; it may be {others}")


def _almost(values: list[str], plain: re.Pattern[str]) -> str:
    """What keeps a column of numbers from being one, where it is a few values."""
    numbers = [value for value in values if plain.search(value)]
    if len(numbers) >= _MOSTLY * len(values):
        other = next(value for value in values if not plain.search(value))
        return f"numbers, but for {len(values) - len(numbers)} value(s) such as {other!r}"
    if all(len(_NUMERAL.findall(value)) == 1 for value in values) and len({_beside(value) for value in values}) > 1:
        few = sorted({_beside(value) for value in values})
        if len(few) <= _LONG_UNIT:
            return f"numbers of several units ({', '.join(unit or 'none' for unit in few)})"
    return ""


def _beside(value: str) -> str:
    return _NUMERAL.sub("", value).strip(f"{SPACES}()+-\u2212")

"""Spending an error over decisions whose number nobody knows in advance, so that all of a year make one promise.

A test at 5 % that is asked each month is wrong at least once in 46 of 100 years. Alpha spending (Lan and DeMets,
"Discrete Sequential Boundaries for Clinical Trials", Biometrika 1983) gives each test a share of one error, by rules
that do not look at what comes later. Here the tests are of different challengers, on rows that may overlap: nothing is
known of how they hang together, and the shares are simply added up (Bonferroni), which holds whatever they share.

Of what the decisions of the year up to a decision have left, the decision spends a part that grows with the time since
the last one: those who decide once a year do not pay for twelve decisions, and those who decide each month do not spend
all on the first. Any stretch of a year ends with a decision, or after one: up to that, the sum is bounded by its rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlplatform.as_of import Duration

Per = Literal["decision", "year"]
PER_DECISION: Per = "decision"
PER_YEAR: Per = "year"
LEAST_PART, LARGEST_PART, PARTS_A_YEAR = 0.1, 0.5, 3.0
"""A decision spends 3 times the part of a year since the last one of what is left, at least a tenth, at most a half."""
YEAR = Duration.parse("12 months")
_DAYS = 365.25


@dataclass(frozen=True)
class Spent:
    """What an earlier decision spent.

    Attributes:
        as_of: When it was decided, in data time.
        level: The one-sided level of its comparison.
    """

    as_of: datetime
    level: float


@dataclass(frozen=True)
class Spending:
    """The error of one decision, and what it is a part of.

    Attributes:
        per: `decision` or `year`: what `allowed` is for.
        level: The one-sided level of this decision's comparison: the chance to promote a challenger that is no better.
        allowed: The error of all decisions of a year, or of this one.
        spent: What the decisions of the year before this one have spent.
        decisions: How many those are.
    """

    per: Per
    level: float
    allowed: float
    spent: float = 0.0
    decisions: int = 0

    @property
    def left(self) -> float:
        """What is left for decisions after this one, as long as none of the year's grows older than a year."""
        return max(0.0, self.allowed - self.spent - self.level) if self.per == PER_YEAR else 0.0

    @property
    def sentence(self) -> str:
        """Level, what was spent and what is left, in words.

        Examples:
            >>> Spending("year", level=0.0125, allowed=0.05, spent=0.025, decisions=1).sentence
            '1.25% of the 5% a year, 2.5% spent by 1 decision before, 1.25% left'
            >>> Spending("decision", level=0.05, allowed=0.05).sentence
            '5%, as each decision'
        """
        if self.per == PER_DECISION:
            return f"{percent(self.level)}, as each decision"
        several = "decision" if self.decisions == 1 else "decisions"
        return (
            f"{percent(self.level)} of the {percent(self.allowed)} a year, {percent(self.spent)} spent by "
            f"{self.decisions} {several} before, {percent(self.left)} left"
        )


def of_each_decision(allowed: float) -> Spending:
    """Return the spending of a decision that has an error of its own."""
    return Spending(PER_DECISION, allowed, allowed)


def of_the_year(allowed: float, earlier: Iterable[Spent], as_of: datetime) -> Spending:
    """Return the spending of a decision whose error is a part of its year's.

    Args:
        allowed: The error of all decisions of a year; one-sided.
        earlier: What other decisions have spent; those later than `as_of`, or a year before it, do not count.
        as_of: When it is decided, in data time.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> of_the_year(0.05, [], parse_as_of("2024-01-01")).level
        0.025
        >>> before = [Spent(parse_as_of("2024-01-01"), 0.025)]
        >>> round(of_the_year(0.05, before, parse_as_of("2024-02-01")).level, 4)
        0.0064
        >>> of_the_year(0.05, before, parse_as_of("2025-01-01")).level
        0.025
    """
    counted = [item for item in earlier if YEAR.before(as_of) < item.as_of <= as_of]
    spent = sum(item.level for item in counted)
    last = max((item.as_of for item in counted), default=None)
    years = 1.0 if last is None else (as_of - last).total_seconds() / 86_400 / _DAYS
    part = min(LARGEST_PART, max(LEAST_PART, PARTS_A_YEAR * years))
    return Spending(PER_YEAR, part * max(0.0, allowed - spent), allowed, spent, len(counted))


def first_of_the_year(allowed: float) -> Spending:
    """Return the spending of a decision before which none was made within a year.

    Args:
        allowed: The error of all decisions of a year; one-sided.
    """
    return Spending(PER_YEAR, LARGEST_PART * allowed, allowed)


def percent(share: float) -> str:
    """Return a share in percent, with the digits that tell.

    Examples:
        >>> percent(0.05), percent(0.0041667), percent(0.0)
        ('5%', '0.417%', '0%')
    """
    return f"{100 * share:.3g}%"

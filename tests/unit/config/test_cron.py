"""Quartz cron expressions."""

from __future__ import annotations

import pytest

from mlplatform.config import cron
from mlplatform.errors import UsageError


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 6 * * ?",
        "0 30 5 ? * MON-FRI",
        "0 30 5 ? * mon,wed,fri",
        "0 0/15 8-17 * * ?",
        "0 0 3 1 1,4,7,10 ?",
        "0 0 3 L * ?",
        "0 0 3 L-3 * ?",
        "0 0 3 LW * ?",
        "0 0 3 15W * ?",
        "0 0 3 ? * 6L",
        "0 0 3 ? * FRI#2",
        "0 0 3 ? JAN-MAR SUN 2027",
        "*/20 * * * * ? 2026-2030",
        "59 59 23 31 12 ?",
    ],
)
def test_what_quartz_takes_is_taken(expression: str) -> None:
    assert cron.check(expression) == expression


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 6 * * *", "5 fields"),  # as Unix writes it
        ("0 0 6 * * ? 2026 1", "8 fields"),
        ("", "0 fields"),
        ("0 0 6 * * *", "exactly one"),
        ("0 0 6 ? * ?", "exactly one"),
        ("0 0 6 1 * 2", "exactly one"),
        ("60 0 6 * * ?", "second"),
        ("0 60 6 * * ?", "minute"),
        ("0 0 24 * * ?", "hour"),
        ("0 0 6 0 * ?", "day of month"),
        ("0 0 6 32 * ?", "day of month"),
        ("0 0 6 1 13 ?", "month"),
        ("0 0 6 1 JAM ?", "month"),
        ("0 0 6 ? * 0", "day of week"),
        ("0 0 6 ? * 8", "day of week"),
        ("0 0 6 ? * MON#6", "day of week"),
        ("0 0 6 * * ? 1969", "year"),
        ("0 ? 6 * * ?", "minute"),
        ("0 */0 6 * * ?", "minute"),
        ("0 1-  6 * * ?", "minute"),
        ("0 1,,2 6 * * ?", "minute"),
        ("0 -1 6 * * ?", "minute"),
    ],
)
def test_what_quartz_refuses_is_refused_by_field(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cron.check(expression)

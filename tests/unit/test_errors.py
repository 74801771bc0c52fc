"""The tree of errors, and hints that name the nearest right name."""

from __future__ import annotations

import inspect
import pickle

import pytest

from mlplatform import errors
from mlplatform.errors import PlatformError, did_you_mean, nearest

ALL = [
    item
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, Exception) and item is not PlatformError
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_one_of_ours_and_keeps_message_and_hint_apart(kind):
    error = kind("loans is gone.", hint="Run ingest.")
    assert isinstance(error, PlatformError)
    assert (error.message, error.hint) == ("loans is gone.", "Run ingest.")
    assert str(error) == "loans is gone.\nHint: Run ingest."
    assert str(kind("alone")) == "alone"


def test_the_exit_code_tells_misuse_and_no_promotion_from_failure():
    codes = {kind.__name__: kind.exit_code for kind in ALL}
    assert {name for name, code in codes.items() if code == 2} == {"UsageError", "ConfigError"}
    assert {name for name, code in codes.items() if code == 3} == {"NotPromotedError"}
    assert {name for name, code in codes.items() if code == 4} == {"BreakingChangeError"}
    assert set(codes.values()) == {1, 2, 3, 4}


def test_what_a_caller_may_expect_to_be_a_value_error_is_one():
    for kind in (errors.UsageError, errors.ConfigError, errors.TableError, errors.FeatureStoreError):
        assert issubclass(kind, ValueError)


def test_an_error_survives_the_way_back_from_another_process():
    again = pickle.loads(pickle.dumps(errors.TableError("gone")))
    assert (type(again), again.message) == (errors.TableError, "gone")


@pytest.mark.parametrize(
    ("wrong", "known", "hint"),
    [
        ("champoin", ["champion", "challenger"], "Did you mean champion?"),
        ("silver_loan", ["silver_loans", "bronze_loans"], "Did you mean silver_loans or bronze_loans?"),
        ("xyz", ["champion", "challenger"], "Known: challenger, champion."),
        ("xyz", [], "There are none."),
    ],
)
def test_a_hint_names_the_near_names_or_else_all(wrong, known, hint):
    assert did_you_mean(wrong, known) == hint


def test_the_nearest_comes_first_and_at_most_three():
    found = nearest("feature_1", [f"feature_{number}" for number in range(2, 10)] + ["feature_11"])
    assert found[0] == "feature_11"
    assert len(found) == 3

"""What a spine's label has to be, where it names one of several classes."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform import Column, LabelSpine
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError
from mlplatform.refine.class_labels import check_type
from mlplatform.refine.expectations import one_of_sql


def spine(task: str = "multiclass", kind: str = "string", key: str = "loan") -> LabelSpine:
    class Graded(LabelSpine):
        label = "grade"
        label_type = kind
        key_columns = (Column(key, "string", "Number"), Column("at", "timestamp", "Time"))
        columns = ()

        def labels(self, ws: Any) -> Any:
            raise NotImplementedError

    label = {"horizon": "1 day"} | ({"classes": ["a", "b", "c"]} if task == "multiclass" else {})
    given = {"owner": "me", "task": task, "label": label, "gate": {"floor": 1}}
    return Graded(UseCaseSettings.model_validate(given))


@pytest.mark.parametrize("kind", ["string", "int", "bigint", "smallint"])
def test_text_and_whole_numbers_name_a_class(kind):
    check_type(spine(kind=kind))


@pytest.mark.parametrize("kind", ["double", "boolean", "date"])
def test_what_names_no_class_is_refused_with_what_would(kind):
    with pytest.raises(ConfigError, match=f"label_type is '{kind}', and the task is multiclass") as caught:
        check_type(spine(kind=kind))
    assert '"string", or "int"' in caught.value.hint
    check_type(spine("classification", kind))


@pytest.mark.parametrize("key", ["probabilities", "_predicted", "_probability_0"])
def test_what_predictions_of_several_classes_are_called_is_taken_there_alone(key):
    with pytest.raises(ConfigError, match=f"'{key}' is a key or the label"):
        check_type(spine(key=key))
    check_type(spine("classification", "double", key))


def test_classes_are_quoted_for_sql():
    assert one_of_sql("`x`", ["it's", 'a "b"', "back\\slash"]) == "`x` IN ('it\\'s', 'a \"b\"', 'back\\\\slash')"

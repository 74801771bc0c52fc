"""What the files of boosters hold: LightGBM's text, and the JSON of XGBoost and CatBoost.

Each is a description of trees, line by line or value by value, and names nothing to call. A file that holds anything
else is refused, before the library reads it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mlplatform.features.file_contents import check_json, check_text, refused

MOST_BOOSTER = 512 * 1024**2
"""Bytes of a booster; thousands of deep trees have a tenth of it."""

_CATEGORIES = "pandas_categorical:"
_LIGHTGBM = re.compile(
    r"tree|average_output|end of trees|feature_importances:|parameters:|end of parameters|"
    r"[^=\[\]]+=.*|\[\w+: ?.*\]|pandas_categorical:.*|"
)


def check_lightgbm(path: Path) -> None:
    """Look into a model as LightGBM writes it.

    Raises:
        RegistryError: If a line of it is none of the format's.
    """
    lines = check_text(path, most=MOST_BOOSTER).split("\n")
    if lines[:1] != ["tree"] or not any(line.startswith("version=") for line in lines[1:3]):
        raise refused(path, "is no model of LightGBM: it does not begin as one")
    if "end of trees" not in lines:
        raise refused(path, "is no whole model of LightGBM: its trees do not end")
    for number, line in enumerate(lines, start=1):
        if _LIGHTGBM.fullmatch(line) is None:
            raise refused(path, f"is no model of LightGBM: line {number} is {line[:60]!r}")
        if line.startswith(_CATEGORIES) and not _is_json(line.removeprefix(_CATEGORIES)):
            raise refused(path, f"is no model of LightGBM: its categories in line {number} are no JSON")


def check_xgboost(path: Path) -> None:
    """Look into a model as XGBoost writes it in JSON.

    Raises:
        RegistryError: If it is anything else.
    """
    content = check_json(path, most=MOST_BOOSTER)
    if not isinstance(content, dict) or content.keys() != {"learner", "version"}:
        raise refused(path, "is no model of XGBoost: it is not a learner with its version")
    learner = content["learner"]
    if not isinstance(learner, dict) or not {"gradient_booster", "learner_model_param", "objective"} <= learner.keys():
        raise refused(path, "is no model of XGBoost: its learner has no booster, parameters and objective")
    booster = learner["gradient_booster"]
    if not isinstance(booster, dict) or booster.get("name") not in ("gbtree", "gblinear", "dart"):
        raise refused(path, "is no model of XGBoost: its booster is none of trees or linear")


def check_catboost(path: Path) -> None:
    """Look into a model as CatBoost writes it in JSON.

    Raises:
        RegistryError: If it is anything else.
    """
    content = check_json(path, most=MOST_BOOSTER)
    if (
        not isinstance(content, dict)
        or not {"features_info", "model_info", "scale_and_bias"} <= content.keys()
        or not any(isinstance(content.get(name), list | dict) for name in ("oblivious_trees", "trees"))
    ):
        raise refused(path, "is no model of CatBoost: it has no trees with their features and scale")


def _is_json(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return value is None or isinstance(value, list)

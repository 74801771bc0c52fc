"""What follows from a task is said in one place, and asked for everywhere else."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import mlplatform
from mlplatform.errors import ConfigError
from mlplatform.statistics import metrics
from mlplatform.task import TASKS, TaskName, task_of

PACKAGE = Path(mlplatform.__file__).parent


def test_every_name_that_settings_take_is_a_task():
    assert tuple(TASKS) == get_args(TaskName)


def test_every_metric_of_a_task_exists():
    for task in TASKS.values():
        bound = replace(task, level=0.9) if task.predicts_quantile else task
        assert [metric.name for metric in metrics.of(bound)] == list(task.metrics)


def test_a_task_is_found_by_its_name_and_is_itself():
    assert task_of("regression") is task_of(TASKS["regression"])
    with pytest.raises(ConfigError) as caught:
        task_of("regresion")
    assert "regression" in caught.value.hint


def compared_names(tree: ast.AST) -> list[str]:
    """Return the names of tasks that code compares something with."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for part in (node.left, *node.comparators):
                values = part.elts if isinstance(part, (ast.Tuple, ast.List, ast.Set)) else [part]
                found += [value.value for value in values if isinstance(value, ast.Constant)]
    return [name for name in found if name in TASKS]


def test_no_code_compares_the_names_of_tasks():
    assert compared_names(ast.parse("x if task == 'regression' else y")) == ["regression"]
    found = {
        path.name: names
        for path in PACKAGE.rglob("*.py")
        if path.name != "task.py" and (names := compared_names(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
    templates = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.j2")]
    assert not [name for name in TASKS for text in templates if f'== "{name}"' in text]

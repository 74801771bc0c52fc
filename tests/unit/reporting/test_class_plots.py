"""The report of several classes: what is drawn of few and of many, and what it says where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.reporting import plots_classes
from mlplatform.reporting.class_outcomes import ClassOutcomes, ClassStep, reliability
from mlplatform.statistics import class_metrics
from mlplatform.task import TASKS

START = parse_as_of("2024-01-01")


def facts(many: int, rows: int = 900) -> Any:
    classes = tuple(f"class <{number}>" for number in range(many))
    random = np.random.default_rng(2)
    labels = random.choice(many, rows, p=np.linspace(2, 1, many) / np.linspace(2, 1, many).sum()).astype(float)
    logits = random.normal(size=(rows, many)) + 2 * (labels[:, None] == np.arange(many))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    steps = [
        ClassStep(START + timedelta(days=30 * number), rows // 3, tuple(probabilities[number::3].mean(axis=0)))
        for number in range(3)
    ]
    shares = class_metrics.shares(labels[::3], many)
    steps[0] = replace(steps[0], known=rows // 3, observed=tuple(shares))
    outcomes = ClassOutcomes(
        classes=tuple(class_metrics.of_each(classes, labels, probabilities)),
        table=tuple(tuple(map(int, line)) for line in class_metrics.confusion(labels, probabilities)),
        reliability=tuple(reliability(probabilities[:, place], labels == place) for place in range(many)),
        steps=tuple(steps),
        rows=rows,
        sampled=5000,
    )
    return SimpleNamespace(task=replace(TASKS["multiclass"], classes=classes), classes=outcomes)


# Beyond twelve classes others are put together: both sides of that are drawn in every run.
@pytest.mark.parametrize("many", [12, 13, *(pytest.param(many, marks=pytest.mark.slow) for many in (3, 5, 40))])
def test_all_plots_are_drawn_of_few_and_of_many_classes(many):
    drawn = plots_classes.class_plots(facts(many))
    assert [plot.name for plot in drawn] == ["confusion", "class_reliability", "class_shares"]
    for plot in drawn:
        root = ET.fromstring(plot.svg)
        assert root.tag == "svg"
        assert "class <" not in plot.svg, "names are escaped"
        assert not plot.missing
    assert "sample of 900" in drawn[0].caption
    assert ("others" in drawn[0].svg) == (many > 12)
    assert ("Without the" in drawn[1].caption) == (many > 9)


def test_the_merged_table_counts_every_row_once():
    table = np.arange(400.0).reshape(20, 20)
    names, merged = plots_classes._merged([f"c{number}" for number in range(20)], table)
    assert merged.sum() == table.sum()
    assert (len(names), names[-1]) == (12, "9 others")


@pytest.mark.parametrize("outcomes", [None, ClassOutcomes()])
def test_where_nothing_is_known_it_says_so(outcomes):
    nothing = SimpleNamespace(task=facts(3).task, classes=outcomes)
    assert all(plot.missing and not plot.svg for plot in plots_classes.class_plots(nothing))
    assert plots_classes.class_plots(SimpleNamespace(task=TASKS["regression"], classes=None)) == []

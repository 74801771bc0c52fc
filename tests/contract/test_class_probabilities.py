"""Models of several classes: probabilities come as arrays in the wanted order, and rows that have none are null."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import mlflow.sklearn
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from mlplatform.errors import FeatureStoreError, StageError
from mlplatform.features.probabilities import PROBABILITIES, matrix
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_client import ReasonCodes
from mlplatform.refine.class_labels import class_number, class_text
from mlplatform.scoring import class_columns
from mlplatform.statistics import class_totals
from mlplatform.task import TASKS

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
OWN = ("silver", "bronze", "gold")  # as the model has its columns
WANTED = ("bronze", "silver", "gold", "platinum")
TASK = replace(TASKS["multiclass"], classes=WANTED)
RANDOM = np.random.default_rng(3)
ROWS = 60
SPINE = pa.table(
    {
        "id": range(ROWS),
        "ts": pa.array([DAY] * ROWS, TIME),
        "due": RANDOM.uniform(0, 8, ROWS),
        "paid": RANDOM.uniform(0, 8, ROWS),
        "grade": RANDOM.integers(0, 3, ROWS).astype(float),
    }
)


class Shop:
    """Models of three classes in one workspace."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.training_set = ws.fe.create_training_set(
            df=SPINE, feature_lookups=[], label="grade", exclude_columns=["id", "ts"]
        )
        frame = self.training_set.to_pandas()
        self.model = LogisticRegression(max_iter=500).fit(frame[["due", "paid"]], frame["grade"])
        self.uri = self.log("graded", self.model, {"classes": list(OWN)})

    def log(self, name: str, model: Any, metadata: dict[str, Any] | None) -> str:
        name = f"dev.classes.{name}"
        self.ws.registry.ensure_model(name)
        pickled = isinstance(model, mlflow.pyfunc.PythonModel)
        arguments: dict[str, Any] = (
            {"pip_requirements": ["mlflow"]}
            if pickled
            else {"serialization_format": "skops", "pyfunc_predict_fn": "predict_proba"}
        )
        info = self.ws.fe.log_model(
            model=model,
            artifact_path="model",
            flavor=mlflow.pyfunc if pickled else mlflow.sklearn,
            training_set=self.training_set,
            registered_model_name=name,
            metadata=metadata,
            **arguments,
        )
        return f"models:/{name}/{info.registered_model_version}"

    def expected(self, rows: pa.Table = SPINE) -> np.ndarray:
        own = self.model.predict_proba(rows.select(["due", "paid"]).to_pandas())
        return np.column_stack([own[:, 1], own[:, 0], own[:, 2], np.zeros(rows.num_rows)])


@pytest.fixture(scope="module")
def shop(ws: Workspace) -> Shop:
    return Shop(ws)


def test_without_classes_a_model_gives_its_own_columns(shop):
    scored = shop.ws.fe.score_batch_arrow(model_uri=shop.uri, df=SPINE, result_type="array<double>").sort_by("id")
    found = matrix(scored.column("prediction"), 3)
    np.testing.assert_allclose(found, shop.model.predict_proba(SPINE.select(["due", "paid"]).to_pandas()), rtol=1e-9)


def test_probabilities_come_in_the_wanted_order_and_of_an_unknown_class_as_zero(shop):
    scored = shop.ws.fe.score_batch_arrow(model_uri=shop.uri, df=SPINE, classes=WANTED).sort_by("id")
    np.testing.assert_allclose(matrix(scored.column("prediction"), 4), shop.expected(), rtol=1e-9)


def test_a_model_that_does_not_say_its_classes_or_has_others_is_not_scored(shop):
    with pytest.raises(FeatureStoreError, match="does not say which classes"):
        shop.ws.fe.score_batch_arrow(model_uri=shop.log("silent", shop.model, None), df=SPINE, classes=WANTED)
    with pytest.raises(FeatureStoreError, match="probabilities of silver, bronze, gold; the classes are"):
        shop.ws.fe.score_batch_arrow(model_uri=shop.uri, df=SPINE, classes=("bronze", "gold", "tin"))
    lying = shop.log("lying", shop.model, {"classes": [*OWN, "platinum"]})
    with pytest.raises(Exception, match="4 classes"):
        shop.ws.fe.score_batch_arrow(model_uri=lying, df=SPINE, classes=WANTED)


class FailsOnSome(mlflow.pyfunc.PythonModel):
    """Raises where `due` is 8, gives NaN where it is 7, and else the probabilities of three classes."""

    def predict(self, model_input: Any) -> Any:
        due = model_input["due"].to_numpy()
        if (due == 8).any():
            raise ValueError("eight is not known")
        first = np.where(due == 7, np.nan, 0.2 + due / 10)
        return np.column_stack([first, (1 - first) / 2, (1 - first) / 2])


@pytest.fixture(scope="module")
def failing(shop) -> str:
    return shop.log("failing", FailsOnSome(), {"classes": ["gold", "silver", "bronze"]})


@pytest.mark.parametrize("given", [[1.0, 8.0, 7.0, 0.0], [8.0, 7.0, 8.0]], ids=["some", "all"])
def test_rows_that_a_model_cannot_predict_are_null_and_the_others_are_not(shop, failing, given):
    many = len(given)
    rows = pa.table({"id": range(many), "ts": pa.array([DAY] * many, TIME), "due": given, "paid": [1.0] * many})
    frames = shop.ws.frames
    with shop.ws.fe.score_frame(
        model_uri=failing, frame=frames.of(rows), keys=["id"], classes=("bronze", "silver", "gold")
    ) as scored:
        found = frames.collect(scored, at_most=10, what="the scored rows").sort_by("id")
    known = [value is not None for value in found.column("prediction").to_pylist()]
    assert known == [due < 7 for due in given]
    for due, made in zip(given, found.column("prediction").to_pylist(), strict=True):
        if made is not None:
            first = 0.2 + due / 10
            assert made == pytest.approx([(1 - first) / 2, (1 - first) / 2, first])


def test_reasons_are_of_the_probability_of_the_predicted_class(shop):
    ordinary, rows, frames = {"due": 4.0, "paid": 1.0}, SPINE.slice(0, 12), shop.ws.frames
    with shop.ws.fe.score_frame(
        model_uri=shop.uri, frame=frames.of(rows), keys=["id"], reasons=ReasonCodes(ordinary, top=2), classes=WANTED
    ) as scored:
        found = frames.collect(scored, at_most=20, what="the scored rows").sort_by("id")
    before = shop.expected(rows)
    top = before.argmax(axis=1)
    for place, reasons in enumerate(found.column("reason_codes").to_pylist()):
        effects = {}
        for name, value in ordinary.items():
            changed = rows.slice(place, 1).set_column(rows.column_names.index(name), name, pa.array([value]))
            effects[name] = before[place, top[place]] - shop.expected(changed)[0, top[place]]
        wanted = sorted(effects.items(), key=lambda item: -abs(item[1]))
        assert [reason["feature"] for reason in reasons] == [name for name, _ in wanted]
        assert [reason["contribution"] for reason in reasons] == pytest.approx([effect for _, effect in wanted])


# Expressions of the engine


def test_what_is_stored_is_the_most_probable_class_and_comes_back_as_numbers(ws):
    """Of equally probable classes the first; of what was predicted before a class was added, that has none."""
    lists = [[0.2, 0.5, 0.3, 0.0], [0.4, 0.1, 0.4, 0.1], [0.0, 0.0, 0.0, 1.0]]
    frame = ws.frames.of(pa.table({"id": [1, 2, 3], "prediction": pa.array(lists)}))
    stored = ws.frames.collect(class_columns.as_stored(frame, TASK), at_most=9, what="stored").sort_by("id")
    assert stored.column("prediction").to_pylist() == ["silver", "bronze", "platinum"]
    assert stored.column(PROBABILITIES).to_pylist() == lists
    earlier = pa.table({"id": [4], "prediction": ["gold"], PROBABILITIES: [[0.2, 0.2, 0.6]]})
    both = pa.concat_tables([stored.select(earlier.column_names), earlier], promote_options="permissive")
    numbers = ws.frames.collect(class_columns.with_numbers(ws.frames.of(both), TASK), at_most=9, what="numbers")
    found = class_columns.numbers(numbers.sort_by("id"), TASK)
    np.testing.assert_allclose(found, [*lists, [0.2, 0.2, 0.6, 0.0]])


def test_a_table_remembers_the_order_of_its_classes(ws, fresh):
    classes = ("it's", 'C#\\x "q"', "日本", "50%,[x]")
    task = replace(TASK, classes=classes)
    table = ObjectName.parse(fresh("graded"))
    key = pa.field("id", pa.int64(), nullable=False)
    ws.tables.create(table, pa.schema([key, *class_columns.prediction_fields(task)]), primary_keys=["id"])
    schema = ws.tables.describe(table).schema
    class_columns.check_order(schema, task)
    class_columns.check_order(schema, replace(task, classes=(*classes, "new")))
    for others in (classes[::-1], classes[:3], ("new", *classes)):
        with pytest.raises(StageError, match="begins otherwise") as caught:
            class_columns.check_order(schema, replace(task, classes=others))
        assert "C#" in caught.value.message
    with pytest.raises(StageError, match="are of several classes, and the task is classification"):
        class_columns.check_order(schema, TASKS["classification"])


@pytest.mark.parametrize("kind", [pa.string(), pa.int32(), pa.int64()])
def test_labels_become_numbers_of_their_classes_and_names_again(ws, kind):
    classes = ("10", "2", "33")
    values = pa.array(["2", "33", "10", "4"]).cast(kind)
    frame = ws.frames.of(pa.table({"id": [1, 2, 3, 4], "y": values}))
    numbered = frame.select("id", class_number("y", classes).alias("n"))
    named = numbered.with_columns(class_text(nw.col("n"), classes).alias("name"))
    found = ws.frames.collect(named, at_most=9, what="labels").sort_by("id")
    assert found.column("n").to_pylist() == [1.0, 2.0, 0.0, None]
    assert found.column("name").to_pylist() == ["2", "33", "10", None]


def test_totals_by_class_are_those_of_the_rows(ws):
    labels = RANDOM.integers(0, 4, 500).astype(float)
    probabilities = RANDOM.dirichlet(np.ones(4), 500)
    columns = class_columns.number_columns(TASK)
    rows = pa.table({"y": labels} | {name: probabilities[:, place] for place, name in enumerate(columns)})
    grouped = class_totals.grouped(ws.frames.of(rows), "y", columns)
    found = class_totals.totals_of(ws.frames.collect(grouped, at_most=10**4, what="totals"), TASK)
    assert found.value("accuracy") == pytest.approx((probabilities.argmax(axis=1) == labels).mean())
    of_label = probabilities[np.arange(500), labels.astype(int)]
    assert found.value("log_loss") == pytest.approx(-np.log(of_label).mean())
    assert found.means == pytest.approx(probabilities.mean(axis=0))

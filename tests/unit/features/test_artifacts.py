"""A stored model is looked at before it is loaded: whole, not pickled, and of types that are allowed."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mlplatform.errors import RegistryError
from mlplatform.features import artifacts
from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.features.model_formats import allowed
from mlplatform.protocols.judged_models import JudgedModels
from mlplatform.workspace.shared.model_store import ModelArtifact, Trust, check_model
from tests.support.stored_models import RAW, bomb, package, store

X, Y = np.random.default_rng(0).normal(size=(60, 2)), (np.arange(60) % 2).astype(float)


class Foreign(TransformerMixin, BaseEstimator):
    """An estimator of somebody else's."""

    def fit(self, x: Any, y: Any = None) -> Foreign:
        self.seen_ = len(x)
        return self

    def transform(self, x: Any) -> Any:
        return x


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("model"), make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y))


def test_an_untouched_model_of_allowed_types_passes(stored):
    artifacts.verify(stored, artifacts.digest(stored))


def test_the_models_that_use_cases_train_pass(tmp_path):
    columns = ColumnTransformer([("codes", OneHotEncoder(), [0]), ("numbers", "passthrough", [1])])
    boosting = Pipeline([("columns", columns), ("boosting", HistGradientBoostingClassifier(max_iter=3))])
    folder = store(tmp_path, boosting.fit(np.column_stack([Y, X[:, 0]]), Y))
    artifacts.verify(folder, artifacts.digest(folder))


@given(st.data())
@settings(max_examples=40)
def test_a_changed_byte_anywhere_changes_the_digest(tmp_path_factory, stored, data):
    copy = tmp_path_factory.mktemp("copy")
    for path in stored.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert artifacts.digest(copy) == artifacts.digest(stored)
    victim = copy / data.draw(st.sampled_from(sorted(path.name for path in copy.iterdir())))
    content = bytearray(victim.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)
    with pytest.raises(RegistryError, match="not those registered"):
        artifacts.verify(copy, artifacts.digest(stored))


def test_a_file_more_less_renamed_or_moved_changes_the_digest(tmp_path):
    folder = store(tmp_path / "m", LogisticRegression())
    before = artifacts.digest(folder)
    seen = {before}
    (folder / "extra.txt").write_text("", encoding="utf-8")
    seen.add(artifacts.digest(folder))
    (folder / "extra.txt").rename(folder / "other.txt")
    seen.add(artifacts.digest(folder))
    (folder / "sub").mkdir()
    (folder / "other.txt").rename(folder / "sub" / "other.txt")
    seen.add(artifacts.digest(folder))
    (folder / "sub" / "other.txt").unlink()
    (folder / "MLmodel").unlink()
    seen.add(artifacts.digest(folder))
    assert len(seen) == 5


def test_content_moved_from_one_file_to_the_next_changes_the_digest(tmp_path):
    for name, (one, two) in {"a": ("xy", "z"), "b": ("x", "yz")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_text(one, encoding="utf-8")
        (tmp_path / name / "2").write_text(two, encoding="utf-8")
    assert artifacts.digest(tmp_path / "a") != artifacts.digest(tmp_path / "b")


def test_no_files_and_no_recorded_digest_are_refused(tmp_path, stored):
    with pytest.raises(RegistryError, match="holds no model"):
        artifacts.digest(tmp_path)
    with pytest.raises(RegistryError, match="No digest is recorded"):
        artifacts.verify(stored, "")


@pytest.mark.parametrize("name", ["model.pkl", "model.pickle", "sub/model.joblib"])
def test_a_pickled_model_is_refused_and_not_loaded(tmp_path, name):
    ran = tmp_path / "ran"
    folder = store(tmp_path / "m", LogisticRegression())
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(bomb(ran))
    with pytest.raises(RegistryError, match="pickled"):
        artifacts.verify(folder, artifacts.digest(folder))
    assert not ran.exists()


@pytest.mark.parametrize("name", ["model.PKL", "model.cloudpickle", "python_model.pkl.bak", "model.dill", "model.bin"])
def test_a_pickle_by_another_name_is_refused(tmp_path, name):
    folder = store(tmp_path / "m", LogisticRegression())
    (folder / name).write_bytes(pickle.dumps(LogisticRegression()))
    with pytest.raises(RegistryError):
        artifacts.verify(folder, artifacts.digest(folder))


def test_a_model_without_a_skops_file_is_refused(tmp_path):
    folder = store(tmp_path, LogisticRegression())
    (folder / "model.skops").unlink()
    with pytest.raises(RegistryError, match=r"has no model\.skops"):
        artifacts.verify(folder, artifacts.digest(folder))


def test_a_class_of_somebody_elses_is_refused_by_name_until_it_is_trusted(tmp_path):
    folder = store(tmp_path, make_pipeline(Foreign(), LogisticRegression()).fit(X, Y))
    name = f"{Foreign.__module__}.{Foreign.__qualname__}"
    with pytest.raises(RegistryError, match=f"not allowed: .*{Foreign.__qualname__}"):
        artifacts.verify(folder, artifacts.digest(folder))
    artifacts.verify(folder, artifacts.digest(folder), trusted=(name,))
    with pytest.raises(RegistryError):
        artifacts.verify(folder, artifacts.digest(folder), trusted=(name.rpartition(".")[0], name.lower()))


@pytest.mark.parametrize("function", [eval, exec, open, getattr, os.system, os.remove])
def test_a_function_that_runs_or_touches_what_it_is_given_is_refused(tmp_path, function):
    folder = store(tmp_path, FunctionTransformer(function))
    with pytest.raises(RegistryError, match="not allowed"):
        artifacts.verify(folder, artifacts.digest(folder))


@pytest.mark.parametrize(
    "name",
    [
        "numpy.testing._private.utils.runstring",  # exec of its argument
        "numpy.load",  # unpickles
        "numpy.fromfile",
        "numpy.save",
        "numpy.vectorize",
        "sklearn.datasets.load_files",
        "builtins.setattr",
        "builtins.globals",
        "builtins.input",
        "builtins.breakpoint",
    ],
)
def test_functions_are_not_allowed_because_of_the_library_they_are_in(name):
    assert not allowed(name, ())


def test_a_model_that_runs_code_of_its_own_is_refused(tmp_path):
    from numpy.testing._private.utils import runstring

    bomb = make_pipeline(
        FunctionTransformer(np.full_like, kw_args={"fill_value": "raise SystemExit", "dtype": "U99", "shape": ()}),
        FunctionTransformer(np.array_str),
        FunctionTransformer(runstring, kw_args={"dict": {}}),
    )
    folder = store(tmp_path, bomb)
    with pytest.raises(RegistryError):
        artifacts.verify(folder, artifacts.digest(folder))


def test_a_model_has_one_skops_file(tmp_path):
    folder = store(tmp_path, LogisticRegression())
    store(tmp_path / "below", LogisticRegression())
    with pytest.raises(RegistryError, match=r"below/model\.skops"):
        artifacts.verify(folder, artifacts.digest(folder))


def test_a_skops_file_that_is_none_is_refused(tmp_path):
    folder = store(tmp_path, LogisticRegression())
    (folder / "model.skops").write_bytes(b"not a zip")
    with pytest.raises(RegistryError):
        artifacts.verify(folder, artifacts.digest(folder))


NAME_OF_FOREIGN = f"{Foreign.__module__}.{Foreign.__qualname__}"


@pytest.fixture
def foreign(tmp_path: Path) -> ModelArtifact:
    """A model of the platform's that holds an estimator of somebody else's."""
    folder = package(tmp_path / "model", make_pipeline(Foreign(), LogisticRegression()).fit(X, Y))
    return ModelArtifact(folder, "models:/dev.one.model/1", "dev.one.model", 1, {DIGEST_TAG: artifacts.digest(folder)})


def check(artifact: ModelArtifact, trusted: list[str] | None = None, digest: str = "") -> None:
    """Check a model about which nothing was decided."""
    check_model(artifact, Trust(trusted, digest), cast("JudgedModels", None))


def test_a_model_is_loaded_by_who_trusts_its_types_and_by_nobody_else(foreign):
    check(foreign, [NAME_OF_FOREIGN])
    for trusted in (None, [], [NAME_OF_FOREIGN.lower()], ["sklearn.linear_model"]):
        with pytest.raises(RegistryError, match="types that are not allowed"):
            check(foreign, trusted)


def test_trust_is_no_answer_to_files_that_were_changed(foreign):
    (foreign.path / RAW / "requirements.txt").write_text("scikit-learn\n", encoding="utf-8")
    with pytest.raises(RegistryError, match="not those registered"):
        check(foreign, [NAME_OF_FOREIGN])


def test_without_a_digest_a_model_is_nobody_s_the_platform_knows(foreign):
    bare = replace(foreign, tags={})
    for trusted in ([], [NAME_OF_FOREIGN]):
        with pytest.raises(RegistryError, match="No digest is recorded"):
            check(bare, trusted)
    check(bare)  # as the real client does


def test_the_digest_that_is_asked_for_wins_over_the_tag(foreign):
    digest = foreign.tags[DIGEST_TAG]
    check(replace(foreign, tags={DIGEST_TAG: "forged"}), [NAME_OF_FOREIGN], digest)
    with pytest.raises(RegistryError, match="not those registered"):
        check(foreign, [NAME_OF_FOREIGN], "another")

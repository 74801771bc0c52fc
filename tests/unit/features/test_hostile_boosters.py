"""Files of boosters by somebody who wants code to run where they are scored: refused, whatever they are called."""

from __future__ import annotations

import contextlib
import decimal
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from catboost import CatBoostRegressor
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from xgboost import XGBRegressor

from mlplatform.errors import RegistryError
from mlplatform.features import artifacts
from mlplatform.features.booster_contents import check_catboost, check_lightgbm, check_xgboost
from tests.support.stored_models import bomb, of_sklearn, write

INPUTS = pd.DataFrame({"load": np.arange(60.0), "size": np.arange(60.0)[::-1]})
LABELS = np.arange(60.0)
MODELS = {
    "lightgbm": ("model.lgb", lambda: LGBMRegressor(n_estimators=3, min_child_samples=5, verbosity=-1)),
    "xgboost": ("model.json", lambda: XGBRegressor(n_estimators=3)),
    "catboost": ("model.cb", lambda: CatBoostRegressor(iterations=3, verbose=False, allow_writing_files=False)),
}
ARGUMENTS: dict[str, dict[str, Any]] = {"xgboost": {"model_format": "json"}, "catboost": {"format": "json"}}
CHECKS: dict[str, Callable[[Path], None]] = {
    "lightgbm": check_lightgbm, "xgboost": check_xgboost, "catboost": check_catboost,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each library, as MLflow's own flavor stores it."""
    import mlflow.catboost
    import mlflow.lightgbm
    import mlflow.xgboost

    flavors = {"lightgbm": mlflow.lightgbm, "xgboost": mlflow.xgboost, "catboost": mlflow.catboost}
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_UV_AUTO_DETECT", "false")
        for name, (_, make) in MODELS.items():
            model = make().fit(INPUTS, LABELS)
            stored = {"lightgbm": "booster_", "xgboost": "_Booster"}.get(name)
            folder = tmp_path_factory.mktemp(name) / "model"
            flavors[name].save_model(
                getattr(model, stored) if stored else model,
                path=str(folder),
                pip_requirements=[name],
                **ARGUMENTS.get(name, {}),
            )
            folders[name] = folder
    return folders


@pytest.fixture(params=MODELS)
def folder(request: pytest.FixtureRequest, models: dict[str, Path], tmp_path: Path) -> tuple[str, Path]:
    """A copy of a model's folder, and which library's it is."""
    return request.param, Path(shutil.copytree(models[request.param], tmp_path / "model"))


def said(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load((folder / "MLmodel").read_text())
    change(content["flavors"])
    (folder / "MLmodel").write_text(yaml.safe_dump(content))


def refused(folder: Path, match: str | None = None) -> None:
    with pytest.raises(RegistryError, match=match) as caught:
        artifacts.check_files(folder)
    assert caught.value.hint


def test_what_they_are_made_of_passes(folder: tuple[str, Path]) -> None:
    artifacts.check_files(folder[1])


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_by_the_name_of_the_model(folder: tuple[str, Path], tmp_path: Path, protocol: int) -> None:
    name, path = folder
    canary = tmp_path / "canary"
    (path / MODELS[name][0]).write_bytes(bomb(canary, protocol))
    refused(path)
    assert not canary.exists()


def test_a_model_of_another_library_in_its_place(folder: tuple[str, Path], models: dict[str, Path]) -> None:
    name, path = folder
    for other, (file, _) in MODELS.items():
        if other != name:
            (path / MODELS[name][0]).write_bytes((models[other] / file).read_bytes())
            refused(path, "is no ")


@pytest.mark.parametrize(
    "content", [b"", b"tree\n", b"{}", b"[]", b"null", b"CBM1\0\0", b"\x80\x05.", b"learner", b"{"]
)
def test_what_is_no_model(folder: tuple[str, Path], content: bytes) -> None:
    name, path = folder
    (path / MODELS[name][0]).write_bytes(content)
    refused(path)


@pytest.mark.parametrize(
    "value",
    ["lightgbm.sklearn.LGBMClassifier", "xgboost.sklearn.XGBClassifier", "subprocess.Popen", "os.system", None, []],
)
def test_another_class(folder: tuple[str, Path], value: Any) -> None:
    """Of another class than its booster MLflow's flavors unpickle the file, or call the class."""
    name, path = folder
    key = "model_type" if name == "catboost" else "model_class"
    said(path, lambda flavors: flavors[name].update({key: value}))
    refused(path, key)


def test_settings_that_lead_elsewhere(folder: tuple[str, Path]) -> None:
    name, path = folder
    before = (path / "MLmodel").read_text()
    for flavor, key, value in [
        (name, "data", "../model"),
        (name, "data", "model.pkl"),
        (name, "code", "code"),
        (name, "extra_files", ["x"]),
        ("python_function", "data", "data/model"),
        ("python_function", "loader_module", "mlflow.pyfunc.model"),
        ("python_function", "loader_module", "mlflow.sklearn"),
        ("python_function", "model_path", "model.pkl"),
        ("python_function", "config", {"a": 1}),
    ]:
        said(path, lambda flavors, flavor=flavor, key=key, value=value: flavors[flavor].update({key: value}))
        refused(path)
        (path / "MLmodel").write_text(before)
    artifacts.check_files(path)


def test_formats_that_are_not_looked_into(folder: tuple[str, Path]) -> None:
    name, path = folder
    for key, value in {"model_format": "ubj", "save_format": "cbm", "serialization_format": "joblib"}.items():
        said(path, lambda flavors, key=key, value=value: flavors[name].update({key: value}))
        refused(path)


def test_a_file_more(folder: tuple[str, Path], tmp_path: Path) -> None:
    _, path = folder
    (path / "model.pkl").write_bytes(bomb(tmp_path / "canary"))
    refused(path, "may be pickled or code")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("__import__('os').system('x')", "line"),
        ("[machines]", "line"),
        ("pandas_categorical:__import__('os')", "categories"),
        ("pandas_categorical:{}", "categories"),
        ("\x00", "no text"),
    ],
)
def test_a_line_that_is_none_of_lightgbm_s(models: dict[str, Path], tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "model.lgb"
    path.write_text((models["lightgbm"] / "model.lgb").read_text() + line + "\n")
    with pytest.raises(RegistryError, match=says):
        check_lightgbm(path)


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=60)
def test_nothing_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], name: str, data: st.DataObject
) -> None:
    content = bytearray((models[name] / MODELS[name][0]).read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    path = tmp_path_factory.mktemp("changed") / "model"
    path.write_bytes(content)
    with contextlib.suppress(RegistryError):
        CHECKS[name](path)


def test_a_booster_within_a_skops_file_brings_no_other_types(tmp_path: Path) -> None:
    """A function as its objective: skops would hand back whatever it names."""
    folder = write(tmp_path / "model", of_sklearn())
    model = LGBMClassifier(n_estimators=3, min_child_samples=5, verbosity=-1).fit(INPUTS, LABELS > 30)
    skops.io.dump(model, folder / "model.skops")
    artifacts.check_files(folder)
    for strange in (eval, pickle.loads, print):
        model.set_params(objective=strange)
        skops.io.dump(model, folder / "model.skops")
        refused(folder, "not allowed")
    model.set_params(objective=decimal.Decimal(1))
    skops.io.dump(model, folder / "model.skops")
    refused(folder, "not allowed")

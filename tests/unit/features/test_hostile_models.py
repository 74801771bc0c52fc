"""Models by somebody who wants code to run where they are scored: all are refused, and no code runs.

Each is written with the digest tag that belongs to it: whoever may replace files may often set tags, too.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from mlplatform.errors import PlatformError, RegistryError
from mlplatform.features import artifacts
from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.features.model_formats import FORMATS, PACKAGES
from mlplatform.protocols.judged_models import JudgedModels
from mlplatform.workspace.shared.model_store import ModelArtifact, Trust, check_model
from tests.support.stored_models import RAW, Spoil, bomb, description, of_sklearn, package, said, setting, store, write

MODEL = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 1.0]))
RAW_FILE, RAW_MODEL = RAW / "model.skops", RAW / "MLmodel"


def object_array(canary: Path) -> bytes:
    """Return an array of Python objects, as NumPy pickles it."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return head.getvalue() + bomb(canary)


def member(name: str, content: Callable[[Path], bytes]) -> Spoil:
    """Add a file to the skops archive."""

    def spoil(folder: Path, canary: Path) -> None:
        with zipfile.ZipFile(folder / RAW_FILE, "a") as archive:
            archive.writestr(name, content(canary))

    return spoil


def file(name: str | Path, content: Callable[[Path], bytes | str]) -> Spoil:
    """Write a file into the model's folder."""

    def spoil(folder: Path, canary: Path) -> None:
        made = content(canary)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.encode() if isinstance(made, str) else made)

    return spoil


def without(name: str, flavor: str) -> Spoil:
    """Take a setting of a flavor away."""
    return said(lambda content: content["flavors"][flavor].pop(name))


def python_in_yaml(canary: Path) -> str:
    return f"flavors: !!python/object/apply:os.mkdir ['{canary}']\n"


def pickled_as_skops(folder: Path, canary: Path) -> None:
    """A pickle by the name of the skops file, and an MLmodel that says so."""
    (folder / RAW_FILE).write_bytes(bomb(canary))
    setting("serialization_format", "pickle", "sklearn")(folder, canary)


def code_path(folder: Path, canary: Path) -> None:
    file(RAW / "code" / "evil.py", lambda canary: f"import os\nos.mkdir({str(canary)!r})\n")(folder, canary)
    setting("code", "code")(folder, canary)
    setting("loader_module", "evil")(folder, canary)


def joblib_in_zip(folder: Path, canary: Path) -> None:
    part = folder.parent / "dumped.joblib"
    joblib.dump(pickle.loads(pickle.dumps({"x": 1})), part)
    (folder / RAW_FILE).unlink()
    with zipfile.ZipFile(folder / RAW_FILE, "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("model.joblib", part.read_bytes() + bomb(canary))


def polyglot(folder: Path, canary: Path) -> None:
    """A pickle that is an archive as well: an archive's table is at its end."""
    (folder / RAW_FILE).write_bytes(bomb(canary) + (folder / RAW_FILE).read_bytes())


def linked_file(folder: Path, canary: Path) -> None:
    outside = folder.parent / "outside.skops"
    (folder / RAW_FILE).rename(outside)
    (folder / RAW_FILE).symlink_to(outside)
    del canary


def linked_folder(folder: Path, canary: Path) -> None:
    outside = folder.parent / "outside"
    (folder / RAW).rename(outside)
    (folder / RAW).symlink_to(outside, target_is_directory=True)
    del canary


def linked_secret(folder: Path, canary: Path) -> None:
    (folder / "conda.yaml").symlink_to("/etc/hostname")
    del canary


def pipe(folder: Path, canary: Path) -> None:
    os.mkfifo(folder / "requirements.txt")
    del canary


def schema(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the description of the estimator in the skops archive."""

    def spoil(folder: Path, canary: Path) -> None:
        del canary
        with zipfile.ZipFile(folder / RAW_FILE) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        told = json.loads(content["schema.json"])
        change(told)
        content["schema.json"] = json.dumps(told).encode()
        with zipfile.ZipFile(folder / RAW_FILE, "w") as archive:
            for name, part in content.items():
                archive.writestr(name, part)

    return spoil


def nested_schema(folder: Path, canary: Path) -> None:
    del canary
    with zipfile.ZipFile(folder / RAW_FILE, "w") as archive:
        archive.writestr("schema.json", '{"a":' * 50_000 + "1" + "}" * 50_000)


def unpacks_to_much(folder: Path, canary: Path) -> None:
    del canary
    with zipfile.ZipFile(folder / RAW_FILE, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.bin", b"\0")
        archive.infolist()[-1].file_size = 10**10  # as its table says


def two_descriptions(folder: Path, canary: Path) -> None:
    del canary
    with zipfile.ZipFile(folder / RAW_FILE, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("schema.json", "{}")


def encrypted(folder: Path, canary: Path) -> None:
    del canary
    content = bytearray((folder / RAW_FILE).read_bytes())
    place = content.rindex(b"PK\x01\x02") + 8
    content[place : place + 2] = struct.pack("<H", 1)
    (folder / RAW_FILE).write_bytes(content)


def saved_elsewhere(content: dict[str, Any]) -> None:
    content["saved_input_example_info"] = {"artifact_path": "../../secret.json", "type": "json_object"}


CASES: Mapping[str, Spoil] = {
    # A pickle by whatever name
    "pickle named model.txt": file(RAW / "model.txt", bomb),
    "pickle named model.txt beside MLmodel": file("model.txt", bomb),
    "pickle in the place of the skops file": file(RAW_FILE, bomb),
    "pickle in its place, and MLmodel says so": pickled_as_skops,
    "pickle named requirements.txt": file(RAW / "requirements.txt", bomb),
    "pickle in letters named requirements.txt": file(RAW / "requirements.txt", lambda canary: bomb(canary, 0)),
    "pickle named conda.yaml": file("conda.yaml", bomb),
    "pickle named input_example.json": file("input_example.json", bomb),
    "pickle named MLmodel": file(RAW_MODEL, bomb),
    "pickle named registered_model_meta": file("registered_model_meta", bomb),
    "pickle named lineage.json": file(RAW.parent / "lineage.json", bomb),
    "pickle named uv.lock": file("uv.lock", bomb),
    "joblib": file(RAW / "model.joblib", bomb),
    "packed pickle named uv.lock": file("uv.lock", lambda canary: gzip.compress(bomb(canary))),
    # Within the skops file
    "joblib within an archive": joblib_in_zip,
    "archive behind a pickle": polyglot,
    "pickle within the archive": member("model.pkl", bomb),
    "pickle within the archive, named as bytes": member("1.bin", bomb),
    "array of objects": member("1.npy", object_array),
    "two descriptions": two_descriptions,
    "member outside of it": member("../../evil.py", lambda canary: b"x = 1"),
    "endless description": nested_schema,
    "unpacks to 10 GB": unpacks_to_much,
    "encrypted": encrypted,
    "a function as estimator": schema(lambda told: told.update({"__module__": "os", "__class__": "mkdir"})),
    "protocol of the future": schema(lambda told: told.update({"protocol": 99})),
    "unknown node": schema(lambda told: told.update({"__loader__": "EvilNode"})),
    # What MLmodel says
    "loader os": setting("loader_module", "os"),
    "loader subprocess": setting("loader_module", "subprocess"),
    "loader of pickled Python models": setting("loader_module", "mlflow.pyfunc.model"),
    "loader of models from code": setting("loader_module", "mlflow.pyfunc.loaders.code_model"),
    "loader is a list": setting("loader_module", ["mlflow.sklearn"]),
    "loader of the package": setting("loader_module", "os", of=Path("MLmodel")),
    "no loader": without("loader_module", "python_function"),
    "code path": code_path,
    "code path of the package": setting("code", "code", of=Path("MLmodel")),
    "model code path": setting("model_code_path", "model.py"),
    "configuration for the loader": setting("config", {"a": 1}),
    "data that is a file: then MLflow unpickles": setting("data", "model.skops"),
    "data of the package elsewhere": setting("data", "data/other", of=Path("MLmodel")),
    "data outside": setting("data", "../..", of=Path("MLmodel")),
    "model elsewhere": setting("model_path", "../model.skops"),
    "model missing": without("model_path", "python_function"),
    "other method": setting("predict_fn", "__reduce__"),
    "format pickle": setting("serialization_format", "pickle", "sklearn"),
    "format cloudpickle": setting("serialization_format", "cloudpickle", "sklearn"),
    "no format: then MLflow unpickles": without("serialization_format", "sklearn"),
    "no flavor: then MLflow unpickles": said(lambda content: content["flavors"].pop("sklearn")),
    "one flavor more": said(lambda content: content["flavors"].update({"spark": {"model_data": "x"}})),
    "flavors is a list": said(lambda content: content.update({"flavors": ["python_function"]})),
    "settings are a text": said(lambda content: content["flavors"].update({"sklearn": "skops"})),
    "trusts eval": setting("skops_trusted_types", ["builtins.eval"], "sklearn"),
    "environment elsewhere": setting("env", {"conda": "../conda.yaml"}),
    "environment is a command": setting("env", "x; touch y"),
    "example elsewhere": said(saved_elsewhere),
    "no MLmodel": lambda folder, canary: (folder / RAW_MODEL).unlink(),
    # YAML
    "object in MLmodel": file(RAW_MODEL, python_in_yaml),
    "object in the package's MLmodel": file("MLmodel", python_in_yaml),
    "object in the environment": file(RAW / "conda.yaml", python_in_yaml),
    "object in python_env.yaml": file("python_env.yaml", python_in_yaml),
    "object in the feature spec": file(RAW.parent / "feature_spec.yaml", python_in_yaml),
    "loader given twice": file(
        RAW_MODEL,
        lambda canary: yaml.safe_dump(of_sklearn()) + "flavors:\n  python_function: {loader_module: os}\n",
    ),
    "aliases of aliases": file(
        RAW_MODEL,
        lambda canary: (
            "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
        ),
    ),
    "20,000 brackets": file(RAW_MODEL, lambda canary: "flavors: " + "[" * 20_000),
    "5 MB of text": file(RAW_MODEL, lambda canary: "flavors: x\n" + "# x\n" * 1_300_000),
    "two documents": file(RAW_MODEL, lambda canary: yaml.safe_dump(of_sklearn()) * 1 + "---\nflavors: 1\n"),
    "UTF-16": file(RAW_MODEL, lambda canary: yaml.safe_dump(of_sklearn()).encode("utf-16")),
    "empty MLmodel": file(RAW_MODEL, lambda canary: b""),
    "a copy that says something else": file(
        RAW / "metadata" / "MLmodel",
        lambda canary: yaml.safe_dump(description("os")),
    ),
    # Files
    "Python beside MLmodel": file(RAW / "evil.py", lambda canary: f"import os\nos.mkdir({str(canary)!r})\n"),
    "Python beside the package's": file("evil.py", lambda canary: b"x = 1"),
    "a path file": file(RAW / "evil.pth", lambda canary: f"import os; os.mkdir({str(canary)!r})"),
    "a library": file(RAW / "libevil.so", lambda canary: b"\x7fELF"),
    "another model within": lambda folder, canary: write(folder / RAW / "inner", description("os")),
    "a second raw model": lambda folder, canary: write(folder / RAW / RAW, description("os")),
    "link to a file": linked_file,
    "link to a folder": linked_folder,
    "link to a secret": linked_secret,
    "a pipe": pipe,
}


def artifact(folder: Path) -> ModelArtifact:
    """Return a model with the digest tag that belongs to its files, if they have a digest."""
    try:
        digest = artifacts.digest(folder)
    except RegistryError:
        digest = "forged"
    return ModelArtifact(folder, "models:/dev.one.model/1", "dev.one.model", 1, {DIGEST_TAG: digest})


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("trusted", [None, ("builtins.eval", "posix.mkdir", "os.mkdir")], ids=["nobody", "trusting"])
def test_it_is_refused_and_nothing_runs(tmp_path: Path, name: str, trusted: tuple[str, ...] | None):
    folder, canary = package(tmp_path / "model", MODEL), tmp_path / "canary"
    if name in ("trusts eval", "a function as estimator") and trusted:
        pytest.skip("whoever trusts a function by name is given it")
    CASES[name](folder, canary)
    with pytest.raises(RegistryError) as refused:
        check_model(artifact(folder), Trust(trusted), cast("JudgedModels", None))
    assert refused.value.hint
    assert not canary.exists()


def test_what_they_are_made_of_passes(tmp_path: Path):
    check_model(artifact(package(tmp_path / "model", MODEL)), Trust(()), cast("JudgedModels", None))


@pytest.mark.parametrize("name", ["pickle in its place, and MLmodel says so", "code path"])
def test_mlflow_would_have_run_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """The cases are no straw men: without the check the canary is there."""
    import mlflow.pyfunc

    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    folder, canary = package(tmp_path / "model", MODEL), tmp_path / "canary"
    CASES[name](folder, canary)
    with contextlib.suppress(Exception):  # whatever it ends with, it has run
        mlflow.pyfunc.load_model(str(folder / RAW), suppress_warnings=True)
    assert canary.exists()


def test_the_model_alone_is_checked_as_well(tmp_path: Path):
    folder = store(tmp_path / "model", MODEL)
    artifacts.check_files(folder)
    (folder / "code.py").write_text("x = 1", encoding="utf-8")
    with pytest.raises(RegistryError, match=r"code\.py"):
        artifacts.check_files(folder)


# Reading MLmodel: nothing but our own errors, whatever it says.

NAMES = st.sampled_from(
    ["flavors", "python_function", "sklearn", "loader_module", "code", "data", "env", "serialization_format", "x"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["mlflow.sklearn", "skops", "model.skops", "os", "..", "mlplatform.features.packaged"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("fuzzed") / "model", MODEL)


def passes(folder: Path) -> bool:
    """Tell whether a model passes; only errors of ours may keep it from that."""
    try:
        artifacts.check_files(folder)
    except PlatformError:
        return False
    return True


@given(content=st.dictionaries(NAMES, VALUES, max_size=5))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_mlmodel_says_only_our_errors_come_out(raw: Path, content: dict[str, Any]):
    (raw / "MLmodel").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    assert not passes(raw)


@given(content=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_bytes_it_holds_only_our_errors_come_out(raw: Path, content: bytes):
    for name in ("MLmodel", "conda.yaml"):
        store(raw, MODEL)
        (raw / name).write_bytes(content)
        assert name != "MLmodel" or not passes(raw)
        passes(raw)


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_setting_of_any_value_passes_only_where_it_changes_nothing(raw: Path, data: st.DataObject):
    told = of_sklearn()
    flavor = told["flavors"][data.draw(st.sampled_from(["python_function", "sklearn"]))]
    name = data.draw(st.sampled_from([*flavor, "code", "data", "config", "model_code_path"]))
    before, value = flavor.get(name), data.draw(VALUES)
    flavor[name] = value
    store(raw, MODEL)
    write(raw, told)
    harmless = ("sklearn_version", "python_version", "env", "predict_fn", "code", "skops_trusted_types")
    assert not passes(raw) or value == before or name in harmless


@given(place=st.integers(0, 4000), byte=st.integers(0, 255))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_changed_byte_of_the_skops_file_raises_only_our_errors(raw: Path, place: int, byte: int):
    store(raw, MODEL)
    content = bytearray((raw / "model.skops").read_bytes())
    content[place % len(content)] = byte
    (raw / "model.skops").write_bytes(content)
    passes(raw)


def test_each_way_of_storing_says_what_its_files_hold():
    for item in (*FORMATS, *PACKAGES):
        assert item.files
        assert "code" not in item.function
        assert item.look_of("anything.pkl") is None

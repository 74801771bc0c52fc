"""Python functions by three-level name, for use as feature functions; importable ones survive a restart."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.features.functions import checked_function
from mlplatform.naming import ObjectName
from mlplatform.protocols.functions import FunctionInfo
from mlplatform.workspace.local.locks import file_lock


class LocalFunctions:
    """Functions of the local workspace; see `mlplatform.protocols.workspace.Functions`.

    A small file remembers where each function can be imported from. A lambda or a function inside another one cannot
    be: it lives as long as the workspace is open.
    """

    def __init__(self, file: Path | None = None, *, read_only: bool = False) -> None:
        """Keep the record in a file.

        Args:
            file: The JSON file; None: nothing outlives this object.
            read_only: What is registered lives as long as this object; the file is only read.
        """
        self._file, self._read_only = file, read_only
        self._known: dict[str, FunctionInfo] = {}

    def register(
        self,
        name: ObjectName | str,
        fn: Callable[..., Any],
        *,
        parameters: Sequence[tuple[str, str]],
        returns: str,
    ) -> None:
        """Register a function of scalars; again under the same name replaces it.

        Args:
            name: Its three-level name; kept in lower case, as Unity Catalog does.
            fn: The function. A null argument is None.
            parameters: (name, Spark type) of each parameter, in order.
            returns: Spark type of the result.

        Raises:
            FeatureStoreError: If it cannot be called with these parameters, or a type is none.
        """
        info = checked_function(name, fn, parameters, returns)
        self._known[info.name] = info
        self._remember(info)

    def get(self, name: ObjectName | str) -> FunctionInfo:
        """Return a registered function.

        Raises:
            FeatureStoreError: If no function has that name (similar names are suggested), or it cannot be imported
                any more.
        """
        key = str(ObjectName.parse(name)).lower()
        if key in self._known:
            return self._known[key]
        record = self._read()
        if key not in record:
            raise FeatureStoreError(
                f"Function {name} is not registered.",
                hint=f"{did_you_mean(key, {*record, *self._known})} Register it with ws.functions.register.",
            )
        self._known[key] = _restore(key, record[key])
        return self._known[key]

    def _remember(self, info: FunctionInfo) -> None:
        if self._file is None or self._read_only:
            return
        entry = {
            "parameters": [list(item) for item in info.parameters],
            "returns": info.returns,
            "target": _target(info.fn),
        }
        if self._read().get(info.name) == entry:
            return
        with file_lock(self._file.parent / ".locks", "functions"):
            record = {**self._read(), info.name: entry}
            temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            temporary.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
            # Renaming is atomic: whoever reads meanwhile sees the old file or the new one, whole.
            temporary.replace(self._file)

    def _read(self) -> dict[str, Any]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            record = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError:
            raise FeatureStoreError(
                f"{self._file} does not hold the registered functions any more.",
                hint="Delete the file and register the functions again.",
            ) from None
        return dict(record)


def _target(fn: Callable[..., Any]) -> str | None:
    """Return `module:qualname` if that leads back to the function, else None."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not module or not qualname or module == "__main__" or "<" in qualname:
        return None
    try:
        importable = _follow(module, qualname)
    except (ImportError, AttributeError):
        return None
    # Code on record lies in place of a module for a while only: in another process the name leads to that one.
    is_kept = getattr(fn, "__globals__", {}).get("__kept__", False)
    return f"{module}:{qualname}" if importable is fn and not is_kept else None


def _follow(module: str, qualname: str) -> Any:
    return reduce(getattr, qualname.split("."), importlib.import_module(module))


def _restore(name: str, entry: dict[str, Any]) -> FunctionInfo:
    target = entry.get("target")
    if not target:
        raise FeatureStoreError(
            f"Function {name} was registered by another process, from a place that cannot be imported.",
            hint="Register it again in this one, or move it to the top level of a module.",
        )
    module, _, qualname = str(target).partition(":")
    try:
        fn = _follow(module, qualname)
    except (ImportError, AttributeError) as error:
        raise FeatureStoreError(
            f"Function {name} was registered as {target}, which cannot be imported any more ({error}).",
            hint="Put it back, or register it again.",
        ) from None
    parameters = tuple((str(parameter), str(kind)) for parameter, kind in entry["parameters"])
    return FunctionInfo(name=name, parameters=parameters, returns=str(entry["returns"]), fn=fn)

"""Unity Catalog functions in Python, made from the source of the registered function."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.features.functions import checked_function, function_type
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.functions import FunctionInfo
from mlplatform.workspace.databricks.connection import retrying
from mlplatform.workspace.databricks.function_source import python_body, rebuilt
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.registry_errors import redacted

if TYPE_CHECKING:
    from databricks.sdk.service.catalog import FunctionInfo as UnityFunction

    from mlplatform.workspace.databricks.unity import Unity

_DIGEST = re.compile(r"\[mlplatform ([0-9a-f]{16})\]")


class DatabricksFunctions:
    """Functions in Unity Catalog; see `mlplatform.protocols.workspace.Functions`.

    The comment of each holds a digest of parameters, return type and body: a function that exists in this form is not
    created again.
    """

    def __init__(self, unity: Unity) -> None:
        """Take the connection; nothing is asked yet."""
        self._unity = unity
        self._known: dict[str, tuple[str, FunctionInfo]] = {}

    def register(
        self,
        name: ObjectName | str,
        fn: Callable[..., Any],
        *,
        parameters: Sequence[tuple[str, str]],
        returns: str,
    ) -> None:
        """Register a function of scalars; again under the same name replaces it, the same again does nothing.

        Raises:
            FeatureStoreError: If it cannot be called with these parameters, uses what does not travel (see
                `mlplatform.workspace.databricks.function_source`), or the workspace refuses it.
        """
        info = checked_function(name, fn, parameters, returns)
        body = python_body(info)
        digest = _digest(info.parameters, info.returns, body)
        if not self._stands(info.name, digest):
            try:
                self._unity.sql.execute(statement(info, body, digest))
            except Exception as error:
                # The answer may have been lost after the function was made.
                if not self._stands(info.name, digest):
                    raise FeatureStoreError(
                        f"Function {info.name} cannot be made: {redacted(str(error))}",
                        hint="It needs CREATE FUNCTION on its schema, and ownership to replace an existing one.",
                    ) from error
        self._known[info.name] = (digest, info)

    def get(self, name: ObjectName | str) -> FunctionInfo:
        """Return a registered function.

        Raises:
            FeatureStoreError: If no function has that name (similar names are suggested), or it was created by
                something else.
        """
        key = str(ObjectName.parse(name)).lower()
        unity_function = self._read(key)
        if unity_function is None:
            raise FeatureStoreError(
                f"Function {name} is not registered.",
                hint=f"{did_you_mean(key, self._names(key))} Register it with ws.functions.register.",
            )
        parameters, returns, body = _declaration(key, unity_function)
        digest = _comment_digest(unity_function)
        remembered = self._known.get(key)
        if remembered is not None and remembered[0] == digest:
            return remembered[1]
        if digest is None or digest != _digest(parameters, returns, body):
            raise FeatureStoreError(
                f"Function {key} was not registered by this library, or was changed since.",
                hint="Register it with ws.functions.register.",
            )
        return FunctionInfo(name=key, parameters=parameters, returns=returns, fn=rebuilt(key, body))

    def _stands(self, name: str, digest: str) -> bool:
        """Tell whether Unity Catalog has the function in exactly this form."""
        function = self._read(name)
        return function is not None and _comment_digest(function) == digest == _digest(*_declaration(name, function))

    def _read(self, name: str) -> UnityFunction | None:
        from databricks.sdk.errors import NotFound

        try:
            return retrying(lambda: self._unity.client.functions.get(name))
        except NotFound:
            return None
        except Exception as error:
            raise FeatureStoreError(
                f"Function {name} cannot be read: {redacted(str(error))}",
                hint="It needs EXECUTE on the function, USE CATALOG and USE SCHEMA above it.",
            ) from error

    def _names(self, name: str) -> list[str]:
        from databricks.sdk.errors.base import DatabricksError

        parsed = ObjectName.parse(name)
        try:
            functions = list(self._unity.client.functions.list(parsed.catalog, parsed.schema))
        except DatabricksError:
            functions = []  # Similar names are a courtesy: that the function is missing is certain.
        return [item.full_name for item in functions if item.full_name]


def statement(info: FunctionInfo, body: str, digest: str) -> str:
    """Return the statement that makes a function, with its digest in the comment."""
    parameters = ", ".join(f"{quote(name)} {_sql_type(kind)}" for name, kind in info.parameters)
    summary = (info.fn.__doc__ or "").strip().partition("\n")[0]
    comment = literal(f"{summary} [mlplatform {digest}]".strip().replace("$$", "$ $"))
    # Databricks' SQL reference, "CREATE FUNCTION (SQL and Python)"
    # (sql/language-manual/sql-ref-syntax-ddl-create-sql-function).
    name, returns = ObjectName.parse(info.name).sql, _sql_type(info.returns)
    return (
        f"CREATE OR REPLACE FUNCTION {name}({parameters}) RETURNS {returns}\n"
        f"LANGUAGE PYTHON\nCOMMENT {comment}\nAS $$\n{body}\n$$"
    )


def _sql_type(kind: str) -> str:
    # Names of fields stay as they are.
    return kind if "<" in kind else kind.upper()


def _digest(parameters: Sequence[tuple[str, str]], returns: str, body: str) -> str:
    text = repr((tuple(parameters), returns, body.strip()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _comment_digest(function: UnityFunction) -> str | None:
    match = _DIGEST.search(function.comment or "")
    return match.group(1) if match else None


def _declaration(name: str, function: UnityFunction) -> tuple[tuple[tuple[str, str], ...], str, str]:
    inputs = function.input_params.parameters if function.input_params is not None else None
    return (
        tuple(
            (item.name, _spelled(item.type_text, name)) for item in sorted(inputs or (), key=lambda item: item.position)
        ),
        _spelled(function.full_data_type or "", name),
        function.routine_definition or "",
    )


def _spelled(kind: str, name: str) -> str:
    try:
        return function_type(kind if "<" in kind else kind.lower(), name)
    except FeatureStoreError:
        return kind  # A type that we do not know: it is none of ours, and the digest will say so.

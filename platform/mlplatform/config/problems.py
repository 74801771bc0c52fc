"""What is wrong with a `config.yml`: a line for each problem, with the nearest key, and where it stands."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mlplatform.config.environments import ENVIRONMENTS
from mlplatform.config.yaml_file import Place
from mlplatform.errors import did_you_mean, shortened

_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
_MOST_PROBLEMS, _SHOWN = 50, 80


def problems(error: ValidationError, model: type[BaseModel], written: Mapping[Place, int], env: str) -> list[str]:
    """Return what pydantic refused, in the words of whoever wrote the file.

    Args:
        error: Its error.
        model: The class that the whole file was checked by.
        written: Place of each key that the file holds -> the line it stands on.
        env: Name of the environment: what is written for it counts.
    """
    lines = []
    for problem in error.errors()[:_MOST_PROBLEMS]:
        path = [str(part) for part in problem["loc"]]
        where = ".".join(part if part.isprintable() and len(part) <= _SHOWN else shortened(part) for part in path)
        if problem["type"] == "extra_forbidden":
            text = f"  {where}: unknown key. {did_you_mean(path[-1], _known_keys(model, path[:-1]))}"
        elif problem["type"] == "missing":
            text = f"  {where}: is required and missing."
        elif problem["type"] == "string_type":
            text = f"  {where}: a text belongs here (got {shortened(problem['input'], 200)}): put it into quotes."
        else:
            got = f" (got {shortened(problem['input'], 200)})" if path and "webhook" not in path else ""
            text = f"  {where}: {problem['msg']}{got}.".replace("  : Value error, ", "  ")
        line = _line_of(path or _named_in(problem["msg"], written), written, env)
        lines.append(f"{text} (line {line})" if line else text)
    if error.error_count() > _MOST_PROBLEMS:
        lines.append(f"  and {error.error_count() - _MOST_PROBLEMS:,} more.")
    return lines


def _named_in(message: str, written: Mapping[Place, int]) -> list[str]:
    """Return the first setting that a message names: what settings must be together is said of all of them at once."""
    for word in _KEY.findall(message):
        path = str(word).split(".")
        if tuple(path[:1]) in written:
            return path
    return []


def _line_of(path: list[str], lines: Mapping[Place, int], env: str) -> int | None:
    """Return the line of a setting, or of the section that it stands in; that of the environment counts."""
    while path:
        line = lines.get((ENVIRONMENTS, env, *path)) or lines.get(tuple(path))
        if line:
            return line
        path = path[:-1]
    return None


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for key in (part for part in path if not part.isdigit()):
        field = model.model_fields.get(key)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) in (typing.Union, tuple):
        return next((model for part in typing.get_args(annotation) if (model := _model_in(part))), None)
    return None

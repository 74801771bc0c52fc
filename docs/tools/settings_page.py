"""`docs/settings.md`: every setting of a `config.yml`, as pydantic has them."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.tools.markdown import cell, made_by, table
from mlplatform.config import values
from mlplatform.config.settings import FOLLOWS, UseCaseSettings

_INTRODUCTION = f"""\
# Settings

{made_by("the classes that check a `config.yml`")}

Each use case has a `config.yml`. An unknown key, a value of another type, or one beyond its limits is an error that
names the line and what was expected. What holds in an environment, and where each value came from:

```console
$ mlplatform config show credit_risk --env prod
```

Editors complete and check the file by its schema, which `mlplatform config schema` prints. What differs by environment
stands below `environments.<name>`, with the same keys, and wins over the rest
([an example](adding-a-use-case.md#the-edits)). A list is replaced as a whole.
"""
_KINDS: dict[Any, str] = {
    values.DurationText: "duration",
    values.PositiveText: "duration above zero",
    values.IntervalText: "interval",
    values.TimeText: "time",
    values.AsOfText: "time",
    values.CronText: "Quartz cron",
}
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
_LIMITS = {Ge: ("≥ {}", "ge"), Gt: ("> {}", "gt"), Le: ("≤ {}", "le"), Lt: ("< {}", "lt"), MinLen: ("not empty", "")}
_FORMS = """\
## How values are written

| type | written as |
|---|---|
| duration | a number and a unit, as in `36 months`, `30 days`, `2 hours`; a unit alone is one of them |
| interval | how often: `hour`, `day`, `week`, `month`, `quarter`, `year`, or a duration |
| time | ISO 8601, as in `2006-01-01` or `2006-01-01T08:00:00+01:00`; UTC unless it says else |
| Quartz cron | `0 30 5 * * ?` is every day at half past five, in `jobs.timezone` |
| list | `[a, b]`, or a line for each with `- ` before it |
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([_INTRODUCTION, _FORMS, *_section(UseCaseSettings, (), "Of the use case")])


def _section(model: type[BaseModel], place: tuple[str, ...], title: str, *, listed: bool = False) -> Iterator[str]:
    yield f"## {title}\n"
    described = inspect.cleandoc(model.__doc__ or "")
    yield f"{described}\n"
    if listed:
        yield "It is a list: these are the keys of each entry.\n"
    inner: list[tuple[type[BaseModel], tuple[str, ...], bool]] = []
    rows = []
    for name, field in model.model_fields.items():
        here = (*place, name)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("deprecated"):
            continue
        part, many = _model_in(field.annotation)
        if part is not None:
            inner.append((part, here, many))
            if _is_plain_section(field, part):
                continue
        rows.append(_row(here, field, part))
    if rows:
        yield table(("setting", "type", "default", "what it means"), rows)
    for part, here, many in inner:
        yield from _section(part, here, f"`{'.'.join(here)}`", listed=many)


def _is_plain_section(field: FieldInfo, part: type[BaseModel]) -> bool:
    """Tell whether a section is always there, so that it needs no line of its own."""
    return field.annotation is part


def _row(here: tuple[str, ...], field: FieldInfo, part: type[BaseModel] | None) -> tuple[str, str, str, str]:
    limits = [_limit(item) for item in field.metadata]
    kind = _kind(field.annotation, field.metadata)
    text = field.description or (f"See [below](#{'.'.join(here).replace('.', '')})." if part else "")
    return (
        f"`{'.'.join(here)}`",
        cell(", ".join([kind, *filter(None, limits)])),
        _default(field, here),
        cell(text),
    )


def _limit(item: Any) -> str:
    form, attribute = _LIMITS.get(type(item), ("", ""))
    return form.format(_number(getattr(item, attribute)) if attribute else "")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _kind(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    """Return what may stand there, in words."""
    for alias, word in _KINDS.items():
        if annotation == alias or (metadata and set(map(id, typing.get_args(alias)[1:])) & set(map(id, metadata))):
            return word
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is typing.Annotated:
        return _kind(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(part) for part in inner)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _PLAIN[annotation]


def _default(field: FieldInfo, here: tuple[str, ...]) -> str:
    if here in FOLLOWS:
        return f"`{'.'.join(FOLLOWS[here])}`"
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    if value == "":
        return "empty"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(value)}`" if value is not None else "none"


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the section that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    many = typing.get_origin(annotation) is tuple
    for part in typing.get_args(annotation):
        found, within = _model_in(part)
        if found is not None:
            return found, many or within
    return None, False

"""The base class of all settings."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

LONGEST_TEXT = 4000
"""A setting is a name, a path or a few sentences; tags, which show some of them, take no more."""


class Settings(BaseModel):
    """Base of all settings: frozen, and closed to unknown keys, to numbers that are none and to texts without end."""

    # A limit of NaN would limit nothing.
    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, str_max_length=LONGEST_TEXT, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Else `floor: yes` would be a floor of 1.
        if isinstance(value, bool) and info.field_name is not None:
            accepted = _types(cls.model_fields[info.field_name].annotation)
            if bool not in accepted and accepted & {int, float}:
                raise ValueError("a number belongs here, and YAML reads yes, no, on, off, true and false as none")
        return value


def _types(annotation: Any) -> set[Any]:
    inner = typing.get_args(annotation)
    return set().union(*map(_types, inner)) if inner else {annotation}

"""Settings of the simulation."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mlplatform.as_of import parse_as_of, steps
from mlplatform.config.base import Settings
from mlplatform.config.values import AsOfText, IntervalText
from mlplatform.errors import UsageError


class SimulationSettings(Settings):
    """What `mlplatform simulate` replays, unless its options say otherwise."""

    start: AsOfText = Field(description="First as_of.")
    end: AsOfText = Field(description="Last as_of, included.")
    every: IntervalText = Field(
        description="Step: hour, day, week, month, quarter, year, or a duration such as `6 months`."
    )

    @model_validator(mode="after")
    def _steps(self) -> Self:
        try:
            next(steps(parse_as_of(self.start), parse_as_of(self.end), self.every))
        except UsageError as error:
            raise ValueError(error.message) from None
        return self

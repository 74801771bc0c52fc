"""What a client made of a case: a table, or an error and the step at which it was raised."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

Step = Literal["create_table", "declare", "create_training_set", "load_df", "log_model", "score_batch"]


@dataclass(frozen=True)
class Failure:
    """An error of a client.

    Attributes:
        step: The call that raised it.
        error_class: The name of its Python class.
        message: Its text.
        is_value_error: Whether it is a kind of ValueError, as every refusal of ours has to be.
    """

    step: Step
    error_class: str
    message: str
    is_value_error: bool


@dataclass(frozen=True)
class Outcome:
    """Exactly one of `table` and `failure` is there.

    Attributes:
        table: The training set, or the scored frame.
        failure: What went wrong instead.
        model_columns: score_batch only: the columns that the model was given, in their order.
        spec_yaml: The feature spec, as it is (or would be) logged with a model. From the judge only.
    """

    table: pa.Table | None = None
    failure: Failure | None = None
    model_columns: tuple[str, ...] | None = None
    spec_yaml: str | None = None


class StepFailed(Exception):  # noqa: N818 - it carries a failure, it is not one
    """Carries a failure out of a run."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure."""
        super().__init__(f"{failure.step}: {failure.error_class}: {failure.message}")
        self.failure = failure


@contextmanager
def step(name: Step) -> Iterator[None]:
    """Turn any error of the block into a `StepFailed` of that step."""
    try:
        yield
    except Exception as error:
        failure = Failure(name, type(error).__name__, str(error), isinstance(error, ValueError))
        raise StepFailed(failure) from error

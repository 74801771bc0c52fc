"""What the stage `recalibrate` says of itself in its record."""

from __future__ import annotations

from pydantic import Field

from mlplatform.ops.result import Details

STAGE = "recalibrate"


class RecalibrationDetails(Details):
    """What a recalibration found, and what it made.

    Attributes:
        origin: The champion that was looked at.
        basis: What its probabilities were held against.
        rows: Rows with an outcome.
        learned_rows: Those that it learned from; the gate judges by the others.
        learned_events: Events among them, as far as they count.
        predicted: Mean probability of the rows that it learned from.
        observed: What came of them: the rate.
        moved: Mean probability afterwards; None where nothing is moved.
        method: `odds` or `isotonic`; empty where nothing is moved.
        change: What is done to the probabilities, in words.
        why: Why that, or why nothing.
        p_values: Of the tests that were made.
        odds: `slope` and `intercept`, where only the odds are moved.
        held_out: Proper scores on the rows that it did not learn from, before and after: `brier_before`, ...
        reused: The same recalibration had been done before.
        version: Of the registered model; None: none was made.
        run_id: Of the recalibration, in MLflow.
        dataset_version: Fingerprint of rows and outcomes.
        dry_run: Whether nothing was changed.
        asked_for: Why the stage `retrain` asked for it; not set where somebody asked for it.
    """

    origin: int | None = None
    basis: str = ""
    rows: int | None = None
    learned_rows: int | None = None
    learned_events: float | None = None
    predicted: float | None = None
    observed: float | None = None
    moved: float | None = None
    method: str = ""
    change: str = ""
    why: str = ""
    p_values: dict[str, float] = Field(default_factory=dict)
    odds: dict[str, float] = Field(default_factory=dict)
    held_out: dict[str, float] = Field(default_factory=dict)
    reused: bool = False
    version: int | None = None
    run_id: str = ""
    dataset_version: str = ""
    dry_run: bool = False
    asked_for: list[str] = Field(default_factory=list)

    def lines(self) -> list[str]:
        """Say it in words."""
        if self.rows is None:
            return []
        lines = [
            f"version {self.origin} against {self.basis} outcomes of {self.rows:,} rows that it was not fitted on",
            (
                f"learned from {self.learned_rows:,} of them with {self.learned_events:,.0f} events: predicted "
                f"{self.predicted:.4f}, came true {self.observed:.4f}"
            ),
        ]
        if not self.change:
            return [*lines, f"nothing to move: {self.why}"]
        lines.append(f"{self.change}: mean {self.moved:.4f}; {self.why}")
        if self.held_out:
            scores = ", ".join(
                f"{name} {self.held_out[f'{name}_before']:.5f} -> {self.held_out[f'{name}_after']:.5f}"
                for name in ("brier", "log_loss")
            )
            lines.append(f"on the rows kept for the gate: {scores}")
        return lines

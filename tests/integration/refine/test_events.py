"""Dated events: labels follow from them, nothing is known before its time, and corrections hold from theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform import Column, Duration, EventSpine, SilverTable, Source, WorkspaceAsOf
from mlplatform.errors import ContractError, StageError
from mlplatform.pipeline import Pipeline
from mlplatform.refine.event_spine import event_rows, steps_of
from mlplatform.testing import check_events
from mlplatform.use_case import UseCase
from tests.support.tiny_dated import DatedTiny
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import NAME, Tiny, first_of, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlplatform.workspace.local.workspace import LocalWorkspace

CATALOGS = iter(f"events{number}" for number in range(1000))
HORIZON = 10


def day(number: int) -> datetime:
    """The beginning of a day: when the drop of the day before is known."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


class LandedPolicies(Source, name="policies", files="policies/policies_*.csv", available="period_end"):
    """Policies as landed, day by day."""

    columns = ("id", "begun")


class LandedClaims(Source, name="claims", files="claims/claims_*.csv", available="period_end"):
    """Claims as landed, day by day."""

    columns = ("id", "told", "claimed")


class Policies(SilverTable, name="policies", source=LandedPolicies, keys=("id",), known_at="begun_at"):
    """One row per policy."""

    columns = (
        Column("id", "string", "Number", nullable=False),
        Column("begun_at", "timestamp", "When", nullable=False, sql="try_to_timestamp(begun, 'yyyy-MM-dd')"),
    )


class Claims(SilverTable, name="claims", source=LandedClaims, keys=("id",), known_at="told_at"):
    """One row per claim; what is told later corrects it."""

    corrections = "newest"
    columns = (
        Column("id", "string", "Number", nullable=False),
        Column("told_at", "timestamp", "When it was told", nullable=False, sql="try_to_timestamp(told, 'yyyy-MM-dd')"),
        Column("claimed_at", "timestamp", "Day of the claim", sql="try_to_timestamp(claimed, 'yyyy-MM-dd')"),
    )


class Claimed(EventSpine, table=Policies, label="claimed", event_table=Claims, event_at="claimed_at"):
    """Is there a claim within ten days?"""


@dataclass
class Here:
    """A use case with a catalog of its own."""

    ws: LocalWorkspace
    folder: Path
    spine: type[EventSpine] = Claimed
    catalog: str = field(default_factory=lambda: next(CATALOGS))

    def land(self, source: str, number: int, *lines: str) -> None:
        """Land the drop of a day, which is known at the beginning of the next."""
        path = self.folder / "data" / source / f"{source}_{day(number):%Y-%m-%d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"policies": "id,begun", "claims": "id,told,claimed"}[source]
        path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")

    def use_case(self) -> UseCase:
        self.ws.catalog = self.catalog
        parts = {
            "sources": (LandedPolicies, LandedClaims),
            "silver": (Policies, Claims),
            "spine": self.spine,
            "features": (),
            "functions": (),
        }
        opened: UseCase = type("Insured", (Tiny,), parts).open(NAME, self.folder, self.ws)
        return opened

    def run(self, *numbers: int) -> Here:
        for number in numbers:
            Pipeline(self.ws, self.use_case(), day(number)).run(["ingest", "refine"])
        return self

    def again(self) -> Here:
        """The same files in a catalog that holds nothing."""
        return Here(self.ws, self.folder, self.spine)

    def events(self) -> dict[str, tuple[int | None, int, int | None]]:
        """Policy -> day of the event, day on which it was known, step."""
        rows = self.ws.tables.to_arrow(f"{self.catalog}.{NAME}.gold_events", at_most=1000).to_pylist()
        return {
            row["id"]: (
                None if row["event_at"] is None else (row["event_at"] - day(1)).days + 1,
                (row["event_known_at"] - day(1)).days + 1,
                row["event_step"],
            )
            for row in rows
        }

    def labels(self) -> dict[str, tuple[float, int]]:
        """Policy -> label, day on which it was known."""
        rows = self.ws.tables.to_arrow(f"{self.catalog}.{NAME}.gold_labels", at_most=1000).to_pylist()
        return {row["id"]: (row["claimed"], (row["label_known_at"] - day(1)).days + 1) for row in rows}


@pytest.fixture
def here(ws: LocalWorkspace, tmp_path: Path) -> Iterator[Here]:
    folder = write_tiny_use_case(tmp_path, months=1, rows_a_month=2, label={"horizon": f"{HORIZON} days"}).folder
    made = Here(ws, folder)
    made.land("policies", 1, "A,2020-01-01", "B,2020-01-01", "C,2020-01-01", "D,2020-01-01")
    yield made
    ws.catalog = "dev"


def test_an_event_is_known_when_its_file_was_and_a_label_when_its_horizon_is_over(here: Here) -> None:
    here.land("claims", 3, "A,2020-01-03,2020-01-03")
    here.land("claims", 11, "B,2020-01-11,2020-01-11")
    here.run(3)
    assert here.events() == {}
    here.run(4, 12)
    steps = steps_of(Duration.parse(f"{HORIZON} days"))
    assert here.events() == {"A": (3, 4, 2 * steps // HORIZON), "B": (11, 12, steps - 1)}
    # An event at the very end of the horizon is within it; its label waits until somebody heard of it.
    assert here.labels() == {"A": (1.0, 11), "B": (1.0, 12), "C": (0.0, 11), "D": (0.0, 11)}


def test_an_event_after_the_horizon_is_none_of_the_labels(here: Here) -> None:
    here.land("claims", 14, "A,2020-01-14,2020-01-14")
    here.run(20)
    assert here.events() == {"A": (14, 15, None)}
    assert here.labels()["A"] == (0.0, 11)


def test_what_one_hears_of_late_changes_the_label_from_then_on(here: Here) -> None:
    here.land("claims", 11, "C,2020-01-11,2020-01-09")
    here.run(11)
    assert here.labels()["C"] == (0.0, 11)
    assert here.events() == {}
    here.land("claims", 15, "A,2020-01-15,2020-01-05")
    here.run(12, 16)
    assert here.labels() == {"A": (1.0, 16), "B": (0.0, 11), "C": (1.0, 12), "D": (0.0, 11)}
    assert here.events()["A"][:2] == (5, 16)
    assert here.again().run(16).labels() == here.labels()


# In steps of its own, and at once; in other steps at night.
@pytest.mark.parametrize("steps", [(12,), pytest.param((3, 4, 5, 6, 12), marks=pytest.mark.slow)])
def test_step_by_step_is_at_once_with_corrections_and_events_taken_back(here: Here, steps: tuple[int, ...]) -> None:
    here.land("claims", 2, "A,2020-01-02,2020-01-02", "B,2020-01-02,2020-01-02", "D,2020-01-02,")
    here.run(3)
    assert {name: event[:2] for name, event in here.events().items()} == {"A": (2, 3), "B": (2, 3)}
    here.land("claims", 4, "A,2020-01-02,2020-01-04", "B,2020-01-02,", "D,2020-01-02,2020-01-03")
    here.run(5)
    assert {name: event[:2] for name, event in here.events().items()} == {"A": (4, 5), "B": (None, 5), "D": (3, 5)}
    here.run(12)
    assert here.labels() == {"A": (1.0, 11), "B": (0.0, 11), "C": (0.0, 11), "D": (1.0, 11)}
    other = here.again().run(*steps)
    assert other.events() == here.events()
    assert other.labels() == here.labels()
    assert check_events(here.ws, here.use_case(), [day(3), day(4), day(6), day(12)]) > 0


def test_of_several_events_the_first_at_or_after_the_prediction_counts(here: Here) -> None:
    class Series(Claims, timeseries=True, known_at="told_at"):
        """Every claim."""

        corrections = None
        name = "claims"

    class FirstClaim(Claimed, event_table=Series):
        """Is there a claim within ten days?"""

    here.spine = FirstClaim
    use_case = here.use_case()
    type(use_case).silver = (Policies, Series)
    here.land("policies", 4, "E,2020-01-04")
    here.land(
        "claims", 6, "A,2020-01-05,2020-01-05", "A,2020-01-03,2020-01-03", "E,2020-01-03,2020-01-03",
        "E,2020-01-04,2020-01-04", "E,2020-01-06,2020-01-06",
    )  # fmt: skip
    Pipeline(here.ws, use_case, day(8)).run(["ingest", "refine"])
    assert {name: event[0] for name, event in here.events().items()} == {"A": 3, "E": 4}


def test_an_event_before_its_prediction_stops_the_stage(here: Here) -> None:
    class Any(Claimed):
        """Takes any event for one."""

        def events(self, ws: WorkspaceAsOf) -> Any:
            claims = ws.read(Claims).select("id", "claimed_at", "_available_at")
            return ws.read(Policies).select("id", "begun_at").join(claims, on="id")

    here.spine = Any
    here.land("claims", 2, "A,2020-01-02,2019-12-31", "B,2020-01-02,2020-01-01")
    with pytest.raises(StageError, match=r"gold_events: 1 event\(s\) lie before their prediction") as caught:
        here.run(3)
    assert "at or after begun_at" in (caught.value.hint or "")


def test_events_that_are_stamped_too_early_are_caught_as_a_leak(here: Here) -> None:
    class Early(Claimed):
        """Says that a claim was known when it happened, though it was told later."""

        def events(self, ws: WorkspaceAsOf) -> Any:
            return super().events(ws).selectExpr("id", "begun_at", "claimed_at", "claimed_at AS event_known_at")

    here.land("claims", 5, "A,2020-01-05,2020-01-02", "B,2020-01-05,2020-01-05")
    here.run(8)
    assert check_events(here.ws, here.use_case(), [day(3), day(6), day(8)]) == 2
    here.spine = Early
    with pytest.raises(ContractError, match=r"The events of Early leaks: .* 2020-01-03 .* 1 were not there then"):
        check_events(here.ws, here.use_case(), [day(3), day(8)])


def test_steps_are_parts_of_each_rows_own_horizon(ws: LocalWorkspace) -> None:
    """Months differ in length: the last step ends with the horizon, to the microsecond."""
    random = np.random.default_rng(0)
    horizon = Duration.parse("36 months")
    begun = [datetime(2003, 1, 1, tzinfo=UTC) + timedelta(seconds=int(s)) for s in random.integers(0, 10**8, 300)]
    begun += [datetime(2004, 2, 29, tzinfo=UTC), datetime(2003, 1, 31, tzinfo=UTC), datetime(2003, 8, 31, tzinfo=UTC)]
    ends = [horizon.after(moment) for moment in begun]
    after = [timedelta(seconds=int(seconds)) for seconds in random.integers(0, 10**8, len(begun))]
    happened = [moment + passed for moment, passed in zip(begun, after, strict=True)]
    begun, happened = begun * 4, happened + ends + [end + timedelta(microseconds=1) for end in ends] + begun
    rows = pa.table(
        {
            "account": [f"{number}" for number in range(len(begun))],
            "signed_up_at": pa.array(begun, pa.timestamp("us", "UTC")),
            "cancelled_at": pa.array(happened, pa.timestamp("us", "UTC")),
            "event_known_at": pa.array(happened, pa.timestamp("us", "UTC")),
        }
    )

    class Settings:
        class label:  # noqa: N801
            horizon = "36 months"

    spine = DatedTiny.spine(Settings())  # type: ignore[arg-type]
    found = event_rows(spine, ws.frames.to_spark(rows)).collect()
    steps = {row["account"]: row["event_step"] for row in found}
    for number, (start, event) in enumerate(zip(begun, happened, strict=True)):
        share = (event - start) / (horizon.after(start) - start)
        expected = None if event > horizon.after(start) else max(int(np.ceil(36 * share)) - 1, 0)
        assert steps[str(number)] == expected
    assert [steps[str(303 + number)] for number in range(303)] == [35] * 303


def test_derived_labels_are_those_that_the_use_case_says_itself(
    ws: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = write_tiny_use_case(tmp_path, rows_a_month=60)
    found = []
    for catalog, spine in ((next(CATALOGS), Tiny.spine), (next(CATALOGS), DatedTiny.spine)):
        ws.catalog = catalog
        monkeypatch.setattr(Tiny, "spine", spine)
        for as_of in ("2020-06-01", "2020-09-01"):
            run_tiny(ws, tiny.folder, as_of, ["ingest", "refine"])
        labels = ws.tables.to_arrow(f"{catalog}.{NAME}.gold_labels", at_most=10**5)
        known = labels.filter(pc.less_equal(labels["label_known_at"], first_of("2020-08")))
        found.append(known.select(["account", "cancelled"]).sort_by("account").to_pydict())
    assert found[0] == found[1]
    assert 0 < sum(found[1]["cancelled"]) < len(found[1]["cancelled"])
    ws.catalog = "dev"

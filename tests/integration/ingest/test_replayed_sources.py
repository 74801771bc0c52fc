"""A replayed source is dealt out below the workspace, once however many runs ask for it, and its rows land once."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mlplatform import Replay
from mlplatform.as_of import parse_as_of
from mlplatform.ingest.landing import dealt_out
from mlplatform.ops.context import StageContext
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import NAME, Cancellations, Signups, SilverSignups, Tiny, write_tiny_use_case

if TYPE_CHECKING:
    from tests.support.tiny_use_case import TinyFolder

AS_OF = parse_as_of("2020-04-01")


class FromExtract(Replay):
    """Each subscription is reported at the midnight that begins its day: it completes the day before."""

    def records(self, extract: Path) -> pd.DataFrame:
        with (extract.parent / "asked").open("a") as file:
            file.write("x")
        rows = self.read(extract, "extract/*.csv")
        return rows.assign(reported_at=pd.to_datetime(rows["signed_up"], utc=True))


class Replayed(Signups):
    """Subscriptions, dealt out of an extract."""

    files = "signups/signups_*.csv"
    columns = (*Signups.columns, "reported_at")
    replay = FromExtract


class SilverReplayed(SilverSignups):
    """One row a subscription."""

    source = Replayed
    expectations = ()


class TinyReplayed(Tiny):
    """The tiny use case with replayed subscriptions."""

    sources = (Replayed, Cancellations)
    silver = (SilverReplayed, Tiny.silver[1])


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    made = write_tiny_use_case(tmp_path / "use_cases", months=3, rows_a_month=40)
    drops = sorted((made.data / "signups").iterdir())
    (made.data / "extract").mkdir()
    # Sorted by something else than time, and in one piece.
    rows = pd.concat([pd.read_csv(path, dtype=str) for path in drops]).sort_values("account", ascending=False)
    rows.to_csv(made.data / "extract" / "all.csv", index=False)
    for path in drops:
        path.unlink()
    return made


def context_of(ws: LocalWorkspace, folder: Path) -> StageContext:
    return TinyReplayed.open(NAME, folder, ws).context(ws, AS_OF, run_id="run")


def asked(tiny: TinyFolder) -> int:
    return len((tiny.folder / "asked").read_text())


def deal(root: str, folder: str, barrier: Any) -> None:
    """Deal out in a process of its own, at the same time as others."""
    with LocalWorkspace.open(env="dev", root=root) as ws:
        context = context_of(ws, Path(folder))
        barrier.wait(60)
        landing = dealt_out(context, Replayed(), Path(folder) / "data")
        assert len(list(landing.glob("signups/*.csv"))) > 60


def test_processes_that_deal_out_at_once_do_it_once(tmp_path: Path, tiny: TinyFolder) -> None:
    # Forked off a server that has the heavy packages loaded: each would load them itself otherwise.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.tiny_preload"])
    barrier = context.Barrier(3)
    arguments = (str(tmp_path / "home"), str(tiny.folder), barrier)
    processes = [context.Process(target=deal, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert asked(tiny) == 1
    with LocalWorkspace.open(env="dev", root=tmp_path / "home") as ws:
        landing = dealt_out(context_of(ws, tiny.folder), Replayed(), tiny.data)
        assert [path.name for path in landing.parent.iterdir()] == ["signups"]
    assert asked(tiny) == 1


def test_each_record_lands_once_in_the_drop_that_it_completes(ws: LocalWorkspace, tiny: TinyFolder) -> None:
    use_case = TinyReplayed.open(NAME, tiny.folder, ws)
    total = len(pd.read_csv(tiny.data / "extract" / "all.csv"))
    name = use_case.namespace.bronze("signups")
    for as_of, expected in (("2020-02-01", None), ("2020-02-01", None), ("2020-05-01", total)):
        Pipeline(ws, use_case, parse_as_of(as_of)).run(["ingest", "refine"])
        rows = ws.tables.to_arrow(name, at_most=10**6).to_pandas()
        reported = pd.to_datetime(rows["reported_at"])
        assert (reported <= parse_as_of(as_of)).all()
        # Midnight is the end of the day before, and so no later than the drop is known.
        assert (reported == rows["_available_at"]).all()
        assert rows["account"].is_unique
        assert expected is None or len(rows) == expected
    assert asked(tiny) == 1
    assert ws.tables.to_arrow(use_case.namespace.silver("signups"), at_most=10**6).num_rows == total
    # A record at midnight of the first of February is known at that moment.
    early = pd.read_csv(tiny.data / "extract" / "all.csv", dtype=str)
    assert (early["signed_up"] == "2020-01-01").any()
    assert (rows["_file"] == "signups/signups_2019-12-31.csv").any()

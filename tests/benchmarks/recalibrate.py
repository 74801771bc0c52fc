"""What recalibrating is worth on the loans of the crisis: credit risk replayed by quarter, left alone and recalibrated.

Both replays run the same pipeline, with its retraining. The second one recalibrates its champion at the end of each
step, by rates that immature labels tell of, and puts what comes of it to the gate. What is compared is the excess Brier
score of the loans approved in 2007 and 2008: their Brier score, less that of the same ranking perfectly calibrated
(isotonic on the very outcomes; the miscalibration of Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for
probabilistic classifiers", PNAS 2021). Outcomes are read from the files, whatever was known when.

Two questions are asked. At approval: each loan as it was scored then, by the champion of then. Looked back: all loans
of the two years approved by a step, scored by the version of that step, of them those that no recalibration learned
from; that is what a portfolio revalued then would have been told.

The rates are a life table of this script's own, which looks at nothing but dates known by the step: of each quarter of
approvals the share charged off so far, and beyond its age the hazards of the last twelve months over the portfolio,
with Greenwood's error.

    python tests/benchmarks/recalibrate.py [--home FOLDER] [--to 2009-01-01] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mlplatform import stages
from mlplatform.as_of import Duration, parse_as_of, steps
from mlplatform.errors import LabelError, PlatformError
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import LABEL_KNOWN_AT, SPINE, LabelSpine
from mlplatform.training.label_frame import LabelFrame
from mlplatform.training.outcomes import RealisedBasis, RowOutcomes
from mlplatform.training.recalibrated import learns_from
from mlplatform.types import TIMESTAMP
from mlplatform.workspace.local.workspace import LocalWorkspace

NAME, HORIZON = "credit_risk", 36
FIRST, LAST = "2006-01-01", "2009-01-01"
LEVEL = 1.645  # of a 90 % interval
MONTH = np.timedelta64(2_629_800, "s")  # a year is 365.25 days
DATA = Path(__file__).resolve().parents[2] / "use_cases" / NAME / "data"


@dataclass(frozen=True)
class LifeTable:
    """Rates of charge-off within the horizon, from what was dated by a time; see the module.

    Attributes:
        approvals: How far back approvals are looked at that the rates are for.
        name: Of the basis.
    """

    approvals: str = "12 months"
    name: str = "immature"

    def outcomes(
        self, context: StageContext, spine: LabelSpine, *, after: datetime, known_after: datetime | None
    ) -> RowOutcomes:
        """Return the loans approved lately, each with the rate of its quarter."""
        del known_after  # charge-offs of twelve months are looked at, whenever they were recorded
        names, time_ = context.namespace, spine.prediction_time
        since = max(after, Duration.parse(self.approvals).before(context.as_of))
        name = names.gold(SPINE)
        version = context.ws.tables.version(name)
        every = context.ws.frames.collect(
            context.ws.frames.read(name, version=version, filters=[(time_, "<=", context.as_of)]),
            at_most=200_000, what="loans",
        )  # fmt: skip
        dated = context.ws.frames.collect(
            context.ws.frames.read(names.silver("outcomes"), columns=["loan_id", "charged_off_at"],
                                   filters=[("known_at", "<=", context.as_of)]),
            at_most=200_000, what="charge-offs",
        ).to_pandas().dropna().set_index("loan_id")["charged_off_at"]  # fmt: skip
        approved = moments(every.column(time_).to_pandas())
        ended = moments(every.column("loan_id").to_pandas().map(dated))
        now = np.datetime64(context.as_of.astimezone(UTC).replace(tzinfo=None), "s")
        ended = np.where(ended < now, ended, np.datetime64("NaT"))
        hazards, noise = period(approved, ended, now)
        mine = approved > np.datetime64(since.astimezone(UTC).replace(tzinfo=None), "s")
        if not mine.any():
            raise LabelError("No loan was approved lately.")
        quarters = pd.DatetimeIndex(approved[mine]).to_period("Q")
        rates, errors = np.empty(int(mine.sum())), np.empty(int(mine.sum()))
        for quarter in quarters.unique():
            inside = np.asarray(quarters == quarter)
            rate, error = vintage(approved[mine][inside], ended[mine][inside], now, hazards, noise)
            rates[inside], errors[inside] = rate, error
        order = every.filter(pa.array(mine)).sort_by(spine.order)
        place = every.filter(pa.array(mine)).append_column("_place", pa.array(np.arange(rates.size)))
        taken = np.asarray(place.sort_by(spine.order).column("_place").to_numpy())
        rows = order.append_column(spine.label, pa.nulls(rates.size, pa.float64()))
        rows = rows.append_column(LABEL_KNOWN_AT, pa.nulls(rates.size, TIMESTAMP)).combine_chunks()
        rates, errors = np.clip(rates[taken], 1e-4, 1 - 1e-4), np.maximum(errors[taken], 1e-6)
        counts = pd.Series(quarters[taken]).map(pd.Series(quarters).value_counts()).to_numpy(dtype=np.float64)
        # Worth as many outcomes as would leave the same error, shared by the quarter's loans.
        weights = np.clip(rates * (1 - rates) / errors**2 / counts, 1e-6, 1.0)
        return RowOutcomes(
            LabelFrame(rows, {str(name): version}, rows.num_rows, context.as_of),
            rates,
            weights,
            ranked=False,
            expected=True,
            low=np.clip(rates - LEVEL * errors, 0, 1),
            high=np.clip(rates + LEVEL * errors, 0, 1),
        )


def moments(values: Any) -> np.ndarray:
    """Return times as numbers of seconds, without a zone."""
    return pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[s]")


def exposure(approved: np.ndarray, ended: np.ndarray, since: np.datetime64, now: np.datetime64, age: int) -> Any:
    """Return loan-months at an age and charge-offs, of the calendar time (since, now]."""
    start, end = approved + age * MONTH, approved + (age + 1) * MONTH
    last = np.where(np.isnat(ended), now, ended)
    begin, stop = np.maximum(start, since), np.minimum(np.minimum(end, now), last)
    spent = np.clip((stop - begin) / MONTH, 0, None).sum()
    inside = (ended >= np.maximum(start, since)) & (ended < np.minimum(end, now))
    return float(spent), int(inside.sum())


def period(approved: np.ndarray, ended: np.ndarray, now: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
    """Return the hazard of each month of age in the last twelve months, and Greenwood's term of it."""
    hazards, noise = np.zeros(HORIZON), np.zeros(HORIZON)
    for age in range(HORIZON):
        months, events = exposure(approved, ended, now - 12 * MONTH, now, age)
        if months > 0:
            hazards[age] = min(events / months, 0.999)
            noise[age] = hazards[age] / max(months * (1 - hazards[age]), 1.0)
    return hazards, noise


def vintage(
    approved: np.ndarray, ended: np.ndarray, now: np.datetime64, hazards: np.ndarray, noise: np.ndarray
) -> tuple[float, float]:
    """Return the rate within the horizon of one quarter's loans, and its standard error."""
    survival, variance = 1.0, 0.0
    for age in range(HORIZON):
        months, events = exposure(approved, ended, np.datetime64("1990-01-01"), now, age)
        # Its own months as far as it has them, else those of the portfolio.
        whole = float((approved + (age + 1) * MONTH <= now).mean())
        own = min(events / months, 0.999) if months > 0 else 0.0
        hazard = whole * own + (1 - whole) * hazards[age]
        survival *= 1 - hazard
        mine = own / max(months * (1 - own), 1.0) if months > 0 else 0.0
        variance += whole * mine + (1 - whole) * noise[age]
    return 1 - survival, survival * float(np.sqrt(variance))


def came_true() -> pd.Series:
    """Return of each loan whether it was charged off within the horizon, from the files."""
    loans = pd.concat(
        [pd.read_csv(path, dtype=str, usecols=["LoanNr_ChkDgt", "ApprovalDate"]) for path in files("loans")]
    )
    ends = pd.concat(
        [pd.read_csv(path, dtype=str, usecols=["LoanNr_ChkDgt", "ChgOffDate"]) for path in files("outcomes")]
    ).drop_duplicates("LoanNr_ChkDgt")
    both = loans.merge(ends, on="LoanNr_ChkDgt", how="left")
    day = {"format": "%d-%b-%y", "errors": "coerce"}
    approved, charged = pd.to_datetime(both["ApprovalDate"], **day), pd.to_datetime(both["ChgOffDate"], **day)
    hit = charged <= approved + pd.DateOffset(months=HORIZON)
    return pd.Series(hit.astype(float).to_numpy(), index=both["LoanNr_ChkDgt"].str.strip())


def files(kind: str) -> list[Path]:
    """Return the landed files of a kind."""
    return sorted((DATA / kind).glob("*.csv.gz"))


def excess(scores: np.ndarray, outcomes: np.ndarray) -> dict[str, float]:
    """Return the Brier score, and how much of it a perfect calibration of the same ranking would save."""
    from sklearn.isotonic import IsotonicRegression

    best = IsotonicRegression(out_of_bounds="clip").fit(scores, outcomes).predict(scores)
    brier, least = float(np.mean((scores - outcomes) ** 2)), float(np.mean((best - outcomes) ** 2))
    return {"rows": int(scores.size), "mean": float(scores.mean()), "rate": float(outcomes.mean()),
            "brier": brier, "excess": brier - least}  # fmt: skip


class Replay:
    """One replay in a workspace of its own."""

    def __init__(self, home: Path, *, recalibrating: bool) -> None:
        """Open the workspace."""
        self.home, self.recalibrating = home, recalibrating
        self.ws = LocalWorkspace.open(root=home)
        self.use_case = open_use_case(self.ws)
        self.looked_back: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []

    def step(self, moment: datetime) -> None:
        """Run the pipeline, and recalibrate where that is what this replay does."""
        began = time.perf_counter()
        Pipeline(self.ws, self.use_case, moment).run()
        found: dict[str, Any] = {"as_of": f"{moment:%Y-%m-%d}"}
        model = self.use_case.model
        if self.recalibrating and CHAMPION in self.ws.registry.aliases(model):
            pipeline = Pipeline(self.ws, self.use_case, moment)
            try:
                result = pipeline.recalibrate(basis="immature", method="odds")
                details = result.details
                found |= {"predicted": details.predicted, "expected": details.observed, "skipped": result.skipped}
                if details.version is not None:
                    gated = pipeline.gate(version=details.version).details
                    found |= {"version": details.version, "from": details.origin, "outcome": gated.outcome,
                              "reason": gated.reason}  # fmt: skip
            except PlatformError as error:
                found["skipped"] = error.message
        found["champion"] = self.ws.registry.aliases(model).get(CHAMPION)
        found["seconds"] = time.perf_counter() - began
        self.steps.append(found)
        print(f"  {'recalibrated' if self.recalibrating else 'left alone  '} {found}", flush=True)

    def scored(self) -> pd.DataFrame:
        """Return what champions said of each loan at its approval."""
        names = Namespace("dev", NAME)
        rows = self.ws.tables.to_arrow(names.gold("predictions"), at_most=10**6, filters=[("alias", "=", CHAMPION)])
        return rows.select(["loan_id", "approved_at", "prediction", "model_version", "as_of"]).to_pandas()

    def all_loans(self, moment: datetime) -> pd.DataFrame:
        """Score all loans of 2007 and 2008 approved by a step with its champion."""
        names, spine = Namespace("dev", NAME), self.use_case.label_spine()
        frame = self.ws.frames.read(
            names.gold(SPINE), filters=[("approved_at", ">", parse_as_of("2006-12-31")), ("approved_at", "<=", moment)]
        )
        rows = self.ws.frames.collect(frame, at_most=10**6, what="loans").sort_by(spine.order)
        number = self.ws.registry.aliases(self.use_case.model)[CHAMPION]
        found = self.ws.fe.score_batch_arrow(
            model_uri=f"models:/{self.use_case.model}/{number}", df=rows, trusted_types=()
        )
        table = found.select(["loan_id", "prediction"]).to_pandas()
        kept = ~learns_from(found.select(["loan_id"]), ("loan_id",), 0.5)
        return table[kept].assign(version=number)


def open_use_case(ws: LocalWorkspace) -> Any:
    """Open credit risk."""
    from mlplatform import open_use_case as opened

    return opened(ws, NAME)


def main() -> None:
    """Replay twice, and print what the loans of 2007 and 2008 were told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--to", default=LAST)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = arguments.home or Path(mkdtemp(prefix="recalibrate"))
    stages.bases_of = lambda use_case: {"realised": RealisedBasis(), "immature": LifeTable()}  # type: ignore[assignment]
    moments_ = list(steps(parse_as_of(FIRST), parse_as_of(arguments.to), "quarter"))
    truth, at_approval, steps_of = came_true(), {}, {}
    back: dict[str, dict[str, Any]] = {}
    for name in ("alone", "moved"):
        replay = Replay(folder / name, recalibrating=name == "moved")
        for moment in moments_:
            replay.step(moment)
            if moment >= parse_as_of("2007-07-01"):
                loans = replay.all_loans(moment)
                found = excess(loans["prediction"].to_numpy(), truth.loc[loans["loan_id"]].to_numpy())
                back.setdefault(f"{moment:%Y-%m-%d}", {})[name] = found
        scored = replay.scored()
        mine = scored[(scored["approved_at"].dt.year >= 2007) & (scored["approved_at"].dt.year <= 2008)]
        at_approval[name] = excess(mine["prediction"].to_numpy(), truth.loc[mine["loan_id"]].to_numpy())
        steps_of[name] = replay.steps
        replay.ws.close()
    show("at approval, by the champion of then", at_approval)
    for as_of, item in back.items():
        show(f"looked back at {as_of}, loans not learned from", item)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"at_approval": at_approval, "looked_back": back, "steps": steps_of}, indent=1, default=str)
        )
    if arguments.home is None:
        shutil.rmtree(folder)


def show(title: str, found: dict[str, Any]) -> None:
    """Print both, and what is left of the excess."""
    alone, moved = found["alone"], found["moved"]
    left = moved["excess"] / alone["excess"]
    print(
        f"{title}: {alone['rows']} loans, {alone['rate']:.1%} charged off; told {alone['mean']:.1%} and "
        f"{moved['mean']:.1%}; excess Brier score {alone['excess']:.5f} and {moved['excess']:.5f} ({left:.0%} is left)"
    )


if __name__ == "__main__":
    sys.exit(main())

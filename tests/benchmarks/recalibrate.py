"""What recalibrating is worth on the loans of the crisis: credit risk replayed by quarter, left alone and recalibrated.

All replays run the same pipeline, with its retraining. The second one recalibrates its champion at the end of each
step, by rates that immature labels tell of, and puts what comes of it to the gate; the third one leaves that to the
retrain decision (`recalibration.when: on_alarm`). What is compared is the excess Brier score of the loans approved in
2007 and 2008: their Brier score, less that of the same ranking perfectly calibrated (isotonic on the very outcomes; the
miscalibration of Dimitriadis, Gneiting and Jordan, "Stable reliability diagrams for probabilistic classifiers", PNAS
2021). Outcomes are read from the files, whatever was known when.

Two questions are asked. At approval: each loan as it was scored then, by the champion of then. Looked back: all loans
of the two years approved by a step, scored by the champion that the step leaves, of them those of entities that no
recalibration learns from; that is what a portfolio revalued then would have been told.

    python tests/benchmarks/recalibrate.py [--home FOLDER] [--to 2009-01-01] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pandas as pd

from mlplatform import open_use_case
from mlplatform.as_of import parse_as_of, steps
from mlplatform.errors import PlatformError
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.pipeline import Pipeline
from mlplatform.recalibration.details import RecalibrationDetails
from mlplatform.refine.spine import SPINE
from mlplatform.training.recalibrated import learns_from
from mlplatform.workspace.local.workspace import LocalWorkspace

NAME, HORIZON = "credit_risk", 36
KINDS = ("alone", "each quarter", "on alarm")
FIRST, LAST = "2006-01-01", "2009-01-01"
DATA = Path(__file__).resolve().parents[2] / "use_cases" / NAME / "data"


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

    def __init__(self, home: Path, kind: str) -> None:
        """Open the workspace.

        Args:
            home: Its folder.
            kind: `alone`, `each quarter` or `on alarm`.
        """
        self.kind, self.ws = kind, LocalWorkspace.open(root=home)
        self.use_case = open_use_case(self.ws, NAME)
        self.steps: list[dict[str, Any]] = []
        given = self.use_case.settings
        # The use case's own settings recalibrate on alarm: the other two replays do without.
        moving = given.recalibration.model_copy(update={"when": "by_hand", "basis": "immature"})
        self.use_case.settings = given.model_copy(update={"recalibration": moving})
        if kind == "on alarm":
            moving = moving.model_copy(update={"when": "on_alarm"})
            watched = given.monitoring.model_copy(update={"retrain_on": ("calibration", "immature_calibration")})
            self.use_case.settings = given.model_copy(update={"recalibration": moving, "monitoring": watched})

    def step(self, moment: datetime) -> None:
        """Run the pipeline, and recalibrate where that is what this replay does."""
        began = time.perf_counter()
        summary = Pipeline(self.ws, self.use_case, moment).run()
        found: dict[str, Any] = {"as_of": f"{moment:%Y-%m-%d}"}
        model = self.use_case.model
        for run in summary.stages:
            if run.stage == "recalibrate":
                found |= told(run.details, run.result.skipped)
            elif run.stage == "gate" and run.details.outcome:
                found |= {"outcome": run.details.outcome, "decided about": run.details.challenger}
        if self.kind == "each quarter" and CHAMPION in self.ws.registry.aliases(model):
            pipeline = Pipeline(self.ws, self.use_case, moment)
            try:
                result = pipeline.recalibrate(basis="immature", method="odds")
                found |= told(result.details, result.skipped)
                if result.details.version is not None:
                    gated = pipeline.gate(version=result.details.version).details
                    found |= {"outcome": gated.outcome, "reason": gated.reason}
            except PlatformError as error:
                found["skipped"] = error.message
        found["champion"] = self.ws.registry.aliases(model).get(CHAMPION)
        found["seconds"] = round(time.perf_counter() - began, 1)
        self.steps.append(found)
        print(f"  {self.kind}: {found}", flush=True)

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


def told(details: RecalibrationDetails, skipped: str) -> dict[str, Any]:
    """Return what a recalibration found."""
    return {"predicted": details.predicted, "expected": details.observed, "version": details.version,
            "from": details.origin, "skipped": skipped}  # fmt: skip


def main() -> None:
    """Replay twice, and print what the loans of 2007 and 2008 were told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--to", default=LAST)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = arguments.home or Path(mkdtemp(prefix="recalibrate"))
    moments_ = list(steps(parse_as_of(FIRST), parse_as_of(arguments.to), "quarter"))
    truth, at_approval, steps_of = came_true(), {}, {}
    back: dict[str, dict[str, Any]] = {}
    for name in KINDS:
        replay = Replay(folder / name.replace(" ", "_"), name)
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
    """Print what each replay told, and what is left of the excess."""
    alone = found["alone"]
    print(f"{title}: {alone['rows']} loans, {alone['rate']:.1%} charged off")
    for name, item in found.items():
        left = item["excess"] / alone["excess"]
        print(f"    {name:13s} told {item['mean']:6.1%}, excess Brier score {item['excess']:.5f} ({left:.0%} is left)")


if __name__ == "__main__":
    sys.exit(main())

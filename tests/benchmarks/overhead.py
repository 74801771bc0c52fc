"""What the platform adds: credit risk's first cycle by `mlplatform run`, and by a plain script with the same libraries.

    python tests/benchmarks/overhead.py
    python tests/benchmarks/overhead.py --as-of 2008-01-01 --repeat 2

The plain script is what somebody would write without the platform: DuckDB reads and types the landed files and computes
the three histories, delta-rs keeps loans, outcomes, histories and predictions, hyperopt tries as many parameters,
scikit-learn fits, MLflow logs and registers, and the loans of the newest quarter are scored. It has no quarantine, no
ledger, no gate, no monitoring, no importance and no report: what those take shows in the stages of the platform's run.
Each side is a process of its own, from start to end, and they take turns. Targets: 1.25 of the time, 1.3 of the memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.scaling.measured import ROOT, Stretch, path_of, run_command
from tests.benchmarks.scaling.result import MB

MOST_SECONDS, MOST_MEMORY = 1.25, 1.3
DATA = ROOT / "use_cases" / "credit_risk" / "data"
CATEGORIES = ["sector", "industry", "state", "lender_state", "revolving_line", "low_doc"]
TRIALS, MONTHS_KNOWN = 8, 36
KEYS = ("lender", "industry", "state")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-of", default="2008-01-01")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", help="Write the figures there.")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain(arguments.plain, arguments.as_of)
        return
    found: dict[str, list[Stretch]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.repeat):
            for who in sorted(found, reverse=bool(number % 2)):
                home = folder / f"{who}_{number}"
                run = ["-m", "mlplatform.cli", "--json", "run", "credit_risk"]
                command = {
                    "ours": [*run, "--as-of", arguments.as_of, "--home", str(home)],
                    "plain": [__file__, "--as-of", arguments.as_of, "--plain", str(home)],
                }[who]
                log = folder / f"{who}.log"
                stretch = run_command([sys.executable, *command], cwd=ROOT, log=log, environment=path_of(ROOT))
                found[who].append(stretch)
                print(f"{who}: {stretch.seconds:.1f} s, of processors {stretch.cpu:.1f} s, {stretch.tree / MB:.0f} MB")
                shutil.rmtree(home)
        print("\n".join(_stages(folder / "ours.log")))
        print((folder / "plain.log").read_text(encoding="utf-8").strip())
    seconds, peak = (
        {who: min(getattr(item, measure) for item in items) for who, items in found.items()}
        for measure in ("seconds", "tree")
    )
    lines = [
        table.Line(
            "first cycle of credit risk, by the clock",
            seconds["ours"],
            against="a plain script",
            other=seconds["plain"],
            limit=MOST_SECONDS,
            peak_mb=peak["ours"] / MB,
        ),
        table.Line(
            "its memory",
            peak["ours"] / MB,
            "MB",
            against="a plain script",
            other=peak["plain"] / MB,
            limit=MOST_MEMORY,
        ),
    ]
    print(f"overhead {seconds['ours'] / seconds['plain']:.2f}")
    table.write(arguments.json, lines)


def _stages(log: Path) -> list[str]:
    """Return what the stages of the platform's run took, from its JSON output."""
    text = log.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return [f"  {stage['stage']}: {stage['seconds']:.2f} s" for stage in found["stages"]]


def plain(home: Path, as_of: str) -> None:
    """Do the cycle without the platform.

    Args:
        home: The folder for its tables and its registry.
        as_of: Files that had landed by then are read.
    """
    import time

    import duckdb
    from deltalake import write_deltalake

    home.mkdir(parents=True)
    took, last = {}, time.perf_counter()

    def lap(what: str) -> None:
        nonlocal last
        took[what], last = round(time.perf_counter() - last, 2), time.perf_counter()

    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        _refine(db, _landed("loans", as_of), _landed("outcomes", as_of))
        for name in ("loans", "outcomes"):
            write_deltalake(str(home / name), db.sql(f"FROM {name}").to_arrow_table())
        lap("tables")
        for key in KEYS:
            _history(db, key, as_of)
            write_deltalake(str(home / f"history_{key}"), db.sql(f"FROM history_{key}").to_arrow_table())
        lap("features")
        rows = _joined(db)
    known = rows["approved_at"] <= _months_before(as_of, MONTHS_KNOWN)
    uri = _train(rows[known], home)
    lap("train")
    due = rows[rows["approved_at"] >= _months_before(as_of, 3)]
    _score(uri, due, home)
    lap("score")
    print(f"  the plain script: {took}, {int(known.sum())} rows to learn from, {len(due)} scored")


def _landed(kind: str, as_of: str) -> list[str]:
    last = datetime.fromisoformat(as_of) - timedelta(days=1)
    newest = f"{last.year}Q{(last.month + 2) // 3}"
    return [str(file) for file in sorted((DATA / kind).glob("*.csv.gz")) if file.name.split("_")[1][:6] <= newest]


def _months_before(as_of: str, months: int) -> Any:
    import pandas as pd

    return pd.Timestamp(as_of, tz="UTC") - pd.DateOffset(months=months)


def _refine(db: Any, loans: list[str], outcomes: list[str]) -> None:
    def day(column: str) -> str:
        return f"try_strptime({column}, '%-d-%b-%y')::TIMESTAMPTZ"

    def money(column: str) -> str:
        return f"try_cast(regexp_replace({column}, '[$, ]', '', 'g') AS DOUBLE)"

    db.execute(
        f"""
        CREATE TABLE loans AS
        SELECT trim(LoanNr_ChkDgt) AS loan_id, {day("ApprovalDate")} AS approved_at, trim(Bank) AS lender,
            trim(BankState) AS lender_state, trim(State) AS state, substring(NAICS, 1, 3) AS industry,
            substring(NAICS, 1, 2) AS sector, {money("GrAppv")} AS amount, {money("SBA_Appv")} AS guaranteed_amount,
            try_cast(trim(NoEmp) AS DOUBLE) AS employees, try_cast(trim(CreateJob) AS DOUBLE) AS jobs_created,
            try_cast(trim(RetainedJob) AS DOUBLE) AS jobs_retained,
            (try_cast(trim(FranchiseCode) AS DOUBLE) > 1)::DOUBLE AS is_franchise,
            (try_cast(trim(NewExist) AS DOUBLE) = 2)::DOUBLE AS is_new_business,
            try_cast(trim(UrbanRural) AS DOUBLE) AS urban_rural, trim(RevLineCr) AS revolving_line,
            trim(LowDoc) AS low_doc
        FROM read_csv(?, all_varchar = true)
        WHERE regexp_matches(loan_id, '^[0-9]{{10}}$') AND amount > 0 AND guaranteed_amount BETWEEN 0 AND amount
            AND employees >= 0 AND jobs_created >= 0 AND jobs_retained >= 0
        QUALIFY row_number() OVER (PARTITION BY loan_id ORDER BY approved_at) = 1
        """,
        [loans],
    )
    db.execute(
        f"""
        CREATE TABLE outcomes AS
        SELECT trim(LoanNr_ChkDgt) AS loan_id, {day("ChgOffDate")} AS charged_off_at,
            {money("ChgOffPrinGr")} AS charged_off_amount
        FROM read_csv(?, all_varchar = true)
        WHERE regexp_matches(loan_id, '^[0-9]{{10}}$')
        QUALIFY row_number() OVER (PARTITION BY loan_id ORDER BY charged_off_at) = 1
        """,
        [outcomes],
    )


def _history(db: Any, key: str, as_of: str) -> None:
    db.execute(
        f"""
        CREATE TABLE history_{key} AS
        WITH events AS (
            SELECT {key}, approved_at AS day, 1 AS loans, amount, 0 AS charge_offs FROM loans
            UNION ALL
            SELECT {key}, charged_off_at, 0, 0, 1 FROM outcomes JOIN loans USING (loan_id)
            WHERE charged_off_at IS NOT NULL
        ), monthly AS (
            SELECT {key}, date_trunc('month', day) + INTERVAL 1 MONTH AS known_at, sum(loans) AS loans,
                sum(amount) AS amount, sum(charge_offs) AS charge_offs
            FROM events WHERE {key} IS NOT NULL GROUP BY ALL
        ), grid AS (
            SELECT {key}, known_at FROM (SELECT {key}, min(known_at) AS first FROM monthly GROUP BY ALL),
                LATERAL (SELECT unnest(generate_series(first, TIMESTAMPTZ '{as_of}', INTERVAL 1 MONTH)) AS known_at)
        ), sums AS (
            SELECT {key}, known_at,
                sum(coalesce(loans, 0)) OVER ever AS loans_ever, sum(coalesce(amount, 0)) OVER ever AS amount_ever,
                sum(coalesce(charge_offs, 0)) OVER year AS charge_offs_12m
            FROM grid LEFT JOIN monthly USING ({key}, known_at)
            WINDOW ever AS (PARTITION BY {key} ORDER BY known_at),
                year AS (PARTITION BY {key} ORDER BY known_at
                    RANGE BETWEEN INTERVAL 11 MONTHS PRECEDING AND CURRENT ROW)
        ), portfolio AS (
            SELECT known_at, (sum(charge_offs_12m) + 5.0) / (sum(loans_ever) + 1000.0) AS rate,
                sum(amount_ever) / sum(loans_ever) AS mean
            FROM sums GROUP BY ALL
        )
        SELECT {key}, known_at, loans_ever::BIGINT AS {key}_loans,
            ln((charge_offs_12m + 200.0 * rate) / (loans_ever + 200.0) / rate) AS {key}_relative_risk,
            (amount_ever + 20.0 * mean) / (loans_ever + 20.0) AS {key}_mean_amount
        FROM sums JOIN portfolio USING (known_at)
        """
    )


def _joined(db: Any) -> Any:
    return db.sql(
        f"""
        SELECT loans.* EXCLUDE (lender), lender_relative_risk, lender_mean_amount, industry_relative_risk,
            state_relative_risk, guaranteed_amount / amount AS guaranteed_share,
            (loans.state = lender_state)::DOUBLE AS same_state,
            coalesce(charged_off_at <= approved_at + INTERVAL {MONTHS_KNOWN} MONTHS, false)::INT AS charged_off
        FROM loans LEFT JOIN outcomes USING (loan_id)
            ASOF LEFT JOIN history_lender l ON loans.lender = l.lender AND approved_at >= l.known_at
            ASOF LEFT JOIN history_industry i ON loans.industry = i.industry AND approved_at >= i.known_at
            ASOF LEFT JOIN history_state s ON loans.state = s.state AND approved_at >= s.known_at
        ORDER BY approved_at, loan_id
        """
    ).df()


def _train(rows: Any, home: Path) -> str:
    import mlflow
    import numpy as np
    from hyperopt import STATUS_OK, fmin, hp, space_eval, tpe
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    inputs = [name for name in rows.columns if name not in {"loan_id", "approved_at", "charged_off"}]
    numbers = [name for name in inputs if name not in CATEGORIES]
    space = {
        "max_depth": hp.choice("max_depth", [2, 3, 4]),
        "learning_rate": hp.loguniform("learning_rate", np.log(0.03), np.log(0.1)),
        "max_iter": hp.choice("max_iter", [60, 100, 150]),
        "min_samples_leaf": hp.choice("min_samples_leaf", [30, 50, 100]),
        "l2_regularization": hp.loguniform("l2_regularization", np.log(1), np.log(30)),
        "max_features": hp.choice("max_features", [0.5, 1.0]),
    }

    def model(params: dict[str, Any]) -> Any:
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=10)
        coded = make_column_transformer((codes, CATEGORIES), ("passthrough", numbers))
        return make_pipeline(coded, HistGradientBoostingClassifier(**params, early_stopping=False, random_state=0))

    def auc(params: dict[str, Any], fit: Any, judged: Any) -> tuple[float, Any]:
        fitted = model(params).fit(fit[inputs], fit["charged_off"])
        return float(roc_auc_score(judged["charged_off"], fitted.predict_proba(judged[inputs])[:, 1])), fitted

    test = int(len(rows) * 0.75)
    validation = int(test * 0.75)

    def trial(params: dict[str, Any]) -> dict[str, Any]:
        return {"loss": -auc(params, rows[:validation], rows[validation:test])[0], "status": STATUS_OK}

    best = fmin(
        trial, space, algo=tpe.suggest, max_evals=TRIALS, rstate=np.random.default_rng(0), show_progressbar=False
    )
    params = space_eval(space, best)
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    mlflow.set_experiment(
        experiment_id=mlflow.create_experiment("credit_risk", artifact_location=(home / "artifacts").as_uri())
    )
    with mlflow.start_run():
        score, fitted = auc(params, rows[:test], rows[test:])
        mlflow.log_params(params)
        mlflow.log_metric("roc_auc", score)
        info = mlflow.sklearn.log_model(
            fitted,
            name="model",
            input_example=rows[inputs].head(5),
            registered_model_name="credit_risk",
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    mlflow.MlflowClient().set_registered_model_alias("credit_risk", "champion", str(info.registered_model_version))
    return "models:/credit_risk@champion"


def _score(uri: str, rows: Any, home: Path) -> None:
    import mlflow
    import pyarrow as pa
    from deltalake import write_deltalake

    loaded = mlflow.sklearn.load_model(uri)
    names = [name for name in rows.columns if name not in {"loan_id", "approved_at", "charged_off"}]
    scored = rows[["loan_id", "approved_at"]].assign(prediction=loaded.predict_proba(rows[names])[:, 1])
    write_deltalake(str(home / "predictions"), pa.Table.from_pandas(scored, preserve_index=False))


if __name__ == "__main__":
    main()

"""Make the small workspace of the version at hand, which the tests of all later versions open: see README.md beside it.

.venv/bin/python tests/released/make.py            # before a release, as the last of its commits
.venv/bin/python tests/released/make.py --again    # in place of the one that is there, as long as it was not released
"""

from __future__ import annotations

import io
import os
import sqlite3
import sys
import tempfile
from contextlib import chdir, closing, redirect_stdout
from pathlib import Path

from mlplatform.cli.main import execute
from mlplatform.ops.schema_mark import platform_version
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import edited_use_case
from tests.support.kept_workspace import Answers, KeptWorkspace, archive_of, digest, pack

USE_CASE = edited_use_case.NAME
SETTINGS = {
    "landing": "data",
    "training": {"metric": "roc_auc", "min_rows": 200, "search": {"max_evals": 2}},
    # So wide that the third version is promoted: there is one to roll back to.
    "gate": {"floor": 0.6, "min_rows": 100, "min_positives": 20, "draws": 200, "margin": 0.2},
}
LAST, NEXT = "2020-08-01", "2020-09-01"
# No champion for want of rows; a champion; alerts, and another champion; the first one again.
STEPS = (
    ("run", USE_CASE, "--as-of", "2020-06-01"),
    ("run", USE_CASE, "--as-of", "2020-07-01"),
    ("run", USE_CASE, "--as-of", LAST),
    ("rollback", USE_CASE, "--as-of", LAST, "--reason", "complaints about the new prices"),
    ("score", USE_CASE, "--as-of", LAST),
    ("monitor", USE_CASE, "--as-of", LAST),
)
FAULTY = "X1,2020-03-05,north,-1.00,3"


def make(folder: Path) -> KeptWorkspace:
    """Make the workspace in an empty folder, with the command line, and keep what it answers."""
    kept = KeptWorkspace(folder)
    kept.use_cases.mkdir()
    edited_use_case.write_use_case(kept.use_cases, Path("data"), **SETTINGS)
    data = edited_use_case.write_data(kept.use_cases / USE_CASE / "data", months=8, rows_a_month=150)
    with (data / "signups" / "signups_2020-03.csv").open("a", encoding="utf-8") as drop:
        drop.write(f"{FAULTY}\n")  # for the quarantine
    for step in STEPS:
        sys.stderr.write(f"mlplatform {' '.join(step)}\n")
        execute([*step, *kept.options])
    printed = io.StringIO()
    with redirect_stdout(printed):
        execute(["history", USE_CASE, "--json", *kept.options])
    with LocalWorkspace.open(root=kept.home) as ws:
        predictions = ws.tables.to_arrow(f"dev.{USE_CASE}.gold_predictions", at_most=100_000)
        champion = ws.registry.aliases(f"dev.{USE_CASE}.model")["champion"]
    columns = tuple(predictions.column_names)
    kept.keep(printed.getvalue(), Answers(LAST, NEXT, champion, columns, digest(predictions, columns)))
    with closing(sqlite3.connect(kept.home / "mlflow" / "mlflow.db")) as database:
        database.execute("VACUUM")
    return kept


def main() -> None:
    """Make it and pack it."""
    target = archive_of(platform_version())
    if target.exists() and "--again" not in sys.argv:
        sys.exit(f"{target} is there. One that was released stays as it is; before that: --again")
    os.environ["LOGNAME"] = "release"  # whoever makes it does not stand in its decisions
    # MLflow notes where it was called from: from nowhere that anybody has.
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        pack(make(Path(folder)), target)
    print(f"{target}: {target.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()

"""Reads the purchases from the installed package that brings them, and deals them out by month."""

import importlib.metadata
from pathlib import Path

import pandas as pd

from mlplatform import MissingDependencyError, Replay

PACKAGE, FILE = "Lifetimes", "lifetimes/datasets/CDNOW_master.txt"


def extract_file() -> Path:
    """Return where the installed package keeps the purchases; the package itself, unmaintained, is not imported."""
    try:
        return Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE))).resolve(strict=True)
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise MissingDependencyError(
            f"The purchases of the use case churn come with the package {PACKAGE}, whose file {FILE} is missing.",
            hint="pip install 'mlplatform[samples]', or make setup.",
        ) from error


class PurchaseReports(Replay):
    """A purchase is reported when its day is over."""

    every = "month"

    def records(self, extract: Path) -> pd.DataFrame:
        """Return the purchases, numbered: the extract has no order number, and several are alike."""
        del extract  # nothing lies there
        purchases = pd.read_csv(extract_file(), sep=r"\s+", dtype=str, keep_default_na=False)
        purchases.insert(0, "purchase_id", [f"{number:05d}" for number in range(1, len(purchases) + 1)])
        day = pd.to_datetime(purchases["date"], format="%Y%m%d", utc=True)
        return purchases.assign(reported_at=day + pd.Timedelta(days=1))

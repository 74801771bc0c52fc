"""`mlplatform doctor`: what is missing here, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator

import click

from mlplatform.cli import output
from mlplatform.cli.commands import command
from mlplatform.cli.diagnosis import Diagnosis, installed
from mlplatform.cli.doctor_data import examine_data
from mlplatform.cli.doctor_databricks import databricks_diagnoses
from mlplatform.cli.options import Options
from mlplatform.errors import PlatformError, UsageError

PACKAGES = ("pyspark", "pysail", "deltalake", "duckdb", "mlflow", "scikit-learn", "hyperopt", "pyarrow", "pandas")
NEEDED_DISK = 2 * 1024**3


@command(
    examples=(
        "mlplatform doctor",
        "mlplatform doctor --home /data/mlplatform",
        "mlplatform doctor --workspace databricks --env dev",
        "mlplatform doctor --data credit_risk",
    ),
)
@click.option("--data", "use_case", metavar="USE_CASE", help="Prove a use case's tables, models and records instead.")
@click.option("--quick", is_flag=True, help="With --data: leave out what computes tables once more.")
def doctor(use_case: str | None, quick: bool, options: Options) -> None:
    """Check that nothing which the workspace needs is missing.

    Exits with 1 if something is; the command that mends it is printed. With --data, it is checked that files are whole,
    that rows in are rows out and quarantined at each step, that tables hold the rows that their inputs give (told by
    their keys), and that predictions, aliases and models are as on record. It changes nothing.
    """
    if use_case is not None:
        examine_data(use_case, options, quick=quick)
        return
    if quick:
        raise UsageError("--quick is about --data.", hint="mlplatform doctor --data USE_CASE --quick")
    if options.workspace == "databricks":
        diagnoses = [*_python(options), *databricks_diagnoses(options)]
    else:
        diagnoses = [diagnosis for look in (_python, _packages, _workspace, _use_cases) for diagnosis in look(options)]
        if all(diagnosis.well for diagnosis in diagnoses):
            diagnoses.extend(_engines(options))
    if options.as_json:
        output.show_json([vars(diagnosis) for diagnosis in diagnoses])
    else:
        rows = [
            (
                "ok" if item.well else "MISSING",
                item.what,
                item.found,
                "" if item.well else options.hints.repeated(item.mend),
            )
            for item in diagnoses
        ]
        output.console().print(output.table("mlplatform doctor", ("", "what", "found", "mend it with"), rows))
    missing = [diagnosis.what for diagnosis in diagnoses if not diagnosis.well]
    if missing:
        raise PlatformError(
            f"{len(missing)} of {len(diagnoses)} things are missing: {', '.join(missing)}.",
            hint="What mends each is printed above.",
        )


def _python(options: Options) -> Iterator[Diagnosis]:
    del options
    version = ".".join(map(str, sys.version_info[:3]))
    yield Diagnosis("Python 3.11 to 3.13", (3, 11) <= sys.version_info[:2] <= (3, 13), version, "install Python 3.12")


def _packages(options: Options) -> Iterator[Diagnosis]:
    del options
    for package in PACKAGES:
        version = installed(package)
        yield Diagnosis(package, bool(version), version or "not installed", "pip install 'mlplatform[local]'")
    connect = installed("databricks-connect")
    if connect and installed("pyspark"):
        yield Diagnosis(
            "one pyspark",
            well=False,
            found=f"databricks-connect {connect} beside pyspark",
            mend="pip uninstall databricks-connect, then reinstall pyspark",
        )


def _workspace(options: Options) -> Iterator[Diagnosis]:
    from mlplatform.workspace.local.home import check_path, workspace_root

    try:
        root = workspace_root(options.home)
        check_path(root)
    except PlatformError as error:
        yield Diagnosis("workspace folder", well=False, found=error.message, mend=error.hint)
        return
    existing = root
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        found = f"{existing} is no folder"
    else:
        found = "writable" if os.access(existing, os.W_OK) else "not writable"
    yield Diagnosis(f"workspace folder {root}", found == "writable", found, "use --home PATH")
    if not existing.is_dir():
        return
    free = shutil.disk_usage(existing).free
    yield Diagnosis(
        "2 GB of free disk", free > NEEDED_DISK, f"{free / 1024**3:.0f} GB", "free some, or use --home PATH"
    )


def _use_cases(options: Options) -> Iterator[Diagnosis]:
    from mlplatform import discovery
    from mlplatform.config.settings import load_settings

    found = discovery.search(options.use_cases)
    use_cases = found.use_cases
    for name, problem in found.broken.items():
        yield Diagnosis(f"use case {name}", well=False, found=problem.message, mend=problem.hint)
    if not use_cases:
        yield Diagnosis("use cases", well=False, found="none", mend="run in the project, or give --use-cases PATH")
    for item in use_cases.values():
        try:
            file = discovery.config_file(item)
            landing = file.parent / load_settings(file, options.env).landing
        except PlatformError as error:
            yield Diagnosis(f"use case {item.name}", well=False, found=error.message, mend=error.hint)
        else:
            exists = landing.is_dir()
            yield Diagnosis(
                f"use case {item.name}",
                exists,
                f"landing folder {landing}" + ("" if exists else " does not exist"),
                "set 'landing' in config.yml",
            )


def _engines(options: Options) -> Iterator[Diagnosis]:
    with options.open(read_only=True) as ws:
        looks: tuple[tuple[str, Callable[[], object]], ...] = (
            ("Spark (Sail) answers", lambda: ws.spark.range(1).count()),
            ("MLflow registry answers", lambda: ws.registry.aliases(f"{ws.catalog}.doctor.model")),
        )
        for what, look in looks:
            try:
                look()
            except PlatformError as error:
                yield Diagnosis(what, well=False, found=error.message, mend=error.hint)
            else:
                yield Diagnosis(what, well=True, found="yes")

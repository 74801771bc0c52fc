"""What is shipped: the wheel's names and metadata, and that it works where it is installed."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ENGINES = ("pyspark", "pysail", "deltalake", "duckdb", "databricks-feature-engineering")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The build backend of this environment: no second one is downloaded.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(PROJECT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_the_use_cases_without_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mlplatform", "use_cases"}
    assert "mlplatform/py.typed" in names
    assert "use_cases/credit_risk/config.yml" in names
    assert "mlplatform/reporting/templates/report.html.j2" in names
    assert "use_cases/__init__.py" not in names, "use_cases is a namespace: a team's own folder adds to it"
    assert not [name for name in names if name.endswith((".csv", ".gz", ".parquet")) or "/data/" in name]
    assert not [name for name in names if "/tests/" in name]


def test_the_wheel_needs_no_engine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
        (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        entry_points = archive.read(points).decode()
    core = [item for item in fields.get_all("Requires-Dist", []) if "extra ==" not in item]
    assert not [item for item in core if item.startswith(ENGINES)]
    assert {"local", "databricks", "dev"} <= set(fields.get_all("Provides-Extra", []))
    assert fields["License-Expression"] == "MIT"
    assert "mlplatform = mlplatform.cli.main:main" in entry_points
    assert "mlplatform-job = mlplatform.cli.job:main" in entry_points
    assert "credit_risk = use_cases.credit_risk:CreditRisk" in entry_points


def test_the_installed_wheel_works_and_leaves_the_standard_library_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed without dependencies into an environment of its own, which sees ours for them."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    # Appended, so that the wheel's files come first; not as a site folder, whose .pth would add the checkout.
    (site / "zz_dependencies.pth").write_text(f"{ours}\n")
    code = (
        "import platform, mlplatform, mlplatform.discovery as d\n"
        "assert platform.python_version(), platform\n"
        f"assert mlplatform.__file__.startswith({str(home)!r}), mlplatform.__file__\n"
        "found = d.find_use_cases()\n"
        f"assert str(found['credit_risk'].folder).startswith({str(home)!r}), found\n"
        "print(platform.__file__)\n"
    )
    done = subprocess.run(
        [str(home / "bin" / "python"), "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "site-packages" not in done.stdout

"""What the project is made of, and what is known against it: bill of materials, audit, waived rules of bandit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
UV = Path(sys.executable).with_name("uv")


def run(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / ".ci" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), **environment},
        timeout=120,
    )


def test_the_bill_of_materials_names_all_that_the_lock_file_holds(tmp_path: Path) -> None:
    target = tmp_path / "dist" / "mlplatform.cdx.json"
    done = run("sbom", target, UV=str(UV))
    assert done.returncode == 0, done.stderr
    bill = json.loads(target.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "mlplatform"
    listed = {(item["name"], item.get("version")) for item in bill["components"]}
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {(item["name"], item["version"]) for item in lock["package"] if "registry" in item["source"]}
    assert locked - listed == set()
    for item in bill["components"]:
        if item["name"] != "mlplatform":
            assert item["purl"].startswith("pkg:pypi/"), item["name"]


FAKE = """#!/bin/sh
if [ "$1" = export ]; then
  for word in "$@"; do last=$word; done
  echo 'numpy==2.4.0 --hash=sha256:00' > "$last"
  exit 0
fi
if [ "$1" = tool ]; then
  echo "$@" > {calls}
  while [ "$1" != --output ]; do shift; done
  {pip_audit}
fi
shift 4
exec {python} "$@"
"""
FOUND: dict[str, Any] = {
    "dependencies": [
        {"name": "numpy", "version": "2.4.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.4.1"]}]},
        {"name": "pysail", "version": "0.6.0", "vulns": []},
    ]
}
NONE = {"dependencies": [item | {"vulns": []} for item in FOUND["dependencies"]]}


def audit(tmp_path: Path, pip_audit: str, **environment: str) -> subprocess.CompletedProcess[str]:
    uv = tmp_path / "uv"
    uv.write_text(FAKE.format(calls=tmp_path / "calls", pip_audit=pip_audit, python=sys.executable))
    uv.chmod(0o755)
    return run("audit", UV=str(uv), **environment)


def answered(content: dict[str, Any], code: int) -> str:
    return f"echo '{json.dumps(content)}' > \"$2\"; exit {code}"


def test_a_known_weakness_fails_the_audit_and_is_named_with_what_mends_it(tmp_path: Path) -> None:
    done = audit(tmp_path, answered(FOUND, 1))
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == ["numpy 2.4.0: PYSEC-1, fixed in: 2.4.1", "2 packages audited"]
    called = (tmp_path / "calls").read_text()
    assert re.search(r"pip-audit@\d+\.\d+\.\d+ ", called), "the version is pinned"
    assert "--require-hashes" in called
    assert "--disable-pip" in called, "nothing is installed"


def test_where_none_is_known_the_audit_says_of_how_many(tmp_path: Path) -> None:
    done = audit(tmp_path, answered(NONE, 0))
    assert (done.returncode, done.stdout) == (0, "2 packages audited\n"), done.stderr


@pytest.mark.parametrize(
    ("required", "code"), [({}, 0), ({"MLPLATFORM_REQUIRE_AUDIT": "1"}, 1)], ids=["here", "nightly"]
)
def test_where_no_index_answers_that_is_said_and_is_no_clean_bill(
    tmp_path: Path, required: dict[str, str], code: int
) -> None:
    done = audit(tmp_path, "echo 'ConnectionError: pypi.org does not answer' >&2; exit 1", **required)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Not audited: no index answered" in done.stderr
    assert "pypi.org does not answer" in done.stderr


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)], ids=["here", "nightly"])
def test_an_index_that_knows_none_of_the_packages_gives_no_clean_bill(tmp_path: Path, required: str, code: int) -> None:
    skipped = {"dependencies": [{"name": "numpy", "skip_reason": "not found"}, {"name": "scipy", "skip_reason": "x"}]}
    done = audit(tmp_path, answered(skipped, 0), MLPLATFORM_REQUIRE_AUDIT=required)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Not audited: the index that answered knows nothing of any package" in done.stderr


def test_packages_that_the_index_does_not_know_are_named(tmp_path: Path) -> None:
    some = {"dependencies": [NONE["dependencies"][0], {"name": "ours", "skip_reason": "not found"}]}
    done = audit(tmp_path, answered(some, 0))
    assert done.stdout == "1 packages audited; the index does not know 1: ours\n", done.stderr


def test_both_pipelines_look_every_night_and_keep_the_bill() -> None:
    nightly = (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")
    azure = (ROOT / "azure-pipelines.yml").read_text(encoding="utf-8")
    for text in (nightly, azure):
        assert "make sbom" in text
        assert re.search(r"make audit", text)
        assert "MLPLATFORM_REQUIRE_AUDIT" in text
    assert ".ci/sbom dist/mlplatform.cdx.json" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("folder", ["platform", "use_cases"])
def test_where_a_rule_of_bandit_is_waived_the_line_says_why(folder: str) -> None:
    waived = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "tests" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"# noqa:[^(]*\bS\d{3}\b", line) and not re.search(r"# noqa: [A-Z0-9, ]+  \(.+\)$", line)
    ]
    assert waived == []


def test_ruff_looks_for_what_bandit_looks_for_and_no_rule_is_off_for_all_but_with_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    off = [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    assert off == ["S101", "S603"]
    for rule in off:
        assert re.search(rf'"{rule}", +# \w+', text), f"{rule} is off without a reason"
    for pattern, rules in lint["per-file-ignores"].items():
        waived = [rule for rule in rules if re.fullmatch(r"S\d*", rule)]
        assert "tests" in pattern or set(waived) <= {"S608"}, pattern

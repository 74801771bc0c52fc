"""Uploading samples with the real SDK, against the stand-in's Files API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config

from mlplatform.errors import DeploymentError, StageError
from mlplatform.workspace.databricks.uploads import upload
from tests.standin.environment import environment
from tests.standin.server import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

LANDING = Path("/Volumes/dev/credit_risk/landing")
DATA = Path(__file__).parents[2] / "use_cases" / "credit_risk" / "data"
FILES = sorted(DATA.glob("loans/*2002*.gz")) + sorted(DATA.glob("outcomes/*2002*.gz"))


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "standin") as running, environment(running):
        yield running


@pytest.fixture
def client(standin: StandIn) -> WorkspaceClient:
    return WorkspaceClient(config=Config(retry_timeout_seconds=3, http_timeout_seconds=2))


def there(standin: StandIn) -> dict[str, bytes]:
    root = standin.files.path(LANDING.as_posix())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def sent(standin: StandIn) -> int:
    return sum(call.method == "PUT" and call.path.startswith("/api/2.0/fs/files/") for call in standin.calls)


def expected() -> dict[str, bytes]:
    assert len(FILES) > 4
    return {path.relative_to(DATA).as_posix(): path.read_bytes() for path in FILES}


def test_what_arrives_is_what_lies_here_and_again_sends_nothing(client: WorkspaceClient, standin: StandIn):
    first = upload(client, DATA, FILES, LANDING)
    assert there(standin) == expected()
    assert (first.uploaded, first.skipped, first.size) == (len(FILES), 0, sum(map(len, expected().values())))
    standin.calls.clear()
    again = upload(client, DATA, FILES, LANDING)
    assert (again.uploaded, again.skipped) == (0, len(FILES))
    assert sent(standin) == 0
    assert upload(client, DATA, FILES, LANDING, overwrite=True).uploaded == len(FILES)
    assert standin.unexpected == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "429", "retry_after": 0},
        {"kind": "503", "retry_after": 0},
        {"kind": "drop_before"},
        {"kind": "drop_after"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_passing_fault_is_tried_again(client: WorkspaceClient, standin: StandIn, fault: dict[str, Any]):
    hit = standin.faults.add(method="PUT", path="/fs/files/", skip=1, **fault)
    assert upload(client, DATA, FILES, LANDING).uploaded == len(FILES)
    assert hit.hits == 1
    assert there(standin) == expected()


def test_a_lasting_fault_says_how_far_it_came_and_again_completes_it(client: WorkspaceClient, standin: StandIn):
    standin.faults.add("500", method="PUT", path="/fs/files/", skip=2, times=None)
    with pytest.raises(StageError, match=f"after 2 of {len(FILES)}") as raised:
        upload(client, DATA, FILES, LANDING)
    standin.assert_token_not_in(f"{raised.value} {raised.value.hint}")
    assert len(there(standin)) == 2
    standin.faults.clear()
    done = upload(client, DATA, FILES, LANDING)
    assert (done.uploaded, done.skipped) == (len(FILES) - 2, 2)
    assert there(standin) == expected()


def test_who_may_not_write_is_told_what_is_needed(client: WorkspaceClient, standin: StandIn):
    standin.faults.add("403", method="PUT", path="/fs/", times=None)
    with pytest.raises(DeploymentError) as raised:
        upload(client, DATA, FILES, LANDING)
    assert "WRITE VOLUME" in raised.value.hint

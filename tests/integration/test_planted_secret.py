"""A secret is planted, the whole cycle is run with its failures, and every byte that was written is searched for it."""

from __future__ import annotations

import gzip
import io
import logging
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlplatform.cli.main import main
from mlplatform.config.alerts import WebhookSettings
from mlplatform.errors import ConfigError
from mlplatform.monitoring.webhook import post
from mlplatform.workspace.local.secrets import LocalSecrets
from tests.support.hook import RESET, listening
from tests.support.tiny_use_case import NAME, write_tiny_use_case

PROJECT = Path(__file__).resolve().parents[2]
MARK = "pl4ntedS3cret0f7hisTest"
AS_OF = "2020-08-01"
SECRETS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "MLPLATFORM_SECRET_OTHER_KEY")


def found_in(root: Path) -> list[str]:
    """Return where below a folder the secret stands, also where it is packed."""
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(_holds(part) for part in _unpacked(path.read_bytes()))
    ]


def _holds(content: bytes) -> bool:
    return MARK.lower().encode() in content.lower() or MARK.encode("utf-16-le") in content


def _unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(pa.BufferReader(content))
        yield repr(table.to_pylist()).encode()
        yield repr(table.schema).encode()
    elif content[:2] == b"\x1f\x8b":
        yield from _unpacked(gzip.decompress(content))
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from _unpacked(archive.read(name))


def test_the_search_finds_it_wherever_it_may_stand(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"... {MARK} ...")
    (tmp_path / "upper.txt").write_text(MARK.upper())
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as file:
        file.write(MARK)
    pq.write_table(pa.table({"detail": ["a", MARK]}), tmp_path / "part.parquet", compression="zstd")
    with zipfile.ZipFile(tmp_path / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", MARK * 100)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE tags (value TEXT)")
        database.execute("INSERT INTO tags VALUES (?)", [MARK])
    database.close()
    (tmp_path / "clean.txt").write_text("nothing")
    assert found_in(tmp_path) == ["log.txt", "mlflow.db", "model.skops", "part.parquet", "rows.csv.gz", "upper.txt"]


@pytest.mark.slow
def test_a_planted_secret_is_written_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    webhook = {"secret": "alerts/webhook", "attempts": 2, "backoff_seconds": 0, "timeout_seconds": 2}
    tiny = write_tiny_use_case(
        project / "use_cases",
        months=9,
        rows_a_month=150,
        # No model reaches this floor: an alert is there to be sent.
        monitoring={"performance_floor": 0.99, "alerts": {"webhook": webhook}},
    )
    for name in ("databricks.yml", "uv.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, project)
    monkeypatch.chdir(project)
    for name in SECRETS:
        monkeypatch.setenv(name, f"{MARK}-{name}")
    caplog.set_level(logging.INFO)
    for name in ("mlplatform", "mlflow", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    output = ""

    def run(*words: str, code: int = 0) -> None:
        nonlocal output
        with pytest.raises(SystemExit) as left:
            main([*words, "--home", str(home)])
        said = capsys.readouterr()
        output += said.out + said.err
        assert left.value.code == code, said.err

    with listening() as hook:
        # By a variable of the environment; the endpoint refuses, then breaks off.
        monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", f"{hook.url}{MARK}")
        hook.answers = [500, RESET]
        run("run", NAME, "--as-of", AS_OF, "--debug")
        assert len(hook.got) == 2, "it was tried, and failed"
        # By `.env`; now it is delivered.
        monkeypatch.delenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK")
        (project / ".env").write_text(f"MLPLATFORM_SECRET_ALERTS_WEBHOOK='{hook.url}{MARK}'\n")
        run("monitor", NAME, "--as-of", AS_OF, "--json")
        assert len(hook.got) > 2
    # A run that fails, with its traceback.
    drop = next((tiny.data / "signups").glob("signups_2020-08.csv"))
    drop.write_bytes(b"\x00\xff\xfe")
    run("run", NAME, "--as-of", "2020-09-01", "--debug", code=1)
    for words in (["status", NAME, "--json"], ["history", NAME], ["config", "show", NAME, "--json"]):
        run(*words)
    run("bundle", "generate", NAME)

    (project / ".env").unlink()
    assert "Traceback" in output
    assert list(home.rglob("*.html")), "the report was written"
    assert list(home.rglob("mlflow.db")), "and the registry"
    assert (project / "resources" / f"{NAME}.yml").is_file()
    assert found_in(tmp_path) == []
    assert MARK.lower() not in output.lower()
    assert MARK.lower() not in caplog.text.lower()
    assert "alerts/webhook" in output, "its reference may be shown, and is"


@pytest.mark.parametrize(
    "url",
    [
        f"http://[{MARK}",
        f"ftp://host/{MARK}",
        f"http://{MARK}.invalid:1/",
        f"http://user:{MARK}@127.0.0.1:1/x",
        f"http://127.0.0.1:99999/{MARK}",
        f"http://127.0.0.1:port{MARK}/",
        f"http://127.0.0.1:1/{MARK} with blanks",
        f"http://127.0.0.1:1/{MARK}\r\nHost: x",
        f"HTTP://127.0.0.1:1/{MARK}\udcff",
        f"file:///{MARK}",
        MARK,
    ],
)
def test_a_url_that_is_none_is_not_repeated_by_what_went_wrong(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    options = WebhookSettings(secret="a/b", attempts=1, timeout_seconds=0.5)
    done = post(url, {"text": "x"}, options, wait=lambda _: None)
    assert not done.delivered
    assert done.detail
    assert MARK.lower() not in f"{done!r} {caplog.text}".lower()


@pytest.mark.parametrize("content", [MARK.encode() + b"\xff", MARK.encode("utf-16"), None])
def test_an_env_file_that_cannot_be_read_is_named_and_not_quoted(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_bytes(content or b"")
    if content is None:

        def closed(self: Path, **_: str) -> str:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(ConfigError, match=r"\.env (is not UTF-8|cannot be read)") as caught:
        LocalSecrets(path).get("alerts", "webhook")
    assert MARK not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"

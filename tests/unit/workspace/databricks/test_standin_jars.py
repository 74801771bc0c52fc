import hashlib
import io
import urllib.error

import pytest

from tests.standin import jars

CONTENT = b"a jar"


@pytest.fixture
def maven(monkeypatch):
    """Maven Central, with one jar; tells what was asked for."""
    asked = []
    held = {"content": CONTENT}

    def urlopen(url, timeout):
        asked.append(url)
        if held["content"] is None:
            raise urllib.error.URLError("no route to host")
        return io.BytesIO(held["content"])

    monkeypatch.setattr(jars.urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(jars, "JARS", (jars.Jar("org/x/x.jar", hashlib.sha256(CONTENT).hexdigest()),))
    return asked, held


def test_a_jar_is_downloaded_once_and_kept(maven, tmp_path):
    asked, _ = maven
    assert [path.read_bytes() for path in jars.delta_jars(tmp_path)] == [CONTENT]
    assert jars.delta_jars(tmp_path) == [tmp_path / "x.jar"]
    assert asked == ["https://repo1.maven.org/maven2/org/x/x.jar"]
    assert jars.missing(tmp_path) is None


def test_a_jar_that_is_another_is_neither_kept_nor_used(maven, tmp_path):
    asked, held = maven
    held["content"] = b"something else"
    assert "SHA-256" in jars.missing(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.jar").write_bytes(b"broken in the cache")
    held["content"] = CONTENT
    assert [path.read_bytes() for path in jars.delta_jars(tmp_path)] == [CONTENT]
    assert len(asked) == 2


def test_without_a_network_it_is_said_what_is_missing_where(maven, tmp_path):
    _, held = maven
    held["content"] = None
    reason = jars.missing(tmp_path)
    assert "https://repo1.maven.org/maven2/org/x/x.jar" in reason
    assert str(tmp_path) in reason
    assert "no route to host" in reason

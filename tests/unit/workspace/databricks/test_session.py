import sys

import pytest
from pyspark.sql import SparkSession

from mlplatform.errors import MissingDependencyError, UnavailableError
from mlplatform.workspace.databricks import session


class FakeConf:
    def __init__(self, zone, *, fixed=False):
        self.zone, self.fixed = zone, fixed

    def get(self, name):
        assert name == "spark.sql.session.timeZone"
        return self.zone

    def set(self, name, value):
        if self.fixed:
            raise RuntimeError("CANNOT_MODIFY_CONFIG")
        self.zone = value


class FakeSession:
    def __init__(self, conf):
        self.conf = conf


@pytest.fixture
def active(monkeypatch):
    monkeypatch.delenv(session.RUNTIME, raising=False)

    def activate(found):
        monkeypatch.setattr(SparkSession, "getActiveSession", lambda: found)
        return found

    return activate


def test_the_session_that_is_there_is_taken_and_computes_in_utc(active):
    there = active(FakeSession(FakeConf("Europe/Berlin")))
    assert session.open_session() is there
    assert there.conf.zone == "UTC"


def test_a_zone_that_is_utc_by_another_name_is_left_alone(active):
    there = active(FakeSession(FakeConf("Etc/UTC", fixed=True)))
    assert session.open_session() is there


def test_another_zone_that_cannot_be_changed_is_refused(active):
    active(FakeSession(FakeConf("America/New_York", fixed=True)))
    with pytest.raises(UnavailableError, match="America/New_York and cannot be set to UTC"):
        session.open_session()


def test_without_a_session_or_databricks_connect_the_error_says_how_to_get_one(active, monkeypatch):
    active(None)
    monkeypatch.setitem(sys.modules, "databricks.connect", None)
    with pytest.raises(MissingDependencyError, match=r"pip install databricks-connect.*never beside pyspark"):
        session.open_session()

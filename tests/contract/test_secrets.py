"""Secrets: found where they are set, missing by name, and their values nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mlplatform.errors import ConfigError
from mlplatform.protocols.workspace import Secrets

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

VALUE = "s3cr3t ü = '\"x"

Put = Callable[[str, str, str], None]


@pytest.fixture
def put(ws: Workspace, home: str, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Set a secret as a person would."""
    if home == "local":
        return lambda scope, key, value: monkeypatch.setenv(f"MLPLATFORM_SECRET_{scope}_{key}".upper(), value)

    def put_secret(scope: str, key: str, value: str) -> None:
        client = ws.client  # type: ignore[attr-defined]
        if scope not in {item.name for item in client.secrets.list_scopes()}:
            client.secrets.create_scope(scope)
        client.secrets.put_secret(scope, key, string_value=value)

    return put_secret


def test_a_secret_comes_from_where_it_was_set_and_changes_with_it(ws, put):
    assert isinstance(ws.secrets, Secrets)
    for value in (VALUE, "another"):
        put("slack", "url", value)
        assert ws.secrets.get("slack", "url") == value


@pytest.mark.parametrize(("scope", "key"), [("slack", "absent"), ("absent", "url"), ("slack", "empty")])
def test_a_missing_secret_names_scope_key_and_places_and_no_value(ws, put, scope, key):
    put("slack", "url", VALUE)
    put("slack", "empty", "")
    with pytest.raises(ConfigError, match=rf"Secret {scope}/{key} is not set\. Searched") as refused:
        ws.secrets.get(scope, key)
    assert refused.value.hint.startswith("Set ")
    assert VALUE not in f"{refused.value}{refused.value.hint}{refused.value.__cause__}{refused.value.__context__}"


def test_nothing_about_it_is_kept_or_shown(ws, put):
    put("slack", "url", VALUE)
    ws.secrets.get("slack", "url")
    shown = f"{ws.secrets!r} {vars(ws.secrets)}"
    assert VALUE not in shown

"""Errors of the Databricks registry: they name the request and the grant, and carry no credential."""

from __future__ import annotations

import pytest

from mlplatform.workspace.databricks.registry_errors import redacted, registry_error


class RefusedError(Exception):
    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.error_code = code


@pytest.mark.parametrize(
    "text",
    [
        "failed. Config: host=https://x, token=dapi0123456789abcdef. Env: DATABRICKS_TOKEN",
        "failed: Authorization: Bearer eyJhbGciOi.abc.def",
        "failed {'token': 'dapi0123456789abcdef'}",
    ],
)
def test_no_credential_passes(text):
    shown = redacted(text)
    assert shown.startswith("failed")
    assert not any(secret in shown for secret in ("0123456789abcdef", "eyJ", "host="))


def test_a_refusal_names_the_grant_that_is_missing():
    error = registry_error(
        "set alias champion", RefusedError("no", "PERMISSION_DENIED"), needs="ownership of the model"
    )
    assert str(error) == "Could not set alias champion: no\nHint: It needs ownership of the model."


def test_what_did_not_answer_names_the_settings():
    assert "DATABRICKS_HOST" in registry_error("read it", TimeoutError("Timed out after 0:00:30")).hint
    assert "run again" in registry_error("read it", RefusedError("ailing", "INTERNAL_ERROR")).hint

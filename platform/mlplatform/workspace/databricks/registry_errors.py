"""What MLflow raises, in our words: which request, which host, which grant; never a credential."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlplatform.errors import PlatformError, RegistryError
from mlplatform.workspace.databricks.connection import cause, scrubbed
from mlplatform.workspace.shared.model_store import MISSING_HINT

MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
EXISTS = frozenset({"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"})
_DENIED = frozenset({"PERMISSION_DENIED", "UNAUTHORIZED"})
_UNKNOWN_CALLER = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "INVALID_CREDENTIALS"})
# The SDK appends its settings, with the host and masked credentials, to what it could not do.
_CONFIG = re.compile(r"[.\s]*\bConfig: .*", re.DOTALL)
_CREDENTIAL = re.compile(r"(dapi|dkea|dose|Bearer\s+|token[\"']?\s*[=:]\s*[\"']?)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_LONGEST = 500


def code_of(error: BaseException) -> str:
    """Return the service's code of an error; empty when it gave none."""
    return str(getattr(error, "error_code", "") or "")


def registry_error(doing: str, error: BaseException, *, needs: str = "") -> RegistryError:
    """Say what could not be done, why, and what helps.

    Args:
        doing: What was being done.
        error: What went wrong.
        needs: What the caller must have been granted for it.
    """
    code = code_of(error)
    if code in MISSING:
        hint = MISSING_HINT
    elif code in _DENIED:
        hint = f"It needs {needs}." if needs else "Ask the owner for the grant it needs."
    elif code in _UNKNOWN_CALLER:
        hint = "The workspace does not know who asks; see `databricks auth describe`."
    elif isinstance(error, (TimeoutError, ConnectionError)) or not code:
        hint = (
            "Nothing was assumed about it. Is the host right (DATABRICKS_HOST, or the profile), and does it answer? "
            "MLFLOW_HTTP_REQUEST_TIMEOUT and MLFLOW_HTTP_REQUEST_MAX_RETRIES say how long to wait."
        )
    else:
        hint = "Nothing was assumed about it; run again when the registry answers."
    return RegistryError(f"Could not {doing}: {redacted(str(error))}", hint=hint)


def redacted(text: str) -> str:
    """Return the text without credentials and without the SDK's settings, cut to a readable length."""
    cleaned = _CREDENTIAL.sub(r"\1***", scrubbed(_CONFIG.sub("", text))).strip()
    return cleaned if len(cleaned) <= _LONGEST else f"{cleaned[:_LONGEST]} ..."


@contextmanager
def translated(doing: str, *, needs: str = "") -> Iterator[None]:
    """Raise what goes wrong inside as a RegistryError."""
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:  # noqa: BLE001  (raised again, without what might be a credential)
        raise registry_error(doing, error, needs=needs) from cause(error)

"""What MLflow raises, in our words: which request, which host, which grant; never a credential."""

from __future__ import annotations

import re

from mlplatform.errors import RegistryError
from mlplatform.workspace.databricks.connection import scrubbed
from mlplatform.workspace.shared.registry_errors import MISSING, MISSING_HINT, NOTHING_ASSUMED, code_of

_DENIED = frozenset({"PERMISSION_DENIED", "UNAUTHORIZED"})
_UNKNOWN_CALLER = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "INVALID_CREDENTIALS"})
# The SDK appends its settings, with the host and masked credentials, to what it could not do.
_CONFIG = re.compile(r"[.\s]*\bConfig: .*", re.DOTALL)
_CREDENTIAL = re.compile(r"(dapi|dkea|dose|Bearer\s+|token[\"']?\s*[=:]\s*[\"']?)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_LONGEST = 500


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
        hint = NOTHING_ASSUMED
    return RegistryError(f"Could not {doing}: {redacted(str(error))}", hint=hint)


def redacted(text: str) -> str:
    """Return the text without credentials and without the SDK's settings, cut to a readable length."""
    cleaned = _CREDENTIAL.sub(r"\1***", scrubbed(_CONFIG.sub("", text))).strip()
    return cleaned if len(cleaned) <= _LONGEST else f"{cleaned[:_LONGEST]} ..."

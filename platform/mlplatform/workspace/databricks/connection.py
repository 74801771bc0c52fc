"""The SDK's client: opened in seconds or not at all, its errors made ours, calls repeated where that is safe."""

from __future__ import annotations

import configparser
import os
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlplatform.errors import MissingDependencyError, PlatformError, UnavailableError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

T = TypeVar("T")

PREFLIGHT_SECONDS = 4
HTTP_SECONDS = 20
RETRY_SECONDS = 30
ATTEMPTS = 4
_SEARCHED = (
    "DATABRICKS_HOST with DATABRICKS_TOKEN, or with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
    "the profile DATABRICKS_CONFIG_PROFILE (default: DEFAULT) of DATABRICKS_CONFIG_FILE (default: ~/.databrickscfg)",
    "the Azure, Google Cloud and Databricks command lines' own logins, and OIDC of a CI",
    "the notebook's or job's own identity",
)
# Whatever might be a credential in a message that is not ours.
_SECRETS = re.compile(r"(?i)\b(?:dapi|dose|dkea)[0-9a-z-]{8,}|\beyJ[\w.-]{10,}|\b(?:bearer|basic)\s+\S+|://[^/\s@]+@")


def connect() -> WorkspaceClient:
    """Return a client for the workspace that the SDK's unified authentication leads to.

    Raises:
        UnavailableError: If the host does not answer within seconds, or does not know who asks.
        MissingDependencyError: If the SDK is not installed.
    """
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.config import Config
        from databricks.sdk.errors import PermissionDenied, Unauthenticated
    except ImportError as error:
        raise MissingDependencyError("databricks-sdk is not installed.", hint="pip install databricks-sdk") from error
    host, setting = configured_host()
    if host:
        _preflight(host, setting)
    try:
        client = WorkspaceClient(
            config=Config(http_timeout_seconds=HTTP_SECONDS, retry_timeout_seconds=RETRY_SECONDS, product="mlplatform")
        )
        client.current_user.me()
    except ValueError as error:
        raise _unknown(host, setting, f"no way to authenticate was found ({_reason(error)})") from None
    except (Unauthenticated, PermissionDenied):
        raise _unknown(host, setting, "it does not accept the credentials") from None
    except OSError as error:
        raise _silent(host or "the workspace", setting, _reason(error)) from None
    return client


def user_name(client: WorkspaceClient) -> str:
    """Return who the workspace says we are: a user's name, or a service principal's application id.

    Raises:
        UnavailableError: If it does not answer.
    """
    with translated("Asking the workspace who we are", UnavailableError):
        me = retrying(client.current_user.me)
    return str(me.user_name or me.display_name or me.id or "")


@contextmanager
def translated(doing: str, error_class: type[PlatformError]) -> Iterator[None]:
    """Turn the SDK's errors into one of ours.

    Args:
        doing: What was being done, as in `Reading dev.credit_risk.model`; begins the message.
        error_class: What to raise.

    Raises:
        UnavailableError: If the workspace does not know who asks.
        PlatformError: `error_class`, with a hint about the way out; credentials are taken out of the text.
    """
    from databricks.sdk import errors
    from databricks.sdk.errors.base import DatabricksError

    try:
        yield
    except PlatformError:
        raise
    except errors.Unauthenticated:
        raise UnavailableError(
            f"{doing}: the workspace does not accept the credentials any more.", hint="Log in again."
        ) from None
    except errors.PermissionDenied as error:
        raise _ours(
            error_class, doing, error, "Ask for this privilege; docs/databricks.md lists who needs which."
        ) from cause(error)
    except errors.NotFound as error:
        raise _ours(error_class, doing, error, "Is the name right, and may this identity see it?") from cause(error)
    except (
        errors.TooManyRequests,
        errors.InternalError,
        errors.TemporarilyUnavailable,
        errors.DeadlineExceeded,
    ) as error:
        raise _ours(error_class, doing, error, "The workspace is overloaded or ailing; run again later.") from cause(
            error
        )
    except DatabricksError as error:
        raise _ours(error_class, doing, error, "") from cause(error)
    except OSError as error:
        # Timeouts too. The SDK has used up its retries.
        hint = "No answer came, so it may or may not have taken effect; run again: repeating it is safe."
        raise _ours(error_class, doing, error, hint) from cause(error)


def retrying(call: Callable[[], T]) -> T:
    """Return what a call that is safe to repeat returns, repeating it after 5xx and lost connections.

    The SDK itself repeats after 429, 503 and lost connections, for half a minute, but not after other 5xx.
    """
    from databricks.sdk import errors
    from databricks.sdk.errors.base import DatabricksError

    transient = (errors.TooManyRequests, errors.InternalError, errors.TemporarilyUnavailable, errors.DeadlineExceeded)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except DatabricksError as error:
            if not isinstance(error, transient) or attempt == ATTEMPTS:
                raise
        except TimeoutError:
            raise  # The SDK's, after half a minute of trying.
        except OSError:
            if attempt == ATTEMPTS:
                raise
        time.sleep(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311  (no secret)
    raise AssertionError("unreachable")


def configured_host() -> tuple[str, str]:
    """Return the host that the SDK will talk to, and the setting it comes from; empty when only the runtime knows.

    Examples:
        >>> import os
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, {"DATABRICKS_HOST": "https://example.cloud.databricks.com"}):
        ...     configured_host()
        ('https://example.cloud.databricks.com', 'DATABRICKS_HOST')
    """
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        return _with_scheme(host), "DATABRICKS_HOST"
    path = Path(os.environ.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return "", ""  # The SDK says what is wrong with the file.
    profile = os.environ.get("DATABRICKS_CONFIG_PROFILE") or parser.get("__settings__", "default_profile", fallback="")
    profile = profile or "DEFAULT"
    host = parser.defaults().get("host") if profile == "DEFAULT" else parser.get(profile, "host", fallback="")
    return (_with_scheme(host), f"profile {profile} of {path}") if host else ("", "")


def _with_scheme(host: str) -> str:
    return host.rstrip("/") if "://" in host else f"https://{host.rstrip('/')}"


def _preflight(host: str, setting: str) -> None:
    """Ask the host anything, without credentials: the SDK would take minutes to find out that nobody is there."""
    if not host.startswith(("http://", "https://")):
        raise _silent(host, setting, "this is no web address")
    try:
        with urllib.request.urlopen(f"{host}/.well-known/databricks-config", timeout=PREFLIGHT_SECONDS):  # nosec B310  # noqa: S310  (see above)
            pass
    except urllib.error.HTTPError:
        pass  # It answers; that is all that was asked.
    except urllib.error.URLError as error:
        # Certificates are the SDK's business, which has a list of its own.
        if not isinstance(error.reason, ssl.SSLError):
            raise _silent(host, setting, str(error.reason)) from error
    except (OSError, ValueError) as error:
        raise _silent(host, setting, str(error)) from error


def _silent(host: str, setting: str, reason: str) -> UnavailableError:
    where = f" (from {setting})" if setting else ""
    return UnavailableError(
        f"{scrubbed(host)}{where} does not answer: {scrubbed(reason)}.",
        hint="Is the address right, and is the network (VPN, proxy) up?",
    )


def _unknown(host: str, setting: str, reason: str) -> UnavailableError:
    where = f"{scrubbed(host)} (from {setting})" if host else "No workspace is configured"
    return UnavailableError(f"{where}: {reason}.", hint="Searched, in the SDK's order: " + "; ".join(_SEARCHED) + ".")


def _ours(error_class: type[PlatformError], doing: str, error: Exception, hint: str) -> PlatformError:
    return error_class(f"{doing}: {_reason(error)}", hint=hint)


def cause(error: Exception) -> Exception | None:
    """Return the error if it may be shown: a traceback prints the cause too, whose text nobody has scrubbed."""
    return error if scrubbed(str(error)) == str(error) else None


def _reason(error: Exception) -> str:
    lines = scrubbed(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def scrubbed(text: str) -> str:
    """Return a text that is not ours without what might be a credential."""
    for setting in ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_PASSWORD"):
        secret = os.environ.get(setting)
        text = text.replace(secret, "***") if secret else text
    return _SECRETS.sub("***", text)

"""What Google's libraries raise, as words for people, without a token.

`kit.analyze.connection.google` knows a cause by how its words begin.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kit.collect import masking

# What the analysis knows by: whoever asks could not even begin to ask.
WAY_CLOSED = "the way to the server did not open"
_RENEWAL = "gcloud auth application-default login"
_LOGIN_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_BEGINNING = "Cloud SQL connector"
# An access token of Google, a JSON web token, and what stands after their header's name.
_TOKENS = re.compile(r"ya29\.[\w.~+/-]+=*|eyJ[\w-]{10,}\.[\w-]+\.?[\w-]*|(?<=Bearer )\S+", re.ASCII)
# An answer of the API may be a page of anybody's.
_LONGEST = 300
_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was being asked when it failed: the account, where known, and the kind of address that was tried."""

    account: str | None
    address: str
    tokens: frozenset[str]


def login_words(error: BaseException) -> tuple[str, str]:
    """Return why Google's login of whoever runs the kit cannot be used, and what to do, as one sentence each."""
    name, said = type(error).__name__, str(error)
    if name == "TransportError" or (name == "RefreshError" and getattr(error, "retryable", False)):
        hint = "Check DNS and that HTTPS to it passes, and try again."
        return "Google's login server (oauth2.googleapis.com, or the metadata server) gave no token.", hint
    if name == "RefreshError" and re.search(r"impersonat|getAccessToken", said):
        hint = "Let its administrator grant roles/iam.serviceAccountTokenCreator on it, or log in without impersonation."
        return "The login that the kit uses may not impersonate the service account that it names.", hint
    if name in ("RefreshError", "ReauthFailError", "ReauthSamlChallengeFailError"):
        return "The token of Google's application default credentials has expired, or was revoked.", renewal()
    if name == "DefaultCredentialsError" and "not found" in said:
        return "Google's application default credentials were not found.", renewal()
    return f"Google's application default credentials cannot be used: {name}.", renewal()


def renewal() -> str:
    """Return what renews the login: the command, or the file that the environment names in its place."""
    if os.environ.get(_LOGIN_FILE):
        return f"Renew the file that {_LOGIN_FILE} names; or unset it, and run `{_RENEWAL}`."
    return f"Run `{_RENEWAL}`, and try again."


def connection_words(error: BaseException, asked: Asked) -> str:
    """Return why the connector made no connection; its beginning is what the analysis knows it by."""
    if type(error).__module__.startswith("google.auth"):
        return f"{WAY_CLOSED}: {' '.join(login_words(error))}"
    if type(error).__module__.startswith("aiohttp"):
        return _of_api(error, asked)
    return f"{_BEGINNING}: {_of_library(error, asked) or _of_network(error, asked) or type(error).__name__}"


def without_tokens(text: str, tokens: Iterable[str]) -> str:
    """Return what a server said in one line, without these tokens and without what looks like one."""
    return masking.message(_TOKENS.sub(masking.MASKED, masking.message(text, tokens)))[:_LONGEST]


def _of_api(error: Any, asked: Asked) -> str:
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        hint = "Check DNS and that HTTPS to it passes; the connector does not use HTTPS_PROXY."
        return f"{WAY_CLOSED}: Google's API (sqladmin) cannot be reached from here: {type(error).__name__}. {hint}"
    said = without_tokens(str(getattr(error, "message", "")), asked.tokens)
    if status == 401:
        return f"{WAY_CLOSED}: Google's API does not take the login that the kit uses (401). {renewal()}"
    return f"{_BEGINNING}: {_meaning(status, said, asked)}: {status} {said}".rstrip()


def _meaning(status: int, said: str, asked: Asked) -> str:
    if status == 403 and re.search(r"requires a quota project", said):
        return "the login has no quota project"
    if status == 403 and re.search(r"has not been used in project|it is disabled|SERVICE_DISABLED", said):
        return "the API is disabled"
    if status == 403:
        return f"the API refused the account {asked.account or 'of the application default credentials'} (roles/cloudsql.client)"
    return "there is no such instance" if status == 404 else "the API answered"


def _of_library(error: BaseException, asked: Asked) -> str | None:
    name, words = type(error).__name__, without_tokens(str(error), asked.tokens)
    region = re.search(r"region was mismatched .*expected ([a-z0-9-]+)\.", words)
    if region:
        return f"the instance is in another region: {region[1]}"
    if name == "IncompatibleDriverError":
        version = re.search(r"database version '(\w+)'", words)
        return f"the instance's engine is {version[1] if version else 'another'}, not PostgreSQL"
    return "the instance has no address, neither public nor private nor PSC" if name == "CloudSQLIPTypeError" else None


def _is_of_the_way(error: OSError) -> bool:
    # A full disk or a folder that is gone is an OSError too.
    return isinstance(error, ssl.SSLError | TimeoutError | ConnectionError | socket.gaierror) or error.errno in _NETWORK


def _of_network(error: BaseException, asked: Asked) -> str | None:
    if not isinstance(error, OSError) or not _is_of_the_way(error):
        return None
    where = f"to the instance's {asked.address} address, port 3307"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server is not the instance: {without_tokens(error.verify_message, ())}"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection {where}: {error.reason or 'TLS failed'}"
    if isinstance(error, TimeoutError):
        is_handshake = "handshake" in str(error)
        return f"no {'encrypted ' if is_handshake else ''}connection {where}: timed out"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"no encrypted connection {where}: {os.strerror(error.errno or 0)}"
    if isinstance(error, socket.gaierror):
        return f"no connection {where}: its name cannot be resolved from here"
    return f"no connection {where}: {os.strerror(error.errno) if error.errno else type(error).__name__}"

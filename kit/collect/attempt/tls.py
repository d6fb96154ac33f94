"""The encrypted step: what the server shows, and whether the connection string would take it.

Seen first without trust, so that a certificate that is refused can be described; verified on a connection of its own.
Nothing secret is ever sent over either.
"""

from __future__ import annotations

import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from kit.collect.attempt.certificate import read_certificate
from kit.collect.attempt.options import Options
from kit.collect.attempt.records import StepFailed

WANTED = ("require", "verify-ca", "verify-full")
_FOLDER = Path("~/.postgresql")
_VERSIONS = {f"tlsv1{minor}": getattr(ssl.TLSVersion, f"TLSv1{minor.replace('.', '_')}") for minor in ("", ".1", ".2", ".3")}
VERIFY_CODES = {
    9: "TLS_NOT_YET_VALID",
    10: "TLS_EXPIRED",
    18: "TLS_SELF_SIGNED",
    19: "TLS_UNKNOWN_CA",
    20: "TLS_UNKNOWN_CA",
    21: "TLS_UNKNOWN_CA",
    62: "TLS_NAME",
    64: "TLS_NAME",
}


def mode(options: Options) -> str:
    """Return the sslmode in force."""
    return options.get("sslmode", "prefer")


def handshake(connection: socket.socket, options: Options, host: str) -> tuple[ssl.SSLSocket, str]:
    """Return the encrypted connection, unverified, and words for what the server showed."""
    try:
        encrypted = _unverified(options).wrap_socket(connection, server_hostname=host or None)
    except ssl.SSLError as error:
        raise StepFailed("TLS_HANDSHAKE", f"{error.reason or 'the handshake failed'}{_direct(options)}") from None
    except ConnectionError:
        raise StepFailed("TLS_HANDSHAKE", f"the server closed during the handshake{_direct(options)}") from None
    shown = read_certificate(encrypted.getpeercert(binary_form=True) or b"")
    return encrypted, f"{encrypted.version()}, {shown.words if shown else 'a certificate that cannot be read'}"


def _direct(options: Options) -> str:
    is_direct = options.get("sslnegotiation") == "direct"
    return "; sslnegotiation=direct needs a server of PostgreSQL 17 or later" if is_direct else ""


def is_verified(options: Options) -> bool:
    """Return whether libpq would verify: asked to, or because a root certificate lies where it looks."""
    return mode(options).startswith("verify") or (mode(options) == "require" and _root(options).is_file())


def verify(open_tls: Callable[[], socket.socket], options: Options, host: str, shown: str) -> None:
    """Raise StepFailed where libpq would refuse the certificate; `shown` says what the server showed."""
    context = _verifying(options)
    context.check_hostname = mode(options) == "verify-full"
    context.hostname_checks_common_name = True
    with open_tls() as connection:
        try:
            context.wrap_socket(connection, server_hostname=host or None).close()
        except ssl.SSLCertVerificationError as error:
            code = VERIFY_CODES.get(error.verify_code, "TLS_REFUSED")
            raise StepFailed(code, f"{error.verify_message}; {shown}") from None
        except ssl.SSLError as error:
            raise StepFailed("TLS_HANDSHAKE", f"{error.reason or 'the handshake failed'}; {shown}") from None


def _unverified(options: Options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _completed(context, options)


def _verifying(options: Options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    root = _root(options)
    if options.get("sslrootcert") == "system":
        context.load_default_certs()
    elif not root.is_file():
        raise StepFailed("TLS_NO_ROOT", f"the root certificate {root} is not there")
    else:
        try:
            context.load_verify_locations(cafile=root)
        except (ssl.SSLError, OSError):
            raise StepFailed("TLS_NO_ROOT", f"the root certificate {root} cannot be read") from None
    return _completed(context, options)


def _completed(context: ssl.SSLContext, options: Options) -> ssl.SSLContext:
    """Add what the connection string says of the client's own certificate and of the negotiation."""
    if options.get("ssl_min_protocol_version"):
        context.minimum_version = _VERSIONS.get(options["ssl_min_protocol_version"].lower(), context.minimum_version)
    if options.get("ssl_max_protocol_version"):
        context.maximum_version = _VERSIONS.get(options["ssl_max_protocol_version"].lower(), context.maximum_version)
    _refuse_key(options)
    certificate, key = _own(options, "sslcert", "postgresql.crt"), _own(options, "sslkey", "postgresql.key")
    if certificate.is_file() and key.is_file():
        try:
            # A password is given in any case: else OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=options.get("sslpassword", ""))
        except (ssl.SSLError, OSError):
            raise StepFailed("TLS_CLIENT_KEY", f"the client's certificate {certificate} and its key do not go together") from None
    if options.get("sslnegotiation") == "direct":
        context.set_alpn_protocols(["postgresql"])
    return context


def _refuse_key(options: Options) -> None:
    """Raise StepFailed where libpq refuses the client's key before it speaks: it is missing, or others may read it."""
    certificate, key = _own(options, "sslcert", "postgresql.crt"), _own(options, "sslkey", "postgresql.key")
    if options.get("sslcertmode") == "disable" or not certificate.is_file() or options.get("sslkey", "").startswith("engine:"):
        return
    try:
        found = key.stat()
    except OSError:
        raise StepFailed("TLS_CLIENT_KEY", f"the private key file {key} of the client's certificate is not there") from None
    mode = stat.S_IMODE(found.st_mode)
    if mode & (0o037 if found.st_uid == 0 else 0o077):
        raise StepFailed("TLS_CLIENT_KEY", f"libpq refuses the private key file {key}: others may read it (mode {mode:04o})")


def _root(options: Options) -> Path:
    return _own(options, "sslrootcert", "root.crt")


def _own(options: Options, key: str, name: str) -> Path:
    return Path(options[key]) if options.get(key) else (_FOLDER / name).expanduser()

"""Connecting where a connection string names several hosts: one after the other, and a refused login ends it."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

ALL_SECONDS = 10
LEAST_SECONDS = 2
_OF_TLS = re.compile(r"SSL|TLS|certificate|encryption", re.IGNORECASE)
NO_ROOT = "/nonexistent/incident-kit/root.crt"
_MODES = {"sslmode": "PGSSLMODE", "sslnegotiation": "PGSSLNEGOTIATION", "service": "PGSERVICE", "sslrootcert": "PGSSLROOTCERT"}
_PLACES = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT"}
REFUSED_LOGIN = re.compile(
    r"authentication failed|no password supplied|channel binding|authentication method|SCRAM|SASL|GSSAPI|SSPI", re.IGNORECASE
)


def connected(conninfo: str, given: Mapping[str, Any], **options: Any) -> psycopg.Connection[Any]:
    """Return a connection to the first host that lets us in; psycopg.OperationalError where none does.

    The driver would send a password that one host refused to all the others as well, and libpq's sslmode=prefer sends it
    again without TLS; some services shut out an address after two wrong ones.
    """
    places = list(_places(given)) or [{}]
    if len(places) > 1 and "connect_timeout" in options:
        options["connect_timeout"] = min(options["connect_timeout"], max(LEAST_SECONDS, ALL_SECONDS // len(places)))
    failures: list[psycopg.OperationalError] = []
    for place in places:
        try:
            return _once(make_conninfo(conninfo, **place), given, options)
        except psycopg.OperationalError as error:
            failures.append(error)
            if REFUSED_LOGIN.search(str(error)):
                break
    last = failures[-1]
    last.args = ("\n".join(dict.fromkeys(str(error) for error in reversed(failures))),)
    raise last


def _once(conninfo: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Connect as sslmode=prefer and allow do, but for the second login after one that was refused."""
    modes = _modes(given)
    if not modes:
        return psycopg.connect(conninfo, **options)
    first, second = (make_conninfo(conninfo, **mode) for mode in modes)
    try:
        return psycopg.connect(first, **options)
    except psycopg.OperationalError as error:
        if not _OF_TLS.search(str(error)) or REFUSED_LOGIN.search(str(error)):
            raise
    return psycopg.connect(second, **options)


def _modes(given: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the two ways that libpq would try in turn; none where it tries one alone, or a service may say which."""
    named = any(given.get(key) or os.environ.get(variable) for key, variable in _MODES.items())
    mode = given.get("sslmode", "" if named else "prefer")
    # A root certificate that lies where libpq looks would make `require` verify, which `prefer` never does.
    ways = [{"sslmode": "require", "sslrootcert": NO_ROOT}, {"sslmode": "disable"}]
    return {"prefer": ways, "allow": ways[::-1]}.get(mode, [])


def _places(given: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the hosts, addresses and ports that belong together; nothing where libpq would refuse their counts."""
    named = {key: str(given.get(key) or os.environ.get(variable, "")).split(",") for key, variable in _PLACES.items()}
    count = max(len(named["host"]), len(named["hostaddr"]))
    if any(len(values) not in (1, count) for values in named.values()) or (
        named["hostaddr"] != [""] and len(named["hostaddr"]) != count
    ):
        return
    order = list(range(count))
    if given.get("load_balance_hosts") == "random":
        random.shuffle(order)
    for place in order:
        values = {key: parts[place if len(parts) > 1 else 0] for key, parts in named.items()}
        yield {key: value for key, value in values.items() if value}

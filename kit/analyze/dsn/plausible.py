"""What a part of a connection string may look like, and what gives away that two parts, or a secret, ran together in it."""

from __future__ import annotations

import re

from kit.analyze.dsn.vocabulary import SECRET

# An equals sign, a scheme, or a user and password with their @: the separator before the next part is missing.
_RUN_TOGETHER = re.compile(r"=|://|:[^:/@]*@")
_NO_HOST = re.compile(r"[!\"#$&'()*+;<=>?@\\^`{|}~]")
_SECRET_PARAMETER = re.compile(rf"[?&;](?:{'|'.join(sorted(SECRET))})=", re.IGNORECASE)
# What is left over from a statement, a list or a file in which escapes were written out: `db;`, `db,`, `db\\n`.
STRAY_END = re.compile(r"(?:[;,\\]|\\[nrt])+\Z")


def is_run_together(value: str) -> bool:
    """Return whether a part holds what no such part does, so that a secret may stand in it.

    >>> is_run_together("apppassword=secret"), is_run_together("postgres://u:p@h"), is_run_together("shop")
    (True, True, False)
    """
    return bool(_RUN_TOGETHER.search(value))


def is_no_host(host: str) -> bool:
    """Return whether a decoded host holds signs of which none stands in a host's name, an address or a socket's path."""
    return bool(_NO_HOST.search(host)) and not host.startswith(("/", "@"))


def holds_secret_parameter(userinfo: str) -> bool:
    """Return whether what stands before the last @ holds a query with a secret, to which that @ may belong."""
    return bool(_SECRET_PARAMETER.search(userinfo))


def without_stray_end(value: str) -> str:
    """Return the value without the signs that a statement, a list or a written escape left at its end."""
    return STRAY_END.sub("", value)

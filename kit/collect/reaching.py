"""Reaching a target: commands that fetch its login, a tunnel, Google's connector. All of it ends with the block.

Commands come from kit.toml, which may come from anybody's repository: none runs before this user has confirmed the file
(by its hash), or a job has said KIT_TRUST=1. What a command prints is a secret and is never repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from psycopg.conninfo import make_conninfo

from kit.collect.attempt.options import Endpoint, effective, endpoints
from kit.collect.attempt.records import StepFailed
from kit.collect.commands import printed
from kit.collect.connection import parameters
from kit.collect.connector import through_google
from kit.collect.tunnel import opened_tunnel
from kit.errors import TargetError
from kit.target import DatabaseSource, Target, libpq_form
from kit.target.reach import Reach

TRUST_VARIABLE = "KIT_TRUST"


@contextlib.contextmanager
def reached(source: DatabaseSource) -> Iterator[DatabaseSource]:
    """Yield the source as it can be asked: with its connection string, password and way; nothing of it outlives the block.

    TargetError where nobody confirmed the commands, CaptureError where one of them fails (an expired token is said to be
    one), MissingTier where the extra [cloudsql] is wanted.
    """
    reach = source.reach
    if reach is None:
        yield source
        return
    _refuse_untrusted(reach)
    conninfo = _fetched(reach) if reach.dsn_command else source.conninfo
    with contextlib.ExitStack() as opened:
        if reach.tunnel:
            opened.enter_context(opened_tunnel(reach.tunnel, reach.config.parent, local_end(conninfo)))
        if reach.cloudsql:
            host = opened.enter_context(through_google(reach.cloudsql))
            conninfo = make_conninfo(conninfo, host=host)
        if reach.password_command:
            conninfo = _with_password(reach, conninfo)
        yield replace(source, conninfo=conninfo, reach=None)


def untrusted(target: Target) -> list[Reach]:
    """Return what would run commands that nobody has confirmed here, for somebody to look at before `trust`."""
    reaches = [source.reach for source in target.databases if source.reach is not None]
    return [reach for reach in reaches if reach.commands and not _is_trusted(reach)]


def trust(reach: Reach) -> None:
    """Remember that this user has confirmed the commands of this very kit.toml; a changed file is asked about anew."""
    folder = _trust_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _confirmation(reach).touch(mode=0o600)
    except OSError as error:
        raise TargetError(f"The confirmation cannot be kept in {folder}: {error.strerror}.", f"Set {TRUST_VARIABLE}=1.") from None


def _refuse_untrusted(reach: Reach) -> None:
    if reach.commands and not _is_trusted(reach):
        hint = f"See and confirm them with: kit trust TARGET (a job says {TRUST_VARIABLE}=1)."
        raise TargetError(f"{reach.config} names commands to run, and nobody has confirmed them here.", hint)


def _is_trusted(reach: Reach) -> bool:
    return os.environ.get(TRUST_VARIABLE) == "1" or _is_own_file(_confirmation(reach))


def _confirmation(reach: Reach) -> Path:
    # The folder is part of what was confirmed: a command such as ./dsn is another one in a copy of the same file.
    place = os.fsencode(reach.config.parent.resolve() / reach.config.name)
    return _trust_folder() / hashlib.sha256(place + b"\0" + reach.config_sha256.encode()).hexdigest()


def _is_own_file(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _trust_folder() -> Path:
    # A relative folder would be one of whatever repository is at hand; the specification has it ignored.
    state = Path(os.environ.get("XDG_STATE_HOME") or "").expanduser()
    return (state if state.is_absolute() else Path("~/.local/state").expanduser()) / "incident-kit" / "trusted"


def _fetched(reach: Reach) -> str:
    text = printed(reach.dsn_command, reach.config.parent, "connection string")
    conninfo = libpq_form(text.strip())
    parameters(conninfo)
    return conninfo


def _with_password(reach: Reach, conninfo: str) -> str:
    password = printed(reach.password_command, reach.config.parent, "password")
    return make_conninfo(conninfo, password=password)


def local_end(conninfo: str) -> Endpoint:
    """Return where a tunnel ends on this machine: the host and port of the connection string, as libpq reads it."""
    try:
        return endpoints(effective(conninfo))[0]
    except StepFailed as error:
        hint = "Give the tunnel's local end in the connection string: host=127.0.0.1 port=15432."
        raise TargetError(f"The tunnel's local end is not known: {error.words}.", hint) from None

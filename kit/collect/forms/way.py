"""The way to the server as a job sees it: socket folder and file, name and addresses, with a code and words for each step.

Printed between the client of the protocol and the job: Python 3.8, the standard library alone. Steps, codes and words are
those of `kit.collect.attempt`, so that a failure is judged as one that the kit met itself.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

from kit.collect.forms.place import Refused, code_of, socket_path, words_of
from kit.collect.forms.wire import CONNECT_SECONDS

SOCKET_BYTES = 107
MOST_ADDRESSES = 4


def way(given: dict[str, str]) -> list[list[Any]]:
    """Return a row a step: its name, host, port, address, whether it was passed, code, words, seconds. The last may fail."""
    if given["host"].startswith("/"):
        path = socket_path(given)
        steps = (("socket folder", _folder), ("socket file", _socket_file), ("socket connection", _socket))
        return _until_failed([_tried(step, given, path, lambda ask=ask: ask(given)) for step, ask in steps])
    found: list[Any] = []
    resolved = _tried("name resolution", given, None, lambda: found.extend(_addresses(given)))
    if resolved[4]:
        resolved[3] = ", ".join(found)
    return [resolved, *(_tried("tcp", given, address, lambda at=address: _reach(at, int(given["port"]))) for address in found)]


def attempt_rows(rows: list[list[Any]], vantage: str, given: dict[str, str], error: Refused) -> list[list[Any]]:
    """Return a failed attempt step by step, as evidence has it: endpoint, step, status, seconds, code, words, address."""
    place = f"{given['host']}:{given['port']}"
    found = [["", "vantage", "ok", 0.0, None, vantage, None], ["", "options", "ok", 0.0, None, None, None]]
    found += [[place, row[0], "ok" if row[4] else "failed", row[7], row[5], row[6], row[3]] for row in rows]
    if any(row[4] for row in rows if row[0] in ("tcp", "socket connection")):
        found.append([place, error.step, "failed", 0.0, error.sqlstate or error.code or None, error.words, None])
    return found


def _until_failed(rows: list[list[Any]]) -> list[list[Any]]:
    failed = [position for position, row in enumerate(rows) if not row[4]]
    return rows[: failed[0] + 1] if failed else rows


def _tried(step: str, given: dict[str, str], address: Any, ask: Any) -> list[Any]:
    started, code, words = time.time(), None, None
    try:
        ask()
    except Refused as error:
        code, words = error.code, error.words
    except (OSError, ValueError, OverflowError) as error:
        code, words = code_of(error), words_of(error)
    return [step, given["host"], given["port"], address, code is None, code, words, round(time.time() - started, 4)]


def _addresses(given: dict[str, str]) -> list[str]:
    found = socket.getaddrinfo(given["host"], int(given["port"]), type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))[:MOST_ADDRESSES]


def _reach(address: str, port: int) -> None:
    socket.create_connection((address, port), CONNECT_SECONDS / 2).close()


def _folder(given: dict[str, str]) -> None:
    length, path = len(os.fsencode(socket_path(given))), Path(given["host"])
    if length > SOCKET_BYTES:
        raise Refused(f"the socket path has {length} bytes; {SOCKET_BYTES} are possible", code="ENAMETOOLONG")
    for part in [*reversed(path.parents), path]:
        try:
            is_folder = stat.S_ISDIR(part.stat().st_mode)
        except FileNotFoundError:
            raise Refused(f"{part} is not there; {part.parent} is", code="ENOENT") from None
        if not is_folder:
            raise Refused(f"{part} is a file, and the host must be the folder of the socket", code="ENOTDIR")
        if not os.access(part, os.X_OK):
            raise Refused(f"{part}: this user may not enter it", code="EACCES")


def _socket_file(given: dict[str, str]) -> None:
    path = Path(socket_path(given))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise Refused(f"{path} is not there", code="ENOENT") from None
    if not stat.S_ISSOCK(mode):
        raise Refused(f"{path} is no socket", code="ENOTSOCK")
    if not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, f"{path}: this user may not write to it")


def _socket(given: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.settimeout(CONNECT_SECONDS / 2)
        endpoint.connect(socket_path(given))

"""The lowest steps: name, address and port, or the path of a Unix socket."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

from kit.collect.attempt.options import Endpoint
from kit.collect.attempt.records import Recorder, StepFailed, Stop, as_failure

RESOLVE_SECONDS = 2.5
CONNECT_SECONDS = 2.5
MOST_ADDRESSES = 4
# sockaddr_un.sun_path without its closing zero; 103 on macOS.
_SOCKET_PATH_BYTES = 103 if os.uname().sysname == "Darwin" else 107
_NAME_ERRORS = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def resolved(endpoint: Endpoint, seconds: float) -> tuple[list[Address], str]:
    """Return the addresses of a name, and words for them; StepFailed with EAI_… or TIMEOUT."""
    answer: list[Any] = []
    # The system's resolver cannot be told when to give up, so it is left behind in a thread.
    worker = threading.Thread(target=_resolve, args=(endpoint, answer), daemon=True)
    worker.start()
    worker.join(seconds)
    if not answer:
        raise StepFailed("TIMEOUT", f"no name server answered within {seconds:.1f} s")
    if isinstance(answer[0], Exception):
        raise _name_failure(answer[0])
    found = list(dict.fromkeys((family, place) for family, _, _, _, place in answer[0]))
    return found, ", ".join(place[0] for _, place in found[:MOST_ADDRESSES])


def _resolve(endpoint: Endpoint, answer: list[Any]) -> None:
    try:
        answer.append(socket.getaddrinfo(endpoint.address or endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
    except (OSError, ValueError) as error:
        answer.append(error)


def _name_failure(error: Exception) -> StepFailed:
    if isinstance(error, socket.gaierror):
        return StepFailed(_NAME_ERRORS.get(error.errno or 0, "EAI_FAIL"), error.strerror or "the name cannot be resolved")
    return StepFailed("EAI_NONAME", "the text cannot be the name of a host")


def connected(steps: Recorder, addresses: list[Address]) -> tuple[socket.socket, Address]:
    """Return a connection to the first address that takes one, every try recorded; Stop where none does."""
    tried = addresses[:MOST_ADDRESSES]
    for position, address in enumerate(tried):
        steps.address = address[1][0]
        clock = time.perf_counter()
        try:
            # A second is kept for what comes after: a slow answer there is another cause.
            endpoint = open_address(address, steps.budget.share(CONNECT_SECONDS, len(tried) - position + 1))
        except OSError as error:
            failed = as_failure(error)
            steps.add("tcp", "failed", time.perf_counter() - clock, failed.code, failed.words)
        else:
            steps.add("tcp", "ok", time.perf_counter() - clock)
            return endpoint, address
    raise Stop


def open_address(address: Address, seconds: float) -> socket.socket:
    """Return a connection to the address; OSError where it refuses or does not answer in time."""
    family, place = address
    return _open(family, place, seconds)


def open_socket(endpoint: Endpoint, seconds: float) -> socket.socket:
    """Return a connection to the Unix socket; OSError where nobody takes it."""
    path = "\0" + endpoint.socket_path[1:] if endpoint.host.startswith("@") else endpoint.socket_path
    return _open(socket.AF_UNIX, path, seconds)


def _open(family: int, place: Any, seconds: float) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(seconds)
        opened.connect(place)
    except BaseException:
        opened.close()
        raise
    return opened


def folder(endpoint: Endpoint) -> tuple[None, str]:
    """Return words for the socket's folder; StepFailed where it is not there, or a folder on the way may not be entered."""
    if endpoint.host.startswith("@"):
        return None, "an abstract socket has no folder"
    length = len(os.fsencode(endpoint.socket_path))
    if length > _SOCKET_PATH_BYTES:
        raise StepFailed("ENAMETOOLONG", f"the socket path has {length} bytes; {_SOCKET_PATH_BYTES} are possible")
    path = Path(endpoint.host)
    for part in (*reversed(path.parents), path):
        _refuse_part(part)
    return None, _described(path)


def _refuse_part(part: Path) -> None:
    try:
        is_folder = stat.S_ISDIR(part.stat().st_mode)
    except FileNotFoundError:
        raise StepFailed("ENOENT", f"{part} is not there; {part.parent} is") from None
    if not is_folder:
        raise StepFailed("ENOTDIR", f"{part} is a file, and the host must be the folder of the socket")
    if not _may(part, os.X_OK):
        raise StepFailed("EACCES", f"{_described(part)}: {_me()} may not enter it")


def file(endpoint: Endpoint) -> tuple[None, str | None]:
    """Return words for the socket's file; StepFailed where it is not there or is no socket."""
    if endpoint.host.startswith("@"):
        return None, None
    path = Path(endpoint.socket_path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise StepFailed("ENOENT", f"{path} is not there{_neighbours(path)}") from None
    if not stat.S_ISSOCK(mode):
        raise StepFailed("ENOTSOCK", f"{path} is no socket")
    if not _may(path, os.W_OK):
        raise StepFailed("EACCES", f"{_described(path)}: {_me()} may not write to it")
    return None, _described(path)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _neighbours(path: Path) -> str:
    try:
        others = sorted(p.name for p in path.parent.iterdir() if p.name.startswith(".s.PGSQL.") and p.suffix[1:].isdigit())
    except OSError:
        return ""
    return f", but {', '.join(others[:3])} there" if others else ", and the folder holds no other PostgreSQL socket"


def _described(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return f"{path} belongs to {_user(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def _me() -> str:
    return _user(os.geteuid())


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"

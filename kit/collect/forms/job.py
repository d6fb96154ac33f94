"""What a job under the service's own account collects: the database's answers, and what the service sees around it.

It is printed, after the client of the protocol, into the collector of form `python`: Python 3.8, the standard library
alone. Values of the environment are never printed, but four digits of their SHA-256, enough to tell two apart: without the
password in a connection string, and nothing of what is called a secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kit.collect.forms.place import Refused, kind_of, parameters, stated, words_of
from kit.collect.forms.way import attempt_rows, way
from kit.collect.forms.wire import Connection

COLLECTOR: Any = {}
LIMIT_SECONDS = 120.0
LOCAL = "set local lock_timeout = '100ms'; set local statement_timeout = '8s'; set local search_path = ''"
FOLDERS = ("/cloudsql", "/var/run/postgresql")
MOST_FILES = 200
SECRET_NAME = re.compile("pass|pwd|secret|token|key|credential|private|salt|signature|auth|cookie|session", re.IGNORECASE)
PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@|\bpassword\s*=\s*('(?:\\.|[^'\\])*'|\S+)", re.IGNORECASE | re.DOTALL)


def main() -> int:
    """Print the answers, one JSON object in a line; return 1 where the database was not reached."""
    name = sys.argv[1] if len(sys.argv) > 1 else COLLECTOR["environment"]
    text, reason = os.environ.get(name), ""
    try:
        given = parameters(text or "")
        if not text and not os.environ.get("PGHOST"):
            reason = f"the environment variable {name} is not set"
    except Refused as error:
        given, reason = {"host": "", "port": ""}, error.words
    _print(name="service_environment", rows=_environment(), **_now())
    _print(name="service_sockets", rows=_sockets(given), **_now())
    steps = [] if reason else way(given)
    if steps:
        _print(name="service_reachability", rows=steps, **_now())
    is_reached = _collect(given, reason, {} if reason else stated(text or ""), steps)
    _print(name="end")
    return 0 if is_reached else 1


def _collect(given: dict[str, str], reason: str, told: dict[str, str], steps: list[list[Any]]) -> bool:
    started = time.time()
    try:
        if reason:
            raise Refused(reason)
        connection = Connection(given)
    except Refused as error:
        if steps:
            rows = attempt_rows(steps, _runtime(), given, error)
            rows = [[_clean(value, given) if isinstance(value, str) else value for value in row] for row in rows]
            _print(name="connection_steps", rows=rows, **_now())
        return _tell_connection(told, started, _clean(error.words, given), error.sqlstate)
    _tell_connection(told, started, "", "")
    for statement in COLLECTOR["statements"]:
        if time.time() - started > LIMIT_SECONDS or not _ask(connection, statement, given):
            break
    connection.close()
    return True


def _ask(connection: Any, statement: dict[str, Any], given: dict[str, str]) -> bool:
    """Print the answer of one statement, or the server's refusal; return whether the connection still stands."""
    try:
        connection.query("begin read only")
        if not statement["is_first"]:
            connection.query(LOCAL)
        for line in connection.query(statement["sql"]):
            _write(line)
        connection.query("commit")
    except Refused as error:
        _print(name=statement["name"], sqlstate=error.sqlstate, message=_clean(error.words, given))
        try:
            connection.query("rollback")
        except Refused:
            return False
    return True


def _runtime() -> str:
    """Return where this runs: as the collector was told, else as far as the environment tells."""
    found = [words for name, words in COLLECTOR["runtimes"].items() if os.environ.get(name)]
    if not found and Path("/.dockerenv").exists():
        found = ["a container of an unknown service"]
    return str(COLLECTOR["vantage"] if COLLECTOR["is_told"] else [*found, COLLECTOR["ordinary"]][0])


def _tell_connection(told: dict[str, str], started: float, words: str, sqlstate: str) -> bool:
    place = [told.get(key) or None for key in ("host", "port", "dbname", "user")]
    row = [not words, words or None, *place, round(time.time() - started, 4)]
    _print(name="connection", rows=[row], sqlstate=sqlstate, **_now())
    return not words


def _environment() -> list[list[Any]]:
    return [_variable(name, value) for name, value in sorted(os.environ.items())]


def _variable(name: str, value: str) -> list[Any]:
    content, comparable = value.encode("utf-8", "surrogateescape"), _comparable(name, value)
    is_odd = any(not sign.isprintable() or sign in "\ufeff\u00a0\u200b" for sign in value)
    is_wrapped = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    fingerprint = None if comparable is None else hashlib.sha256(comparable).hexdigest()[:4]
    return [name, len(content), fingerprint, value != value.strip(), is_odd, is_wrapped]


def _comparable(name: str, value: str) -> bytes | None:
    """Return what of the value may be compared: a connection string without its password, of a secret nothing."""
    kept, passwords = PASSWORD.subn(r"\1", value)
    if not passwords and "://" not in value and SECRET_NAME.search(name):
        return None
    return kept.encode("utf-8", "surrogateescape")


def _sockets(given: dict[str, str]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    named = (str(Path(given["host"]).parent), given["host"]) if given["host"].startswith("/") else ()
    waiting = list(dict.fromkeys([*FOLDERS, *named]))
    for folder in waiting:
        if len(rows) >= MOST_FILES:
            break
        rows.append(_file(folder))
        for name in _names(folder):
            path = f"{folder}/{name}"
            row = _file(path)
            if folder == FOLDERS[0] and row[1] == "folder":
                waiting.append(path)
            elif row[1] == "socket" or folder.startswith(FOLDERS[0]):
                rows.append(row)
    return list({row[0]: row for row in rows}.values())[:MOST_FILES]


def _names(folder: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(folder).iterdir())[:MOST_FILES]
    except OSError:
        return []


def _file(path: str) -> list[Any]:
    try:
        found = Path(path).lstat()
    except OSError as error:
        return [path, "absent" if isinstance(error, FileNotFoundError) else "hidden", None, None, None, words_of(error)]
    may = os.access(path, os.R_OK | os.X_OK if kind_of(found.st_mode) == "folder" else os.R_OK | os.W_OK)
    return [path, kind_of(found.st_mode), f"{found.st_mode & 0o7777:04o}", str(found.st_uid), may, None]


def _clean(words: str, given: dict[str, str]) -> str:
    secret = given.get("password", "")
    return words.replace(secret, "<masked>") if secret else words


def _now() -> dict[str, str]:
    at = datetime.now(timezone.utc).isoformat()  # noqa: UP017
    return {"at": at, "until": at}


def _print(**content: Any) -> None:
    about = {key: COLLECTOR[key] for key in ("kit_evidence", "id", "form", "kit", "vantage")}
    rows = content.pop("rows", None)
    if rows is None:
        return _write(json.dumps({**about, **content}, separators=(",", ":")).encode())
    # As the server writes an answer: the rows last, and their digest before them.
    written = json.dumps(rows)
    content.update(page=1, pages=1, sha256=hashlib.sha256(written.encode()).hexdigest())
    head = json.dumps({**about, **content}, separators=(",", ":"))[:-1]
    return _write(f'{head},"rows":{written}}}'.encode())


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())

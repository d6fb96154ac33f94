"""What `kit dsn` does: read a connection string from where it stands without showing it, and answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.analyze.dsn import Examination, examine
from kit.analyze.dsn.wrappings import is_assignment, unwrapped
from kit.case.connecting import tried_connection
from kit.errors import ParameterError

FOUND = 1
# No connection string is longer; a wrong file (a dump, a log) is said to be one, not read in whole.
LONGEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Examined:
    """An answer: for programs, for people, and the exit status (0 nothing critical, 1 something critical, 3 not known)."""

    record: Mapping[str, Any]
    words: str
    status: int


def examined(
    *,
    env: str | None,
    stdin: bool,
    file: Path | None,
    consumer: str | None = None,
    instance: str | None = None,
    in_container: bool = False,
    connect: bool = False,
) -> Examined:
    """Return what is found in the string that the environment, standard input or a file holds.

    `connect` goes on to try it from here, as libpq would, for eight seconds at most. ParameterError where not exactly one
    of them is named, or it cannot be read; no error repeats what was read.
    """
    if (env is not None) + stdin + (file is not None) != 1:
        hint = (
            "kit dsn --env DATABASE_URL, kit dsn --stdin, or kit dsn FILE; a string on the command line would be seen by others."
        )
        raise ParameterError("Name one place to read the connection string from.", hint)
    text = _from_environment(env) if env is not None else _from_stdin() if stdin else _from_file(Path(file or ""))
    places = {"from_stdin": stdin, "from_file": file is not None}
    found = examine(text, consumer=consumer, instance=instance, in_container=in_container, **places)
    status = FOUND if found.is_critical else 0
    if not connect:
        return Examined(found.record(), _words(found), status)
    tried = tried_connection(unwrapped(text, **places).raw)
    record = {**found.record(), "connection": tried.record}
    return Examined(record, f"{_words(found)}\n\n{tried.words}", status if status == FOUND else tried.status)


def _from_environment(name: str) -> str:
    if name not in os.environ:
        # What is no variable's name may be the string itself, given in the wrong place.
        shown = f"${name}" if name.isidentifier() and name.isupper() else "The variable that --env names"
        raise ParameterError(f"{shown} is not set.", "Export it, or read it with --stdin.")
    return os.environ[name]


def _from_stdin() -> str:
    return _decoded(sys.stdin.buffer.read(LONGEST_BYTES + 1))


def _from_file(path: Path) -> str:
    content, reason = b"", ""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
    # Raised out here, as the error holds the "file's name", which may be a connection string given in the wrong place.
    if reason:
        hint = "A connection string does not go on the command line; use --env NAME or --stdin."
        raise ParameterError(f"The file cannot be read: {reason}.", hint)
    return _only_assignment(_decoded(content))


def _only_assignment(text: str) -> str:
    """An env file may hold other variables too: the one line that assigns a connection string is what is meant."""
    lines = text.split("\n")
    found = [line for line in lines if is_assignment(line)]
    if len([line for line in lines if line.strip()]) < 2 or not found:
        return text
    if len(found) > 1:
        raise ParameterError("The file assigns several connection strings.", "Export the one that is meant, and use --env NAME.")
    return f"{found[0]}\n"


def _decoded(content: bytes) -> str:
    """UTF-8; UTF-16 where its mark says so, as PowerShell writes files; other bytes are kept and shown."""
    if len(content) > LONGEST_BYTES:
        raise ParameterError("That is no connection string: it is longer than 64 KiB.", "Give a file that holds only the string.")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "\ufeff" + content.decode("utf-16", "replace")
    return content.decode("utf-8", "surrogateescape")


def _words(found: Examination) -> str:
    lines = [f"String:      {found.masked}", f"Fingerprint: {found.fingerprint or 'none (it cannot be read)'}"]
    for finding in found.findings:
        lines += ["", f"{finding.severity.upper()} {finding.check} ({finding.layer})"]
        lines += [f"  {finding.message}", f"  Remedy: {finding.remedy}"]
    lines += ["", "Nothing was found." if not found.findings else _count(found)]
    lines += [f"Corrected for {found.reader}: {found.corrected}"]
    if "***" in found.corrected:
        lines.append("  (*** stands for the password, percent-encoded in a URL.)")
    return "\n".join(lines)


def _count(found: Examination) -> str:
    counts = {level: sum(f.severity == level for f in found.findings) for level in ("critical", "warning", "info")}
    return ", ".join(f"{count} {level}" for level, count in counts.items() if count) + "."

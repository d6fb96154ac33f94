"""Known errors in a service's log. A log line never enters evidence: what it is, and the one name in it, does.

The name is kept byte by byte: a log that quotes an instance with a carriage return at its end tells the cause.
"""

from __future__ import annotations

import re
from typing import Any

from kit.collect.cloud.nodes import Node
from kit.collect.cloud.shapes import Rows
from kit.collect.cloud.values import value_flags
from kit.collect.logs import moment

OTHER = "another error"
# Where a collected entry holds what is left of its words.
READ_WORDS = "textPayload"
_ERRORS = frozenset({"ERROR", "CRITICAL", "ALERT", "EMERGENCY"})
_LONGEST = 20_000
_QUOTED = r"""["'`\[]([^"'`\]\n]{1,200})["'`\]]"""
# The first that matches names the entry; one group of a pattern, where it has any, is the name.
SIGNATURES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(words))
    for name, words in (
        (
            "not authorized for Cloud SQL",
            r"(?:boss::NOT_AUTHORIZED|cloudsql\.instances\.(?:get|connect)).{0,300}?instances/([^\s\"',]{1,200}?)(?=[.,]?(?:[\s\"',]|$))",
        ),
        ("not authorized for Cloud SQL", r"boss::NOT_AUTHORIZED|Not authorized to access resource"),
        ("instance not reachable", r"Cloud SQL instance \"([^\"]{1,200})\" is not reachable"),
        ("instance not found", r"boss::NOT_FOUND|instanceDoesNotExist|The Cloud SQL instance does not exist"),
        ("no socket file", r"(?s)/cloudsql/([^\"'/]{1,200}?)/\.s\.PGSQL\.\d+.{0,80}(?:No such file or directory|ENOENT)"),
        ("no socket file", r"(?s)(?:No such file or directory|ENOENT).{0,80}?/cloudsql/([^\"'/]{1,200})"),
        ("no socket file", r"\[Errno 2\] No such file or directory|connect ENOENT"),
        (
            "secret not readable",
            r"(?:Permission denied on secret:?|versions\.access.{0,20}denied.{0,80}secrets/)\s?([^\s/'\"]{1,200})?",
        ),
        (
            "secret not found",
            r"Secret (?:Version )?\[?(?:projects/[^/\s]{1,63}/secrets/)?([^\s\]/]{1,255})[^\s\]]{0,80}\]? (?:was )?not found",
        ),
        ("password refused", r"password authentication failed for user \"([^\"]{1,63})\""),
        ("IAM login refused", r"Cloud SQL IAM (?:user|service account) authentication failed(?: for user \"([^\"]{1,255})\")?"),
        ("no pg_hba entry", r"no pg_hba\.conf entry"),
        ("column missing", rf"column {_QUOTED}(?: of relation \S{{1,130}})? does not exist"),
        ("column missing", r"column ([\w.]{1,130}) does not exist"),
        ("relation missing", rf"(?:relation|[Tt]able|The table) {_QUOTED} does(?: not|n't) exist"),
        ("SQLite in use", r"no such table: ([\w.]{1,130})"),
        ("SQLite in use", r"sqlite3?\.OperationalError|(?i:falling back to sqlite)"),
        ("database missing", rf"database {_QUOTED} does not exist"),
        (
            "permission denied",
            r"permission denied for (?:table|schema|sequence|relation|function|database|view) \"?([\w.]{1,130})",
        ),
        ("no connection slots", r"remaining connection slots are reserved|too many clients already|too many connections for"),
        (
            "driver not fitting",
            r"asyncio extension requires an async driver|Can't load plugin: sqlalchemy\.dialects:([\w.]{1,63})",
        ),
        ("connection refused", r"ECONNREFUSED ([\w.:-]{1,260})"),
        ("connection refused", r"ECONNREFUSED|[Cc]onnection refused"),
        ("connection timed out", r"ETIMEDOUT ([\w.:-]{1,260})"),
        (
            "connection timed out",
            r"ETIMEDOUT|timeout expired|[Cc]onnection timed out|[Cc]onnection terminated due to connection timeout",
        ),
        ("out of memory", r"Memory limit of .{1,40} exceeded"),
        ("container did not start", r"failed to start and listen on the port"),
    )
)


def log_rows(item: Node) -> Rows:
    """Yield a row for an entry that holds a known error, or that the log calls an error; none for any other."""
    signature, subject = read_line(_words(item.value))
    severity = item.text("severity")
    if signature is None and severity not in _ERRORS:
        return
    labels = item.at("resource", "labels")
    yield (
        moment(item.text("timestamp")) or moment(item.text("receiveTimestamp")),
        labels.text("service_name"),
        labels.text("revision_name") or None,
        labels.text("database_id"),
        signature or OTHER,
        subject,
        value_flags(subject or ""),
        severity,
        item.text("insertId"),
        item.file,
        item.pointer,
    )


def read_line(words: str) -> tuple[str | None, str | None]:
    """Return (signature, name) of a log line; (None, None) where it holds no known error.

    >>> read_line('Cloud SQL instance "a:us-east1:b\\\\r" is not reachable')
    ('instance not reachable', 'a:us-east1:b\\r')
    """
    for name, pattern in SIGNATURES:
        if found := pattern.search(words[:_LONGEST]):
            subject = next((group for group in found.groups() if group), None)
            return name, _unescaped(subject) if subject else None
    return None, None


def known_words(entry: Any) -> str | None:
    """Return the known error that an entry holds, cut out of its words; None where it holds none."""
    words = _words(entry)[:_LONGEST]
    found = next((match for _, pattern in SIGNATURES if (match := pattern.search(words))), None)
    # A pattern may look at what stands around a name: what reads otherwise alone is not kept.
    return found[0] if found and read_line(found[0]) == read_line(words) else None


def _unescaped(name: str) -> str:
    # Go's %q and JavaScript's inspect write a control character as an escape: the byte is what the service holds.
    return name.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t")


def _words(entry: Any) -> str:
    node = Node(entry)
    structured = (
        ("jsonPayload", "message"),
        ("jsonPayload", "error"),
        ("jsonPayload", "err", "message"),
        ("jsonPayload", "exception"),
    )
    told = [node.text("textPayload"), *(node.text(*path) for path in structured), node.text("protoPayload", "status", "message")]
    return "\n".join(words for words in told if words)

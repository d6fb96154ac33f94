"""What a gcloud command that failed tells: its code, what it asked for, and the words without secrets.

A failure is evidence: NOT_FOUND says that a thing is not there, PERMISSION_DENIED that it could not be looked at.
"""

from __future__ import annotations

import re
from typing import Any

from kit.collect.cloud.nodes import Node
from kit.collect.cloud.shapes import Rows
from kit.collect.logs import moment
from kit.collect.masking import message, tokens_masked

COMMAND = "incident-kit#command"
# In this order: Cloud SQL words "not there" and "not allowed" in one sentence, and then neither is known.
_CODES = (
    (
        "UNAUTHENTICATED",
        r"reauth|refreshing (?:your )?(?:current )?auth|active account|UNAUTHENTICATED|gcloud auth login|HTTPError 401",
    ),
    ("NOT_ENABLED", r"SERVICE_DISABLED|API \[[\w.]+\] (?:is )?not enabled|has not been used in project|accessNotConfigured"),
    ("PERMISSION_DENIED", r"PERMISSION_DENIED|does not have permission|not authorized|HTTPError 403|[Pp]ermission .{0,80}denied"),
    ("NOT_FOUND", r"NOT_FOUND|HTTPError 404|[Cc]annot find|\bnot found\b|does not exist"),
    (
        "INVALID_ARGUMENT",
        r"INVALID_ARGUMENT|HTTPError 400|[Mm]ust (?:be )?specif|argument --?\w|unrecognized arguments|Invalid choice",
    ),
    ("UNAVAILABLE", r"UNAVAILABLE|DEADLINE_EXCEEDED|HTTPError 5\d\d|[Cc]onnection|[Tt]imed? ?out|resolve"),
)
# PowerShell puts the program's name before it, and gcloud its warnings.
_REFUSAL = re.compile(r"(?m)^(?:[\w.-]+ : )?(?P<words>ERROR: \(gcloud\.(?P<name>[\w.-]+)\) (?P<why>(?s:.*)))")
_RESOURCE = re.compile(r"\[([^\]]{1,300})\]")


def failure_code(words: str) -> str:
    """Return the code of a failure that gcloud tells in words; `UNKNOWN` where they are not known.

    >>> failure_code("ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/database-url] not found.")
    'NOT_FOUND'
    """
    return next((code for code, pattern in _CODES if re.search(pattern, words)), "UNKNOWN")


def told(words: str) -> str:
    """Return gcloud's words in one line, without passwords and tokens."""
    return tokens_masked(message(words))


def refusal(text: str) -> dict[str, Any] | None:
    """Return gcloud's refusal as the record of a command, where the text is one (`gcloud … > file 2>&1`)."""
    found = _REFUSAL.search(text[:4000])
    if found is None:
        return None
    resource = _RESOURCE.search(found["why"])
    named = resource[1].rpartition("/")[2] if resource else None
    return {
        "kind": COMMAND,
        "name": found["name"].replace(".", " "),
        "resource": named,
        "code": failure_code(found["why"]),
        "error": found["why"],
        "words": found["words"].splitlines()[0],
    }


def command_rows(item: Node) -> Rows:
    """Yield the row of a command that was run: what it asked, of what, and the code with which it failed (else None)."""
    error = item.text("error")
    words = None if error is None else told(error)
    yield (
        item.text("name"),
        item.text("resource"),
        item.text("code"),
        words,
        moment(item.text("startedAt")),
        item.file,
        item.pointer,
    )

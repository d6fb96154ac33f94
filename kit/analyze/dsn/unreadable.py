"""What a text may be that is no connection string: words for it, by its shape alone; the text itself is never repeated."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote

from kit.analyze.dsn.wrappings import begins_as_string

_BEGIN = "It should begin with postgresql://, jdbc:postgresql:// or host=."
_SHAPES = (
    (
        r"null|none|nil|undefined|false|true",
        "This is a program's word for “nothing”, written out as a text: whatever fills the variable had no value.",
        "Set the variable where it is filled (deployment, secret, pipeline), and let the service refuse to start without it.",
    ),
    (
        r"[*•]+",
        "This is the mask of a secret, not the secret: it was copied from an output that hides it.",
        "Copy the secret itself.",
    ),
    (
        r"\$?\{\{.*|\$\{.*|\$\(.*|\$\w+|<[^<>]*>",
        "A template's variable stands where the string belongs: nothing filled it in.",
        "Fill it in; env files and secret stores expand nothing.",
    ),
    (
        r"(?:projects/[^/]+/secrets/|arn:aws|vault:|op://|sm://|gcp-secret|@Microsoft\.KeyVault).*",
        "This is the name of a secret in a store, not what it holds: nothing fetched it.",
        "Let the platform mount the secret (on Cloud Run --set-secrets), or have the service fetch it.",
    ),
    (
        r"[\[{].*|\"[^\"]*\"\s*:.*",
        "This is JSON, and the string (or its parts) stands inside it: no driver reads that.",
        "Take the one value out of it; a secret of AWS holds JSON, and its reader names the key.",
    ),
    (
        r"[A-Za-z ]+=[^;]*;.*",
        "This is .NET's form, with semicolons, which only Npgsql reads.",
        "Write it as a URL or as libpq's keywords (host= port= dbname= user= password=), separated by spaces.",
    ),
    (
        r"(?:PG[A-Z]+=\S*\s+)*(?:psql|pg_\w+)\s.*|(?:PG[A-Z]+=.*)",
        "This is a command for psql, or its variables, not a connection string.",
        "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    ),
    (
        r"(?i:postgres(?:ql)?(?:\+\w+)?):/?[^/].*",
        "The two slashes after postgresql: are not both there, so no driver sees a host in it.",
        "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    ),
    (
        r"(?://)?[^\s:@/]+(?::[^\s]*)?@[^\s@]+",
        "The scheme is missing: a URL without it is no URL to any driver.",
        "Put postgresql:// before it.",
    ),
)


def unreadable_words(text: str) -> tuple[str, str]:
    """Return what such a text probably is, and what to do, without a part of it."""
    inner = text.strip().strip("\"'` ")
    for words, decoded in (("base64", _from_base64(inner)), ("percent-encoding", unquote(inner))):
        if decoded != inner and begins_as_string(decoded):
            message = f"This is a connection string in {words}: nothing decoded it before it was handed on."
            return (
                message,
                "Decode it once; in Kubernetes `data` holds base64 and `stringData` plain text, and encoding twice gives this.",
            )
    found = next((words for shape, *words in _SHAPES if re.fullmatch(shape, inner, re.DOTALL | re.IGNORECASE)), None)
    if found:
        return found[0], found[1]
    return "This is neither a URL, nor libpq's keywords and values, nor a JDBC string; it is not shown.", _BEGIN


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""

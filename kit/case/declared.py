"""What kit.toml declares beside the places to ask: the services' own connection strings and what they expect of the schema.

Both become evidence of the capture: the strings as what the examiner says of them, for they are secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Literal
from urllib.parse import unquote

from kit.analyze.dsn import Examination, examine
from kit.analyze.dsn.evidence import Examined, strings_evidence
from kit.analyze.dsn.instances import instance_of
from kit.analyze.schema import evidence as schema_evidence
from kit.case.expecting import expected_by
from kit.collect.attempt.options import vantage
from kit.collect.secrecy import Secrecy
from kit.evidence.model import Capture, Evidence, Source
from kit.target import Target
from kit.target.strings import NamedString

STRINGS_SOURCE: Literal["strings"] = "strings"
# Wide on purpose: what stands between the first colon and the last @, whatever the string's form.
_IN_URL = re.compile(r"://[^:/@\s]*:(.+)@", re.DOTALL)
_IN_KEYWORDS = re.compile(r"(?:password|passwd|pwd)\s*=\s*(?:'((?:\\.|[^'\\])*)'|([^\s&;]+))", re.IGNORECASE)


def with_declared(taken: Capture, target: Target) -> Capture:
    """Return the capture with the target's declarations as evidence; ParameterError where the expectation cannot be read."""
    expected = _expected(target, taken.started_at)
    sources = [_expecting(source, expected) for source in taken.sources]
    if target.strings:
        secrecy = Secrecy(secrets_of(target.strings))
        sources = [secrecy.source(source) for source in (*sources, _strings(target, taken))]
    return replace(taken, sources=tuple(sources))


def secrets_of(strings: Iterable[NamedString]) -> set[str]:
    """Return the passwords that the named strings hold, as they are written and decoded."""
    texts = [os.environ.get(string.variable, "") for string in strings]
    found = {part for text in texts for part in _passwords(text) if part}
    return found | {unquote(part) for part in found}


def _passwords(text: str) -> Iterable[str]:
    yield from _IN_URL.findall(text)
    for quoted, plain in _IN_KEYWORDS.findall(text):
        yield quoted or plain


def _expected(target: Target, at: datetime) -> Evidence | None:
    if target.expected_schema is None:
        return None
    return schema_evidence.expected_evidence(expected_by(target.expected_schema), at)


def _expecting(source: Source, expected: Evidence | None) -> Source:
    if expected is None or source.kind != "postgres":
        return source
    return replace(source, evidence={**source.evidence, schema_evidence.NAME: expected})


def _strings(target: Target, taken: Capture) -> Source:
    instance = _instance(target, taken)
    examined = [Examined(string.variable, _examination(string, instance), string.is_way) for string in target.strings]
    return Source(STRINGS_SOURCE, STRINGS_SOURCE, vantage(), evidence=strings_evidence(examined, taken.started_at))


def _examination(string: NamedString, instance: str | None) -> Examination | None:
    text = os.environ.get(string.variable)
    if text is None:
        return None
    return examine(text, consumer=string.consumer, instance=instance, in_container=string.in_container)


def _instance(target: Target, taken: Capture) -> str | None:
    """Return the one Cloud SQL instance that the strings should lead to; None where several are known, or none."""
    named = {database.reach.cloudsql for database in target.databases if database.reach and database.reach.cloudsql}
    for source in taken.sources:
        if "sql_instances" in source.evidence:
            named |= set(source.evidence["sql_instances"].frame["connection_name"].dropna())
    known = [name for name in named if instance_of(name)]
    return known[0] if len(known) == 1 else None

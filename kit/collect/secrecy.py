"""No known secret, and nothing that has the shape of one, stays in a source: what the gate would refuse is masked here.

The gate looks at a finished report and refuses it in whole. Anybody may name a session or a table like a password's
URL, so what comes from a server is masked before it becomes evidence, and the report is written.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kit.collect.connection import known_secrets, parameters
from kit.collect.masking import MASKED
from kit.evidence.columns import Column
from kit.evidence.model import Evidence, Gap, Identity, Source
from kit.evidence.secrets import SHAPES, needles

_SHAPES = [re.compile(shape, re.ASCII) for _, shape in SHAPES]
# Wider than the gate's shapes: quotes, line ends and signs of other alphabets are written otherwise in HTML and JSON,
# and would come to match there. Stars, because no writing changes them.
_REPLACED = (
    (re.compile(r"((?:postgres(?:ql)?|mysql|redis|amqp)(?:\+\w+)?://[^ :/@]*):(?!\*{3}@)[^ @]{1,2000}@", re.I), r"\1:***@"),
    (re.compile(r"(://[^\s:/@]*):(?!\*{3}@)[^\s@/]{1,2000}@"), r"\1:***@"),
    (re.compile(r"-----BEGIN\s(?:[A-Z]+\s)*PRIVATE KEY-----(?:.*?-----END[A-Z\s]*-----|.*)", re.DOTALL), MASKED),
    (re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"), MASKED),
)
_PAIR = re.compile(
    r"""(password["']?(?:\s*[=:]\s*|\s+(?=')))(?!'?<masked>)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|["']?[^\s"']+)""", re.IGNORECASE
)
_SUSPICIOUS = r"://|(?i:password)|PRIVATE KEY|eyJ"


class Secrecy:
    """Masks what gives a secret away: the given secrets in any writing, and what has the shape of one.

    A secret that is an ordinary word, or one of `names`, is masked only where a password stands, as the gate has it.
    """

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        self._needles = sorted(needles(secrets, names), key=len, reverse=True)

    @cached_property
    def _needle(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._needles)) or r"(?!)")

    @cached_property
    def _suspicious(self) -> str:
        # What RE2 must look for; in Arrow, over a whole column, it costs a fiftieth of a look at each value.
        return "|".join([_SUSPICIOUS, *(_escaped(needle) for needle in self._needles if _is_utf8(needle))])

    def text(self, text: str, *, pairs: bool = True) -> str:
        """Return the text without secrets; `pairs` masks what follows `password=`, which in a statement is a column."""
        masked = text
        for shape, by in _REPLACED:
            masked = shape.sub(by, masked)
        masked = _PAIR.sub(rf"\1{MASKED}", masked) if pairs else masked
        masked = self._needle.sub(MASKED, masked)
        return MASKED if masked != text and _is_refused(masked) else masked

    def frame(self, frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
        """Return the frame with its texts and lists of texts masked; the same frame where nothing had to be."""
        found = {c.name: values for c in columns if (values := self._masked(frame[c.name], c)) is not None}
        return frame.assign(**found) if found else frame

    def source(self, source: Source) -> Source:
        """Return the source with its evidence, gaps and identity masked."""
        evidence = {name: self._evidence(item) for name, item in source.evidence.items()}
        gaps = {self.text(name): Gap(kind=gap.kind, reason=self.text(gap.reason)) for name, gap in source.gaps.items()}
        identity = source.identity and Identity(**{key: self._value(value) for key, value in source.identity})
        return replace(source, evidence=evidence, gaps=gaps, identity=identity)

    def _evidence(self, evidence: Evidence) -> Evidence:
        frame, about = self.frame(evidence.frame, evidence.columns), evidence.provenance
        text = self.text(about.text, pairs=False)
        about = about if text == about.text else about.model_copy(update={"text": text})
        return replace(evidence, frame=frame, provenance=about)

    def _masked(self, series: pd.Series, column: Column) -> pd.Series | None:
        """Return the column masked, or None where nothing in it looks like a secret."""
        if column.dtype not in ("string", "list[string]") or not self._is_suspicious(series):
            return None
        pairs = column.mask != "statement"
        values = [self._value(value, pairs) for value in pa.array(series.array).to_pylist()]
        return pd.Series(values, index=series.index, dtype=series.dtype)

    def _is_suspicious(self, series: pd.Series) -> bool:
        values = pa.array(series.array)
        texts = pc.list_flatten(values) if pa.types.is_list(values.type) else values
        return bool(pc.any(pc.match_substring_regex(texts, self._suspicious)).as_py())

    def _value(self, value: Any, pairs: bool = True) -> Any:
        if isinstance(value, list):
            return [self._value(item, pairs) for item in value]
        return self.text(value, pairs=pairs) if isinstance(value, str) else value


def secrecy_of(conninfos: Iterable[str], identities: Iterable[Identity | None] = ()) -> Secrecy:
    """Return what masks the passwords that these connections may use; user, database, host and service are names."""
    asked = list(conninfos)
    secrets = {secret for conninfo in asked for secret in known_secrets(conninfo)}
    names = {name for conninfo in asked for name in _names(parameters(conninfo))}
    return Secrecy(secrets, names | {name for who in identities if who for name in (who.user, who.database)})


def _names(given: Mapping[str, Any]) -> set[str]:
    return {str(given[key]) for key in ("user", "dbname", "host", "service") if given.get(key)}


def _is_refused(text: str) -> bool:
    writings = (text, html.escape(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
    return any(shape.search(writing) for shape in _SHAPES for writing in writings)


def _is_utf8(needle: str) -> bool:
    # A password of the environment may hold other bytes; no frame does.
    return needle.encode("utf-8", "ignore").decode("utf-8") == needle


def _escaped(needle: str) -> str:
    # RE2 takes a backslash before any sign but not before a letter of another alphabet, where none is needed.
    return re.sub(r"([\\.+*?()\[\]{}^$|])", r"\\\1", needle)

"""The evidence `service_probes`: one row per service, with the time of each step up to where the request died."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from kit.collect.masking import masked
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Provenance

NAME = "service_probes"
Step = Literal["name", "tcp", "tls", "answer", "body"]
STEPS: tuple[Step, ...] = ("name", "tcp", "tls", "answer", "body")
COLUMNS = (
    Column("service_name", "string", data_class="identifier"),
    Column("died_at", "string", "name, tcp, tls, answer, body; NULL where the whole answer came"),
    Column("error_code", "string"),
    Column("message", "string", data_class="identifier", mask="message"),
    Column("http_status", "Int64"),
    Column("body_fields", "list[string]", "chosen fields of a JSON body, path: value", "identifier"),
    Column("mentioned_services", "list[string]", "other probed services that the body names", "identifier"),
    Column("name_seconds", "Float64", "s"),
    Column("tcp_seconds", "Float64", "s"),
    Column("tls_seconds", "Float64", "s"),
    Column("answer_seconds", "Float64", "s, from the request to the end of the headers"),
    Column("body_seconds", "Float64", "s"),
    Column("allowed_seconds", "Float64", "s for all steps together"),
    Column("method", "string"),
    Column("url", "string", "values of the query masked", "identifier"),
    Column("addresses", "list[string]", "every address tried, and what came of it", "identifier"),
    Column("tls", "string", "version and certificate", "identifier"),
    Column("location", "string", "where a redirect points; it is not followed", "identifier"),
    Column("content_type", "string"),
    Column("body_bytes", "Int64", "bytes that were read"),
    Column("body_is_cut", "boolean"),
    Column("ignores_proxy", "boolean", "the environment names a proxy, and the probe went without it"),
    Column("vantage", "string"),
    Column("at", "datetime64[us, UTC]"),
)
Row = Mapping[str, Any]


def evidence(rows: Sequence[Row], at: datetime, seconds: float, text: str) -> Evidence:
    """Return the rows as evidence; what a row does not say is NULL."""
    values = [tuple(row.get(column.name) for column in COLUMNS) for row in rows]
    frame = build_frame(COLUMNS, masked(COLUMNS, values))
    about = Provenance(
        title="Probes of services",
        grain="one row per service",
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        at=at,
        seconds=round(seconds, 4),
        rows=len(rows),
    )
    return Evidence(frame, COLUMNS, about)


def plain(text: str, most: int = 200) -> str:
    """Return hostile text in one line, every invisible character shown as U+FFFD, and cut."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text[: most * 4].split()))
    return line if len(line) <= most else f"{line[:most]}…"


def texts(values: Iterable[Any], most: int) -> list[str]:
    """Return up to `most` texts of a list, each plain."""
    return [plain(str(value)) for value in list(values)[:most]]

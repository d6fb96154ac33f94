"""A report made by hand: incident A in a plausible dress, and the same with hostile text in every string."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kit.analyze.document import ChangeEntry, FindingsDocument
from kit.analyze.findings import LADDER
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Capture, Cost, Evidence, Identity, Provenance, Source
from kit.present import evidence, figures
from kit.present.displays import Display, Findings, NextSteps, VerdictView
from kit.present.ladder import Ladder, vantages
from kit.present.story import Attempt, Hypotheses, Probes, Timeline
from kit.report.index import AskedSource, ReportProvenance

AT = datetime(2026, 2, 14, 3, 7, 9, tzinfo=UTC)
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "<svg onload=alert(3)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(4)",
    "a\u202egnp.exe\r",
    "<!--<script>",
    "`${alert(5)}` $x^2$ &lt;b&gt;",
)


def document(hostile: str | None = None) -> FindingsDocument:
    """Return a judged case; with `hostile`, that text stands in every field that is free."""

    def said(text: str) -> str:
        return text if hostile is None else f"{text} {hostile}"

    return FindingsDocument.model_validate(
        {
            "case": "login-errors",
            "symptom": said('relation "siwe_nonces" does not exist (42P01)'),
            "targets": [said("interspace-dev")],
            "started_at": AT,
            "finished_at": AT + timedelta(seconds=7),
            "window": {"since": AT - timedelta(hours=2), "until": AT},
            "verdict": {
                "status": "broken",
                "layer": "privileges",
                "summary": said(
                    "The broken layer is privileges: role interspace_dev has no USAGE on schema auth, so 2 tables in it"
                    " look as if they did not exist."
                ),
            },
            "layers": [{"layer": layer, "status": _status(layer), "reason": said(_reason(layer))} for layer in LADDER],
            "results": _results(said),
            "hypotheses": [
                {
                    "statement": said("The migrations ran in another database"),
                    "status": "refuted",
                    "for": [],
                    "against": ["databases"],
                },
                {
                    "statement": said("The role may not enter the schema"),
                    "status": "supported",
                    "for": ["schema_without_usage:schema:auth", said("schema_grants")],
                },
            ],
            "changes": changes(said),
            "notebooks": [
                {"name": "triage", "status": "ok", "seconds": 3.2},
                {"name": "permissions", "status": "error", "seconds": 1.4},
                {"name": "bloat", "status": "ok", "seconds": 2.2},
            ],
            "cost": {"statements": 61, "server_ms": 412.5, "rows": 8123},
        }
    )


def provenance(hostile: str = "") -> ReportProvenance:
    """Return where the sample comes from."""
    sources = [
        AskedSource(
            "app" + hostile,
            "PostgreSQL 16.4 at 10.12.0.3:5432" + hostile,
            "interspace_dev" + hostile,
            "Cloud Run job" + hostile,
        ),
        AskedSource("owner", "PostgreSQL 16.4 at 10.12.0.3:5432", "postgres", "laptop, through a tunnel"),
    ]
    digest = hashlib.sha256(b"sample").hexdigest()
    return ReportProvenance("0.1.0", "6aeaacc", sources, digest, AT, Cost(statements=61, server_ms=412.5, rows=8123))


def notebook(*outputs: Display | dict[str, Any], words: str = "Which session waits, and for whom?") -> nbformat.NotebookNode:
    """Return an executed notebook with one code cell for each output."""
    cells = [
        new_markdown_cell("# Bloat\n\nHow much of the disk holds nothing."),
        new_code_cell("case = open_case('x')", execution_count=1),
    ]
    cells[1].metadata["tags"] = ["parameters"]
    for number, output in enumerate(outputs, 2):
        data = output if isinstance(output, dict) else output.bundle()
        cells.append(new_markdown_cell(f"## Question {number}\n\n{words}"))
        cells.append(
            new_code_cell(f"case.show({number})", execution_count=number, outputs=[new_output("display_data", data=data)])
        )
    return new_notebook(cells=cells)


def displays(hostile: str = "") -> list[Display]:
    """Return one of every display and figure, with `hostile` in the names."""
    judged = document(hostile or None)
    shown = evidence.EvidenceView("relation_sizes", evidence_of(hostile), source(hostile), rows=[1])
    return [
        VerdictView(judged.verdict),
        Ladder(judged.layers, vantages(capture(hostile).sources)),
        Findings(judged.results),
        NextSteps(judged.results),
        evidence.not_examined(judged.results),
        evidence.clean(judged.results),
        Hypotheses(tuple(judged.hypotheses), {"schema_without_usage:schema:auth": f"no USAGE {hostile}"}),
        Timeline(judged.changes),
        Attempt(f"app{hostile}", connection_steps(hostile)),
        Probes(service_probes(hostile)),
        evidence.identity_block(capture(hostile)),
        shown,
        *figure_list(hostile),
    ]


def figure_list(hostile: str = "") -> list[figures.Shown]:
    """Return one of every figure."""
    access = pd.DataFrame(
        [
            {
                "role": role + hostile,
                "schema": schema + hostile,
                "action": "SELECT",
                "relations": 4,
                "allowed": allowed,
                "after_set_role": 0,
                "filtered": 0,
                "hidden": 0,
            }
            for role, counts in {"interspace_dev": [0, 4], "migrator": [4, 2]}.items()
            for schema, allowed in zip(["auth", "public"], counts, strict=True)
        ]
    )
    judged = document(hostile or None)
    return [
        figures.wait_chart(sessions(hostile)),
        figures.blocking_chart(blocking(), sessions(hostile)),
        figures.access_by_schema(access),
        figures.table_bytes_chart(evidence_of(hostile).frame),
        figures.statement_time_chart(statements(hostile)),
        figures.change_timeline(judged.changes, since=judged.window.since, until=judged.window.until),
    ]


def evidence_of(hostile: str = "") -> Evidence:
    """Return sizes of three tables."""
    columns = (
        Column("schema_name", "string"),
        Column("relation_name", "string"),
        Column("table_bytes", "Int64", "bytes"),
        Column("wasted_bytes", "Int64", "bytes"),
        Column("last_vacuum_at", "datetime64[us, UTC]"),
        Column("note", "string"),
    )
    rows = [
        ("app", "orders" + hostile, 734003200, 402653184, AT, "busy" + hostile),
        ("app", "2024-01-01", 104857600, 10485760, None, None),
        ("auth", "siwe_nonces", 81920, 0, AT, "x" * 400),
    ]
    text = "select relation_name\nfrom pg_catalog.pg_class" + (f" -- {hostile}" if hostile else "")
    told = Provenance(
        title="Sizes of relations",
        grain="one row per table",
        text=text,
        text_sha256="0" * 64,
        at=AT,
        seconds=0.031,
        rows=3,
    )
    return Evidence(build_frame(columns, rows), columns, told)


def source(hostile: str = "") -> Source:
    """Return a source with an identity."""
    identity = Identity(
        user="interspace_dev" + hostile,
        session_user="interspace_dev",
        database="interspace" + hostile,
        server_version=160004,
        server_version_text="PostgreSQL 16.4",
        server="10.12.0.3:5432",
        is_superuser=False,
        in_recovery=False,
        search_path='"$user", public' + hostile,
        visible_schemas=["public"],
    )
    return Source("app", "postgres", "laptop" + hostile, identity, {}, {})


def capture(hostile: str = "") -> Capture:
    """Return a capture of one source."""
    return Capture("dev", AT, AT, "0.1.0", (source(hostile),), Cost(statements=61, server_ms=412.5, rows=8123), "ab" * 32)


def sessions(hostile: str = "") -> pd.DataFrame:
    """Return a few sessions; one waits for a lock that another holds."""
    rows = [
        (101, "app" + hostile, "client backend", "idle in transaction", "Client", "ClientRead", False),
        (102, "app", "client backend", "active", "Lock", "transactionid", False),
        (103, "app", "client backend", "active", "Lock" + hostile, "relation" + hostile, False),
        (104, "app", "client backend", "active", None, None, False),
        (105, "app", "client backend", None, None, None, True),
        (7, None, "autovacuum worker", None, None, None, False),
    ]
    names = {
        "pid": "Int64",
        "user_name": "string",
        "backend_type": "string",
        "state": "string",
        "wait_event_type": "string",
    }
    names |= {"wait_event": "string", "is_hidden": "boolean"}
    return build_frame([Column(name, dtype) for name, dtype in names.items()], rows)


def connection_steps(hostile: str = "") -> pd.DataFrame:
    """Return an attempt that ended where nobody listens."""
    names = {"endpoint": "string", "step": "string", "status": "string", "seconds": "Float64"}
    names |= {"error_code": "string", "message": "string", "address": "string"}
    rows = [
        (None, "vantage", "ok", 0.0, None, "a laptop", None),
        ("10.0.0.9:5432" + hostile, "name resolution", "ok", 0.0, None, "10.0.0.9", None),
        ("10.0.0.9:5432" + hostile, "tcp", "failed", 3.1, "ECONNREFUSED", "refused" + hostile, "10.0.0.9"),
        ("10.0.0.9:5432" + hostile, "greeting", "not reached", None, None, None, None),
    ]
    return build_frame([Column(name, dtype) for name, dtype in names.items()], rows)


def service_probes(hostile: str = "") -> pd.DataFrame:
    """Return the answers of a service that is well, one that never answers, and one that says that it is not."""
    columns = [Column(name, "string") for name in ("service_name", "died_at", "message")]
    columns += [Column("http_status", "Int64"), Column("body_fields", "list[string]")]
    rows = [
        ("auth" + hostile, None, None, 200, ["status: healthy" + hostile, "database: connected"]),
        ("backend", "answer", "timed out" + hostile, None, None),
        ("websocket", None, None, 503, []),
    ]
    return build_frame(columns, rows)


def blocking() -> pd.DataFrame:
    """Return a queue of two behind session 101, and a prepared transaction that holds up one."""
    names = {"blocked_pid": "Int64", "blocking_pids": "list[string]", "lock_type": "string"}
    rows = [(102, ["101"], "transactionid"), (103, ["102", "101"], "relation"), (104, ["0"], "transactionid")]
    return build_frame([Column(name, dtype) for name, dtype in names.items()], rows)


def statements(hostile: str = "") -> pd.DataFrame:
    """Return three statements."""
    names = {
        "query_id": "string",
        "statement": "string",
        "calls": "Int64",
        "total_exec_ms": "Float64",
        "mean_exec_ms": "Float64",
    }
    rows = [
        (
            "1",
            "select * from orders where customer_id = $1 order by created_at desc limit $2" + hostile,
            120000,
            7_512_000.0,
            62.6,
        ),
        ("2", "update carts set touched_at = now() where id = $1", 50000, 812_000.0, 16.2),
        ("3", None, 10, 30.0, 3.0),
    ]
    return build_frame([Column(name, dtype) for name, dtype in names.items()], rows)


def changes(said: Any = str) -> list[ChangeEntry]:
    """Return deploys, one of them failed, and a grant that took effect late."""
    rows = [
        (-110, None, "deploy", "revision 00033 of backend", "failed"),
        (-62, None, "deploy", "revision 00034 of backend", "failed: permission missing"),
        (-40, -33, "iam grant", "roles/cloudsql.client to backend@interspace.iam.gserviceaccount.com", None),
        (-20, None, "migration", "20260214024700_add_siwe_nonces", "applied"),
        (-12, None, "deploy", "revision 00036 of backend", "ready"),
    ]
    return [
        ChangeEntry(
            at=AT + timedelta(minutes=at),
            effective_at=None if late is None else AT + timedelta(minutes=late),
            kind=said(kind) if kind == "deploy" else kind,
            summary=said(summary),
            source=said("audit log"),
            outcome=outcome if outcome is None else said(outcome),
        )
        for at, late, kind, summary, outcome in rows
    ]


def _status(layer: str) -> str:
    return {
        "privileges": "broken",
        "row security": "not examined",
        "service": "out of scope",
        "change": "out of scope",
    }.get(layer, "cleared")


def _reason(layer: str) -> str:
    reasons = {
        "privileges": "Role interspace_dev has no USAGE on schema auth; 2 relations in it are hidden from it.",
        "row security": "policies: not permitted: the asker may not read pg_policy",
        "service": "no source was named that could show it",
        "change": "no source was named that could show it",
    }
    return reasons.get(layer, "3 checks found nothing that breaks it")


def _results(said: Any) -> list[dict[str, Any]]:
    return [
        _result(
            said,
            "schema_without_usage",
            "permissions",
            "privileges",
            [
                _finding(
                    said,
                    "schema_without_usage:schema:auth",
                    "critical",
                    "privileges",
                    {"kind": "schema", "name": said("auth")},
                    "Role interspace_dev has no USAGE on schema auth; 2 tables in it answer “does not exist” to a bare name.",
                    "-- as the owner of the schema, migrator\ngrant usage on schema auth to interspace_dev;",
                    ("schema_grants", [0, 3]),
                    2.0,
                    0.0,
                    "tables",
                )
            ],
        ),
        _result(
            said,
            "table_bloat",
            "bloat",
            "capacity and performance",
            [
                _finding(
                    said,
                    f"table_bloat:table:app.{name}",
                    severity,
                    "capacity and performance",
                    {"kind": "table", "schema": "app", "name": said(name)},
                    f"About 55 % of app.{name} holds nothing: 384.0 MiB of 700.0 MiB.",
                    f"vacuum (analyze) app.{name};",
                    ("relation_sizes", [0]),
                    402653184.0,
                    104857600.0,
                    "bytes",
                )
                for name, severity in [("orders", "warning"), ("carts", "info")]
            ],
        ),
        {
            **_result(said, "row_security", "permissions", "row security", []),
            "status": "skipped",
            "reason": said("policies: not permitted"),
        },
        {
            **_result(said, "unused_indexes", "bloat", "capacity and performance", []),
            "not_examined": [{"subject": said("app.audit_log"), "reason": said("locked by another session")}],
            "status": "clean",
        },
        _result(said, "wraparound", "triage", "capacity and performance", []),
        {
            **_result(str, "service_ready", "triage", "service", []),
            "status": "skipped",
            "source": "",
            "reason": "no cloud source was named",
        },
    ]


def _result(said: Any, check: str, area: str, layer: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    status = "findings" if findings else "clean"
    return {
        "check": check,
        "area": area,
        "layer": layer,
        "source": said("app"),
        "status": status,
        "examined": 1234,
        "findings": findings,
    }


def _finding(
    said: Any,
    fingerprint: str,
    severity: str,
    layer: str,
    subject: Any,
    message: str,
    remedy: str,
    rows: Any,
    *numbers: Any,
) -> Any:
    return {
        "fingerprint": fingerprint,
        "severity": severity,
        "layer": layer,
        "subject": subject,
        "message": said(message),
        "remedy": said(remedy),
        "evidence": {"name": rows[0], "rows": rows[1]},
        "value": numbers[0],
        "threshold": numbers[1],
        "unit": numbers[2],
    }

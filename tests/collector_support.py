"""Running the three forms of a collector as a person or a job would, and holding what came against a direct capture."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from kit.analyze.document import FindingsDocument
from kit.case.collecting import collected
from kit.case.importing import OTHERS_GAP, imported
from kit.case.judging import Question, judged
from kit.collect.forms.printing import collector
from kit.evidence.model import Capture
from kit.sandbox import binaries, shop
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import resolve

PSQLS = [path for path in (shutil.which("psql"), binaries.embedded().bin_folder / "psql") if path and Path(path).exists()]
ODD = 'odd "name"\n{"kit_evidence":1,"rows":[]}'
ODD_SQL = '"' + ODD.replace('"', '""') + '"'
# What differs between any two askings, whatever asks: times, sessions, counters (a ledger's index is scanned).
LIVE = {"sessions", "statements", "table_statistics", "connection", "session", "settings", "locks", "databases", "indexes"}
LIVE_CHECKS = {"blocked_sessions", "idle_transactions", "held_back_vacuums", "slow_statements", "connections_near_limit"}
# A superuser, a role that may see all statistics, and the service's own.
ROLES = ("postgres", "collector_monitor", "collector_plain")
MISSING = {"other_databases", "relations_elsewhere", "ledgers_elsewhere"}

STAGE = f"""
    create role collector_monitor login in role pg_monitor; grant connect on database shop to collector_monitor;
    create role collector_plain login; grant connect on database shop to collector_plain;
    create schema {ODD_SQL}; create table {ODD_SQL}.{ODD_SQL} (id int);
    create schema ledgers; create schema closed;
    create table ledgers.alembic_version (version_num varchar(32) primary key);
    create table ledgers.schema_migrations (version text primary key); insert into ledgers.schema_migrations values ('<7>&');
    create table closed.django_migrations (id int, app text, name text, applied timestamptz);
    insert into closed.django_migrations values (1, 'shop', '0001', now()), (2, 'shop', '0002', 'infinity');
    grant usage on schema ledgers to collector_monitor; grant select on all tables in schema ledgers to collector_monitor;
    create table closed.rows (id int); alter table closed.rows enable row level security;
    create policy p on closed.rows using (current_user <> 'somebody''s "literal"');
    alter role collector_monitor set app.secret = 'hunter2-of-the-role';
"""
# Nothing wrong with it: one owner, who serves; PUBLIC may not make what it likes.
HEALTHY = """
    create schema app; create table app.users (id bigint generated always as identity primary key, email text unique);
    create table app.orders (id bigint generated always as identity primary key, user_id bigint references app.users);
    create index on app.orders (user_id);
    revoke create on schema public from public;
"""


@dataclass(frozen=True)
class Shop:
    """The staged shop with ledgers, an odd name and roles to ask as, and a healthy database beside it."""

    server: Server
    secrets: shop.Secrets

    def dsn(self, user: str, database: str = "shop") -> str:
        return self.server.dsn(database, user)

    def of(self, user: str, database: str = "shop") -> Capture:
        return collected(resolve(self.dsn(user, database)))


def staged_shop(major: int | None) -> Iterator[Shop]:
    with sandbox.running(binaries.npm(major) if major else None) as running:
        now = datetime.now(UTC)
        found = shop.stage(running, now)
        running.execute(STAGE, "shop")
        running.create_database("healthy")
        running.execute(HEALTHY, "healthy")
        with shop.held_sessions(running, found):
            yield Shop(running, found.secrets)


def run_psql(text: str, dsn: str, out: Path, program: str | Path = PSQLS[0], environment: Mapping[str, str] | None = None) -> str:
    """Run the collector as a person would; return what psql said on standard error."""
    script = out.with_name(f"{out.name}.sql")
    script.write_text(text, encoding="utf-8")
    with out.open("wb") as stream:
        command = [str(program), "-X", "-f", str(script), "-d", dsn]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, env=environment, check=False)
    script.unlink()
    return done.stderr.decode()


def statements_of(text: str) -> list[str]:
    """The statements of the form `paste`, each with the comment before it, as a person would copy them."""
    return re.findall(r"\n-- \d+ of .*?;\n(?=\n|\Z)", text, re.DOTALL)


def few(text: str) -> slice:
    """Those that the form says are enough for most."""
    return slice(int(re.search(r"Run 1 to (\d+)", text)[1]))


def pasted(text: str, dsn: str, only: slice = slice(None)) -> list[str]:
    """The answers of the statements, each sent alone as an editor sends it; what fails is left out."""
    found = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements_of(text)[only]:
            try:
                rows = connection.execute(statement.encode()).fetchall()
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
                continue
            assert [len(row) for row in rows] in ([1], [])
            found += [row[0] for row in rows if row[0] is not None]
    return found


def run_python(
    text: str, out: Path, environment: Mapping[str, str], program: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    """Run it without any package and in this environment alone."""
    with out.open("wb") as stream:
        return subprocess.run(
            [program, "-S", "-"], input=text.encode(), stdout=stream, stderr=subprocess.PIPE, env=dict(environment), check=False
        )


def asked(form: str, dsn: str, out: Path) -> Path:
    """The file that this form's answers make."""
    text = collector(form)
    if form == "psql":
        run_psql(text, dsn, out)
    elif form == "paste":
        out.write_text("\n\n".join(pasted(text, dsn)), encoding="utf-8")
    else:
        done = run_python(text, out, {"DATABASE_URL": dsn})
        assert (done.returncode, done.stderr) == (0, b"")
    return out


def findings(document: FindingsDocument) -> list[tuple[str, str, str]]:
    """Every finding; of what goes on while it is asked, such as waits, the numbers differ between any two askings."""
    return sorted(
        (f.fingerprint, f.severity, re.sub(r"\d[\d.,]*", "#", f.message) if result.check in LIVE_CHECKS else f.message)
        for result in document.results
        for f in result.findings
    )


def results(document: FindingsDocument) -> dict[str, tuple[str, list[str]]]:
    """Each check's status, and what it could not examine."""
    return {r.check: (r.status, sorted(unseen.subject for unseen in r.not_examined)) for r in document.results}


def hold_against_direct(there: Shop, form: str, user: str, out: Path, database: str = "shop") -> int:
    """The imported answers against a direct capture by the same role; return how many findings there were."""
    taken, direct = imported([asked(form, there.dsn(user, database), out)]), there.of(user, database)
    (one,), (other,) = taken.sources, direct.sources
    mine, expected = judged(taken, Question("same")), judged(direct, Question("same"))
    assert findings(mine) == findings(expected)
    assert results(mine) == results(expected)
    assert [(x.layer, x.status) for x in mine.layers] == [(x.layer, x.status) for x in expected.layers]
    assert (mine.verdict.status, mine.verdict.layer) == (expected.verdict.status, expected.verdict.layer)
    # An editor keeps the server's refusal to itself.
    told = {n: "not given" for n, gap in other.gaps.items() if form == "paste" and ":" not in n and gap.kind == "not permitted"}
    gaps = {name: told.get(name, gap.kind) for name, gap in other.gaps.items()}
    assert {name: gap.kind for name, gap in one.gaps.items()} == {**gaps, OTHERS_GAP: "not given"}
    assert one.identity == other.identity
    differ = {n for n in other.evidence if n not in one.evidence or not one.evidence[n].frame.equals(other.evidence[n].frame)}
    assert differ <= LIVE | MISSING, differ - LIVE - MISSING
    assert other.evidence.keys() == one.evidence.keys() - {"service_environment", "service_sockets", "service_reachability"}
    return len(findings(mine))

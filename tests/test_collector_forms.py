"""Collectors by psql, by pasting and by `python3 -S`: imported, they are judged as a direct capture by the same role is."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.case.collecting import collected
from kit.case.importing import OTHERS_GAP, import_files, imported
from kit.case.judging import Question, judged
from kit.collect.forms.printing import FORMS, collector
from kit.collect.forms.reading import ImportedFileError, read_files
from kit.errors import BundleError, KitError, ParameterError
from kit.evidence import bundle
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import resolve
from tests.collector_support import (
    ODD,
    PSQLS,
    ROLES,
    Shop,
    asked,
    few,
    findings,
    hold_against_direct,
    pasted,
    run_psql,
    run_python,
    staged_shop,
    statements_of,
)


@pytest.fixture(scope="module")
def here() -> Iterator[Shop]:
    yield from staged_shop(None)


@pytest.mark.parametrize("user", ROLES)
@pytest.mark.parametrize("form", FORMS)
def test_is_judged_as_a_direct_capture(here: Shop, form: str, user: str, tmp_path: Path) -> None:
    assert hold_against_direct(here, form, user, tmp_path / "answer") >= 7


@pytest.mark.parametrize("form", FORMS)
def test_of_a_healthy_database_nothing_is_found(here: Shop, form: str, tmp_path: Path) -> None:
    hold_against_direct(here, form, "postgres", tmp_path / "answer", "healthy")
    document = judged(imported([tmp_path / "answer"]), Question("healthy"))
    assert document.verdict.status == "healthy"
    assert {f.severity for result in document.results for f in result.findings} <= {"info"}


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_is_judged_alike_on_every_version(major: int, tmp_path: Path) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    for there in staged_shop(major):
        for form in FORMS:
            for user in ROLES:
                assert hold_against_direct(there, form, user, tmp_path / f"{form}-{user}") >= 7
            hold_against_direct(there, form, "postgres", tmp_path / f"{form}-healthy", "healthy")


# --- psql -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PSQLS, ids=str)
def test_any_psql_will_do(here: Shop, tmp_path: Path, program: str) -> None:
    out = tmp_path / "answer"
    assert run_psql(collector("psql"), here.dsn("postgres"), out, program) == ""
    assert imported([out]).sources[0].gaps.keys() == {OTHERS_GAP}


def test_says_what_the_server_refused_and_goes_on(here: Shop, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    errors = run_psql(collector("psql"), here.dsn("collector_monitor"), out)
    assert errors.count("permission denied") == 2
    (source,) = imported([out]).sources
    assert source.gaps["statements"].kind == "not permitted"
    assert "42501" in source.gaps["statements"].reason
    assert source.gaps["migrations:closed.django_migrations"].kind == "not permitted"
    assert set(source.evidence["migrations"].frame["relation_name"]) == {"schema_migrations"}


def test_leaves_nothing_behind_and_writes_nothing(here: Shop, tmp_path: Path) -> None:
    """In one session, as through a pooler: settings as before, and no transaction that wrote."""
    ask = "select string_agg(name || setting, ',' order by name) from pg_settings where source = 'session';\n"
    first = "select pg_current_xact_id_if_assigned() is null, count(*) from pg_class;\n"
    out = tmp_path / "answer"
    run_psql(f"\\pset tuples_only on\n{ask}{collector('psql')}\n\\echo after\n{ask}", here.dsn("postgres"), out)
    lines = out.read_text().splitlines()
    assert lines[0].strip() == lines[-1].strip() == ""
    run_psql(first + re.sub(r"begin read only", "begin read write", collector("psql")) + first, here.dsn("postgres"), out)
    assert imported([out]).sources[0].evidence["relations"].frame.shape[0] > 0


@pytest.mark.parametrize("form", FORMS)
def test_an_own_operator_of_the_role_is_never_called(server: Server, database: str, form: str, tmp_path: Path) -> None:
    """A search_path with somebody's schema before pg_catalog: what is called there writes a row."""
    server.execute(
        """create schema trap; create table trap.calls (at timestamptz);
        create function trap.equal(oid, oid) returns bool language plpgsql as
          $$ begin insert into trap.calls values (now()); return true; end $$;
        create function trap.at_least(int, int) returns bool language plpgsql as
          $$ begin insert into trap.calls values (now()); return true; end $$;
        create operator trap.= (function = trap.equal, leftarg = oid, rightarg = oid);
        create operator trap.>= (function = trap.at_least, leftarg = int, rightarg = int);
        create function trap.concat(text, text) returns text language sql as 'select null';""",
        database,
    )
    name = f"trapped_{form}"
    server.execute(f"create role {name} superuser login; alter role {name} set search_path = trap, pg_catalog", database)
    out = asked(form, server.dsn(database, name), tmp_path / "answer")
    source = imported([out]).sources[0]
    assert source.identity is not None
    assert source.identity.search_path == "trap, pg_catalog"
    assert source.gaps.keys() - {OTHERS_GAP} == {"statements", "statements_info"}
    assert server.execute("select count(*) from trap.calls", database) == [(0,)]
    server.execute(f"drop role {name}")


def test_secrets_of_settings_and_statements_do_not_leave_the_server(here: Shop, tmp_path: Path) -> None:
    held = here.server.connect("shop", autocommit=True)
    with held:
        held.execute(b"select 'hunter2-in-a-literal' as \"it's\", 1")
        out = asked("psql", here.dsn("postgres"), tmp_path / "answer")
        held.execute(b"/* hi */ alter role collector_monitor password 'hunter2-in-utility'")
        later = asked("psql", here.dsn("postgres"), tmp_path / "later")
    text = out.read_text() + later.read_text()
    assert "hunter2" not in text
    kept = set(imported([out]).sources[0].evidence["sessions"].frame["statement"].dropna())
    assert 'select ? as "it\'s", ?' in kept
    assert "ALTER ROLE …" in set(imported([later]).sources[0].evidence["sessions"].frame["statement"].dropna())


# --- pasting ----------------------------------------------------------------------------------------------------------


def test_a_few_statements_are_enough_for_most(here: Shop, tmp_path: Path) -> None:
    text = collector("paste")
    answers = pasted(text, here.dsn("postgres"), few(text))
    # What one argument of a program may have on Linux is 128 KiB.
    assert max(len(statement.encode()) for statement in statements_of(text)) < 110_000
    assert all(len(answer.encode()) < 800_000 for answer in answers)
    (tmp_path / "few").write_text("\n".join(answers))
    assert imported([tmp_path / "few"]).sources[0].gaps.keys() == {OTHERS_GAP}


def as_csv(answers: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([["kit_evidence"], *([answer] for answer in answers)])
    return out.getvalue()


def as_gcloud(answers: list[str]) -> str:
    results = [{"columns": [{"name": "kit_evidence"}], "rows": [{"values": [{"value": answer}]}]} for answer in answers]
    return json.dumps({"results": results}, indent=2)


def as_markdown(answers: list[str]) -> str:
    escaped = (re.sub(r"([|_*])", r"\\\1", answer) for answer in answers)
    return "| kit_evidence |\n| --- |\n" + "".join(f"| {answer} |\n" for answer in escaped)


def as_table(answers: list[str]) -> str:
    return "\n".join(f"+-----+\n| kit_evidence |\n+-----+\n| {answer} |\n+-----+\n(1 row)\n" for answer in answers)


def as_wrapped(answers: list[str]) -> str:
    return "\r\n".join(re.sub("(.{200})", r"\1\r\n", answer) for answer in answers)


DECORATIONS = {
    "csv": as_csv,
    "gcloud": as_gcloud,
    "markdown": as_markdown,
    "table": as_table,
    "wrapped": as_wrapped,
    "backwards": lambda answers: "\n".join(reversed(answers)),
    "twice": lambda answers: "\n".join(answers * 2),
}


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_editors_may_decorate(here: Shop, tmp_path: Path, decoration: str) -> None:
    text = collector("paste")
    answers = pasted(text, here.dsn("postgres"), few(text))
    (tmp_path / "plain").write_text("\n".join(answers))
    (tmp_path / "decorated").write_text(DECORATIONS[decoration](answers), newline="")
    plain, decorated = (imported([tmp_path / name]).sources[0] for name in ("plain", "decorated"))
    assert decorated.gaps == plain.gaps
    assert all(decorated.evidence[name].frame.equals(plain.evidence[name].frame) for name in plain.evidence)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_powershell_may_write_the_file(here: Shop, tmp_path: Path, encoding: str) -> None:
    out = asked("psql", here.dsn("postgres"), tmp_path / "answer")
    (tmp_path / "windows").write_bytes(out.read_text().replace("\n", "\r\n").encode(encoding))
    assert imported([tmp_path / "windows"]).sources[0].gaps.keys() == {OTHERS_GAP}


def test_what_is_too_big_for_one_answer_comes_in_pages(server: Server, database: str, tmp_path: Path) -> None:
    many = "do $$ begin for i in 1..1500 loop execute format('create table wide_%s (%s)', i, %L); end loop; end $$"
    columns = ", ".join(f"a_column_with_a_long_name_{number} int" for number in range(6))
    with server.connect(database) as connection:
        connection.execute(many.replace("%L", f"'{columns}'").encode())
    text = collector("paste")
    answers = pasted(text, server.dsn(database))
    assert all(len(answer.encode()) < 800_000 for answer in answers)
    (tmp_path / "first").write_text("\n".join(answers))
    gap = imported([tmp_path / "first"]).sources[0].gaps["columns"]
    assert "is missing" in gap.reason
    more = pasted(
        text.replace("'0001' /* the page */", "'0002' /* the page */"), server.dsn(database), slice(few(text).stop, None)
    )
    (tmp_path / "second").write_text("\n".join(more))
    source = imported([tmp_path / "first", tmp_path / "second"]).sources[0]
    frame = collected(resolve(server.dsn(database))).sources[0].evidence["columns"].frame
    assert source.evidence["columns"].frame.equals(frame)


# --- python -----------------------------------------------------------------------------------------------------------


def oldest_python() -> str:
    found = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python"))
    if not found:
        pytest.skip("no Python 3.8 is installed here")
    return str(found[-1])


def test_runs_on_the_oldest_python(here: Shop, tmp_path: Path) -> None:
    environment = {"SHOP_DSN": here.dsn("postgres"), "OTHER": "value\r"}
    done = run_python(collector("python", environment="SHOP_DSN"), tmp_path / "answer", environment, oldest_python())
    assert (done.returncode, done.stderr) == (0, b"")
    assert imported([tmp_path / "answer"]).sources[0].gaps.keys() == {OTHERS_GAP}


def test_tells_what_the_service_sees_and_no_value(here: Shop, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": here.dsn("postgres"), "API_KEY": "hunter2-api-key\r", "QUOTED": "'x'"}
    run_python(collector("python", vantage="service"), tmp_path / "answer", environment)
    assert "hunter2" not in (tmp_path / "answer").read_text()
    (source,) = imported([tmp_path / "answer"]).sources
    assert source.vantage == "service"
    seen = source.evidence["service_environment"].frame.set_index("variable_name")
    assert seen.loc["API_KEY", ["value_bytes", "has_outer_space", "has_invisible"]].tolist() == [16, True, True]
    assert seen.loc["QUOTED", "is_quoted"]
    sockets = source.evidence["service_sockets"].frame
    assert (sockets[sockets["path"] == str(here.server.socket_folder / ".s.PGSQL.5432")]["kind"] == "socket").all()
    assert sockets[sockets["path"] == "/cloudsql"]["kind"].tolist() == ["absent"]
    assert source.evidence["service_reachability"].frame["is_reached"].tolist() == [True] * 3


PASSWORD = "p@ss/w'ö hunter2 %"


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_logs_in_and_tells_no_password(tmp_path: Path, method: str) -> None:
    with sandbox.running(settings={"password_encryption": method.replace("password", "scram-sha-256")}) as running:
        running.execute("create role app login password 'p@ss/w''ö hunter2 %'")
        hba = running.data_folder / "pg_hba.conf"
        hba.write_text(f"local all app {method}\n" + hba.read_text())
        running.execute("select pg_reload_conf()")
        for password, status in ((PASSWORD, 0), (PASSWORD + "x", 1)):
            dsn = running.dsn("postgres", "app", password)
            done = run_python(collector("python"), tmp_path / "answer", {"DATABASE_URL": dsn})
            assert (done.returncode, done.stderr) == (status, b"")
            text = (tmp_path / "answer").read_text()
            assert "hunter2" not in text
            assert PASSWORD not in text
            source = imported([tmp_path / "answer"]).sources[0]
            assert source.evidence["connection"].frame["is_connected"].tolist() == [status == 0]
    document = judged(imported([tmp_path / "answer"]), Question("refused"))
    assert any(
        "refused_logins" in fingerprint or "unreachable_servers" in fingerprint for fingerprint, _, _ in findings(document)
    )
    assert source.gaps["relations"].kind == "not reached"


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Server]:
    """A server that takes nothing but TLS on an address of its own; the embedded binaries know no TLS."""
    if reason := binaries.npm_is_missing(17):
        pytest.skip(f"TLS was NOT tested: {reason}")
    with sandbox.running(binaries.npm(17)) as running:
        key, certificate = running.data_folder / "server.key", running.data_folder / "server.crt"
        subject = ["-subj", "/CN=127.0.0.77", "-addext", "subjectAltName=IP:127.0.0.77"]
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject]
        subprocess.run(made, check=True, capture_output=True)
        for path in (key, certificate):
            path.chmod(0o600)
            shutil.chown(path, running.data_folder.stat().st_uid)
        hba = running.data_folder / "pg_hba.conf"
        hba.write_text("hostssl all all 127.0.0.0/8 scram-sha-256\n" + hba.read_text())
        running.execute("create role app login password 'hunter2-of-app'")
        for setting in ("ssl = on", "listen_addresses = '127.0.0.77'"):
            running.execute(f"alter system set {setting}")
        running.restart()
        yield running


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("mode", "is_trusted", "is_connected"),
    [
        ("prefer", False, True),
        ("require", False, True),
        ("verify-full", True, True),
        ("verify-full", False, False),
        ("disable", False, False),
    ],
)
def test_speaks_tls(encrypted: Server, tmp_path: Path, mode: str, is_trusted: bool, is_connected: bool) -> None:
    root = f"&sslrootcert={encrypted.data_folder / 'server.crt'}" if is_trusted else ""
    dsn = f"postgresql://app:hunter2-of-app@127.0.0.77:{encrypted.port}/postgres?sslmode={mode}{root}"
    done = run_python(collector("python"), tmp_path / "answer", {"DATABASE_URL": dsn})
    assert (done.returncode, done.stderr) == (0 if is_connected else 1, b"")
    assert "hunter2" not in (tmp_path / "answer").read_text()
    source = imported([tmp_path / "answer"]).sources[0]
    assert source.evidence["connection"].frame["is_connected"].tolist() == [is_connected]
    assert source.evidence["service_reachability"].frame["step"].tolist() == ["name resolution", "tcp"]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:hunter2?x@/shop",
        "postgresql://app:hunter2#/x?y@db.invalid/shop",
        "host=db.invalid password=hunter2 x y",
        "hunter2",
        "postgresql+asyncpg://app:hunter2@db.invalid:notaport/shop",
        "jdbc:postgresql://127.0.0.1:1/shop?user=app&password=hunter2",
        "host=/nowhere user=app password='hunter2'",
        "",
    ],
)
def test_a_string_that_leads_nowhere_is_evidence(tmp_path: Path, dsn: str) -> None:
    done = run_python(collector("python"), tmp_path / "answer", {"DATABASE_URL": dsn})
    assert (done.returncode, done.stderr) == (1, b"")
    assert "hunter2" not in (tmp_path / "answer").read_text()
    source = imported([tmp_path / "answer"]).sources[0]
    assert not source.evidence["connection"].frame["is_connected"].any()
    assert source.evidence["connection"].frame["message"].str.len().gt(5).all()


# --- damage and hostility ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answer(here: Shop, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return asked("psql", here.dsn("postgres"), tmp_path_factory.mktemp("answer") / "answer").read_bytes()


def test_a_cut_file_keeps_what_came_before(answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(answer[: answer.index(b'"name":"relations"') + 400])
    source = imported([tmp_path / "cut"]).sources[0]
    assert source.gaps["relations"].reason == "its answer is damaged or cut"
    assert source.gaps["roles"].kind == "not given"
    assert source.gaps["capture"].reason == "the file ends before the collector did"
    assert "sessions" in source.evidence


def test_an_altered_answer_is_not_taken(answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "altered").write_bytes(answer.replace(b'"collector_monitor"', b'"collector_minotor"'))
    gaps = imported([tmp_path / "altered"]).sources[0].gaps
    assert gaps["roles"].reason == "its answer is damaged or cut"


def test_a_name_that_looks_like_an_answer_stays_a_name(here: Shop, answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(answer)
    assert not read_files([tmp_path / "whole"]).damaged
    frame = imported([tmp_path / "whole"]).sources[0].evidence["schemas"].frame
    assert ODD in set(frame["schema_name"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x00\xff\xfe" * 100,
        b"\xff\xfe" + b"\x00",
        b'{"kit_evidence":1}',
        b'{"kit_evidence":1,' * 5_000,
        b'"{""kit_evidence""' * 5_000,
        b'{"kit_evidence":' + b"[" * 100_000,
        b'{"kit_evidence":1,"rows":[[]]}',
        b'{"kit_evidence":1,"id":"0123456789abcdef","form":"psql","kit":"0","vantage":"x","name":"end"}',
        b'{"kit_evidence":1,"id":"0123456789abcdef","form":"psql","kit":"0","vantage":"x","name":"session","page":1,"pages":1,"at":"x","rows":[]}',
        b'{"kit_evidence":1,"id":"../../etc","form":"psql","kit":"0","vantage":"x","name":"session","rows":[]}',
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(KitError) as caught:
        import_files([tmp_path / "file"], tmp_path / "bundle")
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_any_damage_ends_in_a_bundle_or_a_sentence(answer: bytes, tmp_path: Path) -> None:
    """The digests are taken out, so that what was altered reaches the frames."""
    chance, base = random.Random(4), re.sub(rb'"sha256":"[0-9a-f]{64}"', b'"sha256":null', answer)
    taken = 0
    for _ in range(30):
        content = bytearray(base)
        for _ in range(chance.randrange(1, 40)):
            at = chance.randrange(len(content))
            content[at : at + chance.randrange(4)] = chance.choice(
                [b"9", b"null", b'"', b"]", b"-", b"1e999", b"true", b"\x00", b"{}"]
            )
        (tmp_path / "file").write_bytes(content)
        try:
            judged(imported([tmp_path / "file"]), Question("damaged"))
            taken += 1
        except KitError:
            pass
    assert taken >= 5


def swapped(answer: bytes, name: str, rows: object) -> bytes:
    """The answer with other rows of one evidence, without a digest."""
    lines = answer.splitlines()
    position = next(n for n, line in enumerate(lines) if f'"name":"{name}","query"'.encode() in line)
    content = json.loads(lines[position])
    lines[position] = json.dumps({**content, "sha256": None, "rows": rows}, separators=(",", ":")).encode()
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("session", []),
        ("session", [[None] * 14]),
        ("extensions", [[None] * 4] * 2),
        ("settings", [[1, 2, 3, 4, 5, 6]]),
        ("roles", [[]]),
    ],
)
def test_an_answer_of_other_things_is_a_gap_or_a_sentence(answer: bytes, tmp_path: Path, name: str, rows: object) -> None:
    (tmp_path / "file").write_bytes(swapped(answer, name, rows))
    try:
        taken = imported([tmp_path / "file"])
    except ImportedFileError:
        return
    judged(taken, Question("odd"))


def test_files_of_two_collectors_are_refused(here: Shop, answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(answer)
    asked("psql", here.dsn("collector_monitor"), tmp_path / "two")
    with pytest.raises(ImportedFileError, match="two roles"):
        imported([tmp_path / "one", tmp_path / "two"])


def test_a_secret_shape_in_a_file_reaches_no_bundle(answer: bytes, tmp_path: Path) -> None:
    rows = [["r", None, "search_path", "postgresql://u:hunter2@host/db"], ["r", None, "app.key", "hunter2"]]
    (tmp_path / "file").write_bytes(swapped(answer, "role_settings", rows))
    frame = imported([tmp_path / "file"]).sources[0].evidence["role_settings"].frame
    assert frame["setting_value"].tolist() == ["postgresql://u:***@host/db", "<masked>"]


# --- the bundle and the command ---------------------------------------------------------------------------------------


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kit.cli", *map(str, words)], capture_output=True, text=True, check=False)


def test_the_commands_make_a_bundle(here: Shop, tmp_path: Path) -> None:
    printed = command("collector", "--form", "psql", "--vantage", "bastion")
    assert printed.returncode == 0
    run_psql(printed.stdout, here.dsn("postgres"), tmp_path / "answer")
    done = command("import", tmp_path / "answer", "--out", tmp_path / "bundle", "--target", "shop", "--json")
    assert (done.returncode, done.stderr) == (3, "")
    summary, taken = json.loads(done.stdout), bundle.load(tmp_path / "bundle")
    assert (summary["digest"], taken.target, taken.sources[0].vantage) == (taken.digest, "shop", "bastion")
    assert "SHA-256" in taken.sources[0].evidence["connection"].provenance.text
    assert oct((tmp_path / "bundle").stat().st_mode)[-3:] == "700"
    again = command("import", tmp_path / "answer", "--out", tmp_path / "bundle")
    assert (again.returncode, again.stderr.count("\n")) == (2, 2)


def test_a_wrong_order_is_one_sentence(tmp_path: Path) -> None:
    done = command("collector", "--form", "perl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    for options in ({"vantage": "a'b"}, {"vantage": "$kit$"}, {"environment": "A=b"}):
        with pytest.raises(ParameterError):
            collector("python", **options)
    with pytest.raises(BundleError):
        import_files([tmp_path / "nothing"], tmp_path)

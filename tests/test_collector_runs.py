"""Collectors where things are not as they should be: locks, poolers, habits of psql, other databases, failed connections."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.analyze.document import FindingsDocument
from kit.case.collecting import collected
from kit.case.importing import OTHERS_GAP, import_files, imported
from kit.case.judging import Question, judged
from kit.case.tables import table
from kit.collect.forms.printing import FORMS, collector
from kit.collect.forms.reading import ImportedFileError
from kit.collect.queries import fact_queries
from kit.errors import KitError, TargetError, UsageError
from kit.evidence import bundle
from kit.sandbox import shop
from kit.sandbox.account import choose_account
from kit.sandbox.server import Server
from kit.target import resolve
from tests.collector_support import (
    PSQLS,
    Shop,
    asked,
    few,
    findings,
    hold_against_direct,
    pasted,
    results,
    run_psql,
    run_python,
    staged_shop,
    statements_of,
)
from tests.test_pgbouncer import PGBOUNCER, Pool, pool

__all__ = ["pool"]
MISSED = 'relation "next_door" does not exist'


@pytest.fixture(scope="module")
def here() -> Iterator[Shop]:
    for found in staged_shop(None):
        found.server.create_database("billing")
        found.server.execute(
            "create schema b; create table b.next_door (id int);"
            "create table b.alembic_version (version_num varchar(32) primary key);"
            "insert into b.alembic_version values ('1975ea83b712')",
            "billing",
        )
        yield found


# --- other databases --------------------------------------------------------------------------------------------------


def answers_of(there: Shop, form: str, tmp_path: Path, *databases: str, text: str | None = None) -> list[Path]:
    """One collector, run in each of the databases."""
    program, found = text or collector(form), []
    for name in databases:
        out = tmp_path / f"{form}-{name}"
        if form == "psql":
            run_psql(program, there.dsn("postgres", name), out)
        elif form == "paste":
            out.write_text("\n".join(pasted(program, there.dsn("postgres", name), few(program))), encoding="utf-8")
        else:
            run_python(program, out, {"DATABASE_URL": there.dsn("postgres", name)})
        found.append(out)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_answers_of_all_databases_are_as_much_as_a_direct_capture(here: Shop, form: str, tmp_path: Path) -> None:
    files = answers_of(here, form, tmp_path, "shop", "billing", "healthy", "postgres")
    taken, direct = imported(files), here.of("postgres")
    (source,), (expected,) = taken.sources, direct.sources
    assert source.gaps.keys() == expected.gaps.keys() == set()
    for name in ("other_databases", "relations_elsewhere", "ledgers_elsewhere"):
        assert source.evidence[name].frame.equals(expected.evidence[name].frame), name
    question = Question("next door", MISSED)
    assert findings(judged(taken, question)) == findings(judged(direct, question))
    assert results(judged(taken, question)) == results(judged(direct, question))
    assert any("relations_in_other_databases" in fingerprint for fingerprint, _, _ in findings(judged(taken, question)))


def test_what_other_databases_hold_is_not_examined_without_their_answers(here: Shop, tmp_path: Path) -> None:
    """The one thing that an import of one database's answers lacks, listed literally."""
    (answer,) = answers_of(here, "psql", tmp_path, "shop")
    taken, question = imported([answer]), Question("next door", MISSED)
    assert {name: gap.reason for name, gap in taken.sources[0].gaps.items()} == {
        OTHERS_GAP: "billing, healthy, postgres did not answer; run the collector there too, and import all answers together, "
        "this one first"
    }
    mine, expected = (results(judged(capture, question)) for capture in (taken, here.of("postgres")))
    differing = {check: mine[check] for check in expected if mine[check] != expected[check]}
    assert differing == {"relations_in_other_databases": ("clean", ["database billing", "database healthy", "database postgres"])}


def test_two_databases_in_one_file_are_not_mixed(here: Shop, tmp_path: Path) -> None:
    """The same collector twice: its answers have the same number, and only what they say of their place differs."""
    for form in FORMS:
        one, other = answers_of(here, form, tmp_path, "shop", "billing")
        both = tmp_path / "both"
        both.write_bytes(one.read_bytes() + b"\n" + other.read_bytes())
        (source,), (alone,) = imported([both]).sources, imported([one]).sources
        assert source.identity == alone.identity
        assert source.identity is not None
        assert source.identity.database == "shop"
        names = set(source.evidence["relations"].frame["relation_name"])
        assert "next_door" not in names
        assert len(source.evidence["relations"].frame) == len(alone.evidence["relations"].frame)
        assert set(source.evidence["relations_elsewhere"].frame["relation_name"]) == {"next_door", "alembic_version"}


def test_a_refusal_belongs_to_the_database_that_refused(here: Shop, tmp_path: Path) -> None:
    text = collector("psql")
    for name, role in (("one", "collector_monitor"), ("two", "collector_monitor")):
        run_psql(text, here.dsn(role, "shop" if name == "one" else "billing"), tmp_path / name)
    (source,) = imported([tmp_path / "two", tmp_path / "one"]).sources
    assert source.identity is not None
    assert source.identity.database == "billing"
    assert source.gaps["statements"].kind == "unsupported"
    (source,) = imported([tmp_path / "one", tmp_path / "two"]).sources
    assert source.gaps["statements"].kind == "not permitted"


def test_answers_of_two_servers_or_roles_are_refused(here: Shop, server: Server, tmp_path: Path) -> None:
    text = collector("psql")
    run_psql(text, here.dsn("postgres"), tmp_path / "one")
    run_psql(text, server.dsn("postgres"), tmp_path / "other")
    run_psql(text, here.dsn("collector_plain", "healthy"), tmp_path / "plain")
    run_psql(collector("psql"), here.dsn("postgres"), tmp_path / "again")
    for name, words in (("other", "two servers"), ("plain", "two roles"), ("again", "two collectors")):
        with pytest.raises(ImportedFileError, match=words) as caught:
            import_files([tmp_path / "one", tmp_path / name], tmp_path / "bundle")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "bundle").exists()


def test_an_answer_given_twice_counts_once_and_order_is_no_matter(here: Shop, tmp_path: Path) -> None:
    (answer,) = answers_of(here, "psql", tmp_path, "shop")
    lines = answer.read_bytes().splitlines()
    # The end says that nothing is missing behind it, so it stays the last.
    (tmp_path / "mixed").write_bytes(b"\n".join([*reversed(lines[:-1]), *lines]))
    mixed, plain = (imported([path]).sources[0] for path in (tmp_path / "mixed", answer))
    assert mixed.gaps == plain.gaps
    assert all(mixed.evidence[name].frame.equals(plain.evidence[name].frame) for name in plain.evidence)


# --- kit.toml ---------------------------------------------------------------------------------------------------------

CONFIG = """
[targets.shop]
dsn_env = "A_VARIABLE_THAT_IS_NOT_SET"
vantage = "office"
exposed = ["collector_plain"]
"""


def test_kit_toml_says_more_of_the_target(here: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write_cloud_exports(tmp_path / "exports", datetime.now(UTC), here.secrets)
    (tmp_path / "kit.toml").write_text(f'{CONFIG}cloud = "exports"\n')
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    (answer,) = answers_of(here, "psql", tmp_path, "shop")
    told = asked("python", here.dsn("postgres"), tmp_path / "job")
    source, cloud = imported([answer], "shop").sources
    assert (source.vantage, cloud.kind) == ("office", "cloud")
    assert source.evidence["exposed_roles"].frame["role_name"].tolist() == ["collector_plain"]
    assert imported([told], "shop").sources[0].vantage == "job"
    run_psql(collector("psql", vantage="bastion"), here.dsn("postgres"), tmp_path / "bastion")
    assert imported([tmp_path / "bastion"], "shop").sources[0].vantage == "bastion"
    assert "exposed_roles" not in imported([answer], "unknown").sources[0].evidence
    assert len(imported([answer], cloud=tmp_path / "exports").sources) == 2
    with pytest.raises(TargetError):
        imported([answer], cloud=tmp_path / "nowhere")
    (tmp_path / "kit.toml").write_text("[targets.shop]\nexposde = []\n")
    with pytest.raises(TargetError):
        imported([answer], "shop")


@pytest.mark.parametrize("target", ["postgresql://u:hunter2@h/d", "host=h password=hunter2", "a/b", "line\nend"])
def test_a_target_is_a_name(tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError) as caught:
        imported([tmp_path / "file"], target)
    assert "hunter2" not in f"{caught.value!r}{caught.value.message}{caught.value.hint}"


# --- psql -------------------------------------------------------------------------------------------------------------


def test_habits_of_psql_do_not_matter(here: Shop, tmp_path: Path) -> None:
    """A start file is left out by -X; what was set before a collector that is included by \\i, it sets itself."""
    start = tmp_path / "psqlrc"
    start.write_text("\\set ON_ERROR_STOP on\n\\pset border 2\n\\pset format html\n\\timing on\nselect 'noise';\n")
    environment = {**os.environ, "PSQLRC": str(start)}
    run_psql(collector("psql"), here.dsn("collector_monitor"), tmp_path / "plain", environment=environment)
    (tmp_path / "script").write_text(collector("psql"))
    noise = f"\\pset null 'NIL'\n{start.read_text()}\\pset fieldsep '~'\n\\pset footer on\n\\i {tmp_path / 'script'}\n"
    run_psql(noise, here.dsn("collector_monitor"), tmp_path / "noisy")
    plain, noisy = (imported([tmp_path / name]).sources[0] for name in ("plain", "noisy"))
    assert "noise" not in (tmp_path / "plain").read_text()
    assert plain.gaps == noisy.gaps
    assert {"relations", "roles", "settings"} <= noisy.evidence.keys()


@pytest.mark.parametrize("form", FORMS)
def test_a_locked_table_is_seen_as_a_direct_capture_sees_it(here: Shop, form: str, tmp_path: Path) -> None:
    with here.server.connect("shop", autocommit=False) as held:
        held.execute(b"lock table shop.customers, ledgers.alembic_version in access exclusive mode")
        hold_against_direct(here, form, "postgres", tmp_path / "answer")


def test_one_failing_statement_is_one_gap(here: Shop, tmp_path: Path) -> None:
    before, title, after = collector("psql").partition(f"-- {fact_queries()['policies'][0].title}\n")
    assert "pg_catalog.pg_policy as" in after
    text = before + title + after.replace("pg_catalog.pg_policy as", "pg_catalog.no_such_catalog as", 1)
    errors = run_psql(text, here.dsn("postgres"), tmp_path / "answer")
    (source,) = imported([tmp_path / "answer"]).sources
    assert errors.count("ERROR") == 1
    assert source.gaps.keys() == {"policies", OTHERS_GAP}
    assert "42P01" in source.gaps["policies"].reason


@pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")
@pytest.mark.parametrize("form", FORMS)
def test_through_a_pooler_it_is_whole_and_leaves_nothing(pool: Pool, form: str, tmp_path: Path) -> None:
    before, text = pool.settings(), collector(form)
    if form == "python":
        run_python(text, tmp_path / "answer", {"DATABASE_URL": pool.dsn})
    elif form == "psql":
        run_psql(text, pool.dsn, tmp_path / "answer")
    else:
        # All of them: on a server that many tests have used, the answers do not fit into the few.
        (tmp_path / "answer").write_text("\n".join(run_alone(statement, pool.dsn) for statement in statements_of(text)))
    (source,) = imported([tmp_path / "answer"]).sources
    assert source.gaps.keys() == {OTHERS_GAP}
    assert source.identity is not None
    assert source.identity.search_path == "auth, shop"
    after = pool.settings()
    if form != "python":
        # psql gives its own name to whatever it connects to, and the pooler keeps it until a client gives another.
        assert after.pop("application_name") == ("psql", "session")
        before.pop("application_name")
    assert {name: (before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)} == {}


# --- pasting ----------------------------------------------------------------------------------------------------------


def run_alone(statement: str, dsn: str) -> str:
    """One statement as the argument of a program."""
    command = [str(PSQLS[0]), "-X", "-A", "-t", "-d", dsn, "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_each_statement_may_be_an_argument_of_a_program(here: Shop, tmp_path: Path) -> None:
    text = collector("paste")
    answers = [run_alone(statement, here.dsn("postgres")) for statement in statements_of(text)]
    assert all(answer.count("\n") == 1 for answer in answers)
    (tmp_path / "answer").write_text("".join(answers))
    (source,), (expected,) = imported([tmp_path / "answer"]).sources, here.of("postgres").sources
    assert source.gaps.keys() == {OTHERS_GAP}
    assert source.evidence["relations"].frame.equals(expected.evidence["relations"].frame)


def as_records(answers: list[str]) -> str:
    return json.dumps([{"kit_evidence": answer} for answer in answers], indent=1)


def as_parsed(answers: list[str]) -> str:
    """Editors that show JSON of JSON as one document, the answer's text inside it."""
    return "\n".join(json.dumps({"rows": [[answer]], "rowCount": 1}) for answer in answers)


def as_csv(answers: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([["kit_evidence"], *([answer] for answer in answers)])
    return out.getvalue()


def as_tabs(answers: list[str]) -> str:
    return "kit_evidence\n" + "\n".join(f"{number}\t{answer}" for number, answer in enumerate(answers))


def as_boxes(answers: list[str]) -> str:
    return "\n".join(f"┌──────┐\n│ kit_evidence │\n├──────┤\n│ {answer} │\n└──────┘" for answer in answers)


@pytest.mark.parametrize("decorate", [as_records, as_parsed, as_csv, as_tabs, as_boxes])
def test_what_editors_export_is_understood(here: Shop, tmp_path: Path, decorate: Callable[[list[str]], str]) -> None:
    text = collector("paste")
    answers = pasted(text, here.dsn("postgres"), few(text))
    (tmp_path / "plain").write_text("\n".join(answers))
    (tmp_path / "decorated").write_text(decorate(answers), newline="")
    plain, decorated = (imported([tmp_path / name]).sources[0] for name in ("plain", "decorated"))
    assert decorated.gaps == plain.gaps
    assert all(decorated.evidence[name].frame.equals(plain.evidence[name].frame) for name in plain.evidence)


# --- a job ------------------------------------------------------------------------------------------------------------


def test_runs_in_an_empty_environment_as_another_user(here: Shop, tmp_path: Path) -> None:
    account, python = choose_account(), shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    command = ["env", "-i", "PATH=/usr/bin:/bin", f"SHOP_URL={here.dsn('collector_plain')}", python, "-S", "-"]
    text = collector("python", environment="SHOP_URL", vantage="shop-api in production")
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, user=account.user_id, group=account.group_id, cwd="/", check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "answer").write_bytes(done.stdout)
    import_files([tmp_path / "answer"], tmp_path / "bundle")
    (source,) = bundle.load(tmp_path / "bundle").sources
    assert source.vantage == "shop-api in production"
    seen = table("service_environment", [source])
    assert set(seen["variable_name"]) - {"LC_CTYPE"} == {"PATH", "SHOP_URL"}
    assert seen["fingerprint"].str.fullmatch("[0-9a-f]{4}").all()
    assert table("service_reachability", [source])["step"].tolist() == ["socket folder", "socket file", "socket connection"]
    assert table("service_sockets", [source])["path"].str.startswith("/").all()


@pytest.mark.parametrize(
    "url", ["postgresql://app:{}@127.0.0.1:9/shop", "host=127.0.0.1 port=9 user=app password={} dbname=shop"]
)
def test_of_a_password_nothing_is_told_that_a_guess_could_be_held_against(tmp_path: Path, url: str) -> None:
    seen = []
    for password in ("tr0ub4dor", "an-other-one-that-is-longer"):
        variables = {"DATABASE_URL": url.format(password), "PGPASSWORD": password, "API_TOKEN": password, "REGION": "eu"}
        run_python(collector("python"), tmp_path / password, variables)
        assert password not in (tmp_path / password).read_text()
        frame = table("service_environment", imported([tmp_path / password]).sources).set_index("variable_name")
        assert frame.loc[["PGPASSWORD", "API_TOKEN"], "fingerprint"].isna().all()
        assert frame.loc[["DATABASE_URL", "REGION"], "fingerprint"].notna().all()
        seen.append(frame.loc["DATABASE_URL", "fingerprint"])
    assert seen[0] == seen[1]


class Listener:
    """A port on loopback that answers in its own way."""

    def __init__(self, greeting: bytes, waits: bool) -> None:
        self.greeting, self.waits = greeting, waits
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    if self.waits:
                        connection.recv(64)
                    connection.sendall(self.greeting)


@pytest.fixture(scope="module")
def guarded(here: Shop) -> Shop:
    """The same server with a role that has a password, one without an entry, and one that is full."""
    running = here.server
    running.execute("create role app login password 'hunter2-of-app'; create role stranger login; create role full_up login")
    running.execute("alter role full_up connection limit 0")
    hba = running.data_folder / "pg_hba.conf"
    rules = "local all app scram-sha-256\nlocal all stranger reject\nhost all app 127.0.0.1/32 scram-sha-256\n"
    hba.write_text(rules + hba.read_text())
    running.execute("select pg_reload_conf()")
    return here


FAILING = {
    "wrong password": lambda there, _: there.server.dsn("shop", "app", "hunter2-wrong"),
    "no password": lambda there, _: there.server.dsn("shop", "app"),
    "no entry": lambda there, _: there.server.dsn("shop", "stranger"),
    "no role": lambda there, _: there.server.dsn("shop", "nobody_here"),
    "no database": lambda there, _: there.server.dsn("no_such_database", "postgres"),
    "no slot": lambda there, _: there.server.dsn("shop", "full_up"),
    "no folder": lambda *_: "postgresql://app:hunter2-x@/shop?host=/no/such/folder",
    "no file": lambda _, tmp_path: f"host={tmp_path} user=app password=hunter2-x dbname=shop",
    "no socket": lambda _, tmp_path: f"host={tmp_path}/file user=app password=hunter2-x dbname=shop",
    "dead socket": lambda _, tmp_path: f"host={tmp_path}/dead user=app password=hunter2-x dbname=shop",
    "long path": lambda *_: f"host=/{'x' * 120} user=app dbname=shop",
    "nobody listens": lambda *_: "postgresql://app:hunter2-x@127.0.0.1:1/shop",
    "no name": lambda *_: "postgresql://app:hunter2-x@db.invalid:5432/shop",
    "mysql": lambda *_: f"postgresql://app:hunter2-x@127.0.0.1:{MYSQL.port}/shop",
    "ssh": lambda *_: f"postgresql://app:hunter2-x@127.0.0.1:{SSH.port}/shop",
    "no tls": lambda *_: f"postgresql://app:hunter2-x@127.0.0.1:{WITHOUT_TLS.port}/shop?sslmode=require",
    "another server's words": lambda *_: f"postgresql://app:hunter2-x@127.0.0.1:{STUFFED.port}/shop",
}
MYSQL = Listener(b"\x4a\x00\x00\x00\x0a8.0.36\x00" + b"x" * 60, waits=False)
SSH = Listener(b"SSH-2.0-OpenSSH_9.6\r\n", waits=False)
WITHOUT_TLS = Listener(b"N", waits=True)
# What follows the one byte came before any encryption.
STUFFED = Listener(b"SR\x00\x00\x00\x08\x00\x00\x00\x00", waits=True)


@pytest.mark.parametrize("name", FAILING)
def test_a_failed_connection_is_judged_as_a_direct_one(guarded: Shop, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dead").mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "dead" / ".s.PGSQL.5432"))
    dsn = FAILING[name](guarded, tmp_path)
    done = run_python(collector("python"), tmp_path / "answer", {"DATABASE_URL": dsn})
    assert (done.returncode, done.stderr) == (1, b"")
    import_files([tmp_path / "answer"], tmp_path / "bundle")
    mine = judged(bundle.load(tmp_path / "bundle"), Question("refused"))
    expected = judged(collected(resolve(dsn)), Question("refused"))
    assert causes(mine) == causes(expected)
    assert len(causes(mine)) == 1
    assert (mine.verdict.status, mine.verdict.layer) == (expected.verdict.status, expected.verdict.layer)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "bundle").rglob("*") if path.is_file())
    assert b"hunter2" not in kept + (tmp_path / "answer").read_bytes() + mine.model_dump_json().encode()


def test_a_job_that_has_no_cloudsql_folder_says_so_of_the_service_alone(tmp_path: Path) -> None:
    """Asked inside the service it is a fault; on a machine that is none of its runtimes it says nothing of it."""
    dsn = "postgresql://app:hunter2-x@/shop?host=/cloudsql/shop-prod:europe-west1:shop-db"
    found = {}
    for vantage, extra in ((None, {}), (None, {"K_SERVICE": "shop-api"}), ("the service", {})):
        run_python(collector("python", vantage=vantage), tmp_path / "answer", {"DATABASE_URL": dsn, **extra})
        document = judged(imported([tmp_path / "answer"]), Question("cloudsql"))
        found[vantage, *extra] = [f.severity for r in document.results if r.check == "unreachable_servers" for f in r.findings]
    assert found == {(None,): [], (None, "K_SERVICE"): ["critical"], ("the service",): ["critical"]}


def causes(document: FindingsDocument) -> list[tuple[str, str, str, str | None]]:
    """What was found and its first sentence; the words of the attempt itself are libpq's there, and the job's here."""
    return sorted(
        (f.fingerprint, f.severity, re.split(r"(?<=\.) ", f.message)[0], f.remedy) for r in document.results for f in r.findings
    )


# --- files that are not what they seem --------------------------------------------------------------------------------


def hold_one_sentence(error: KitError) -> None:
    assert "\n" not in error.message


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_a_bundle_or_one_sentence(here: Shop, form: str, tmp_path: Path) -> None:
    content = asked(form, here.dsn("postgres"), tmp_path / "answer").read_bytes()
    for part in range(5):
        cut, out = tmp_path / f"cut-{part}", tmp_path / f"bundle-{part}"
        cut.write_bytes(content[: len(content) * part // 5])
        try:
            summary = import_files([cut], out)
        except KitError as error:
            hold_one_sentence(error)
            assert not out.exists()
            continue
        # What is missing is said, and what is there is whole.
        assert summary["gaps"]
        assert judged(bundle.load(out), Question("cut")).verdict.status in ("broken", "open")
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_was_tampered_with_is_a_sentence_or_text(here: Shop, tmp_path: Path) -> None:
    (answer,) = answers_of(here, "psql", tmp_path, "healthy")
    content = answer.read_text()
    for key, value in (
        ("database", 7),
        ("database", "<script>"),
        ("user", ["x"]),
        ("started", {"a": 1}),
        ("database", "x" * 500),
    ):
        (tmp_path / "file").write_text(re.sub(rf'"{key}":"[^"]*"', f'"{key}":{json.dumps(value)}', content, count=1))
        try:
            judged(imported([tmp_path / "file"]), Question("odd"))
        except ImportedFileError as error:
            hold_one_sentence(error)


def test_statements_that_answer_together_cost_their_time_once(here: Shop, tmp_path: Path) -> None:
    text = collector("paste")
    clock = time.perf_counter()
    (tmp_path / "answer").write_text("\n".join(pasted(text, here.dsn("postgres"), few(text))))
    waited_ms = (time.perf_counter() - clock) * 1000
    assert 0 < imported([tmp_path / "answer"]).cost.server_ms < waited_ms

"""The gate: no secret reaches a file of the report, and ordinary words do not hold a report back."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import markupsafe
import nbformat
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nbformat.v4 import new_code_cell
from playwright.sync_api import Browser, Page
from psycopg import sql

from kit.case import folders
from kit.errors import SecretFound
from kit.report.gate import refuse_secrets
from kit.report.runner import NOTEBOOKS, Report, run
from kit.report.running import order_of
from kit.sandbox import server as sandbox
from kit.sandbox import shop
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.browser import cut_off, look
from tests.conftest import Staged
from tests.run_support import BUNDLE, hashes, hidden, kit, order, working_copy

SECRET = "pä\"s's\\w<&>ö/rd+= 7"
ENCODED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": lambda s: quote(s, safe=""),
    "URL that keeps slashes": quote,
    "HTML": html.escape,
    "Jinja": lambda s: str(markupsafe.escape(s)),
    "JSON": json.dumps,
    "JSON in ASCII": lambda s: json.dumps(s, ensure_ascii=True),
    "HTML in JSON": lambda s: json.dumps(html.escape(s)),
    "JSON in HTML": lambda s: html.escape(json.dumps(s)),
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of a header": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 one further": lambda s: base64.b64encode(f"users:{s}!".encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(f"us:{s}!!".encode()).decode(),
}


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize("secret", [SECRET, "hunter2-and-more"])
def test_a_secret_is_found_however_it_is_written(tmp_path: Path, form: str, secret: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text(f"words {ENCODED[form](secret)} words")
    with pytest.raises(SecretFound) as found:
        refuse_secrets(tmp_path, [secret])
    assert str(Path("sub") / "page.html") in found.value.message
    assert secret not in str(found.value)


@pytest.mark.parametrize("value", [pa.array([SECRET]), pa.array([["a", SECRET]]), pa.array([None, f"x{SECRET}y"])])
def test_a_secret_is_found_inside_parquet(tmp_path: Path, value: pa.Array) -> None:
    table = pa.table({"n": pa.array(range(len(value))), "text": value})
    pq.write_table(table, tmp_path / "evidence.parquet", compression="zstd")
    with pytest.raises(SecretFound, match=r"evidence\.parquet would hold a known secret"):
        refuse_secrets(tmp_path, [SECRET])


SHAPES = {
    "a password in a connection string": "postgresql://kit:s3cr3t-w0rd@db.example/shop",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a signed token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.abcdefghijklmnop",
}


@pytest.mark.parametrize("kind", SHAPES)
def test_what_has_the_shape_of_a_secret_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.md").write_text(SHAPES[kind])
    with pytest.raises(SecretFound, match=re.escape(kind)):
        refuse_secrets(tmp_path, [])


ORDINARY = ["postgres", "Password", "123456", "shop", "x", ""]


@pytest.mark.parametrize("secret", ORDINARY)
def test_an_ordinary_word_as_a_password_holds_nothing_back(tmp_path: Path, secret: str) -> None:
    words = f"role {secret} of database {secret}; grant usage to {secret}; 123456 rows; {secret}@{secret}"
    (tmp_path / "page.html").write_text(words)
    assert refuse_secrets(tmp_path, [secret]) == 1


@pytest.mark.parametrize(
    "text", ["password=postgres", "x://u:postgres@h", "PASSWORD: 1 password 'postgres'", '{"password": "postgres"}']
)
def test_an_ordinary_word_is_found_where_a_password_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.html").write_text(text)
    with pytest.raises(SecretFound):
        refuse_secrets(tmp_path, ["postgres"])


def test_a_password_that_is_the_user_s_name_holds_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("role shop_api_7 may not use schema auth")
    assert refuse_secrets(tmp_path, ["shop_api_7"], names=["shop_api_7"]) == 1
    with pytest.raises(SecretFound):
        refuse_secrets(tmp_path, ["shop_api_7"])


# Through a whole run


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password."""
    hba = ("local all postgres trust", "local all all scram-sha-256")
    with sandbox.running(hba=hba) as running:
        yield running


@pytest.fixture
def login(guarded: Server) -> Iterator[tuple[str, str]]:
    """A login role and its password."""
    user, password = "asker", 'Pa"ss/wörd+0815'
    with guarded.connect() as connection:
        name = sql.Identifier(user)
        connection.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(password)))
        yield user, password
        connection.execute(sql.SQL("drop role {}").format(name))


def password_sources(folder: Path, guarded: Server, user: str, password: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return, by the way in which libpq gets the password, the target and the environment."""
    plain = f"host={guarded.socket_folder} port={guarded.port} user={user} dbname=postgres"
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    (folder / "pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (folder / "pgpass").chmod(0o600)
    lines = [*plain.split(), f"password={password}"]
    (folder / "services").write_text("\n".join(["[guarded]", *lines, ""]))
    return {
        "URL": (guarded.dsn("postgres", user, password), {}),
        "PGPASSWORD": (plain, {"PGPASSWORD": password}),
        "PGPASSFILE": (plain, {"PGPASSFILE": str(folder / "pgpass")}),
        "PGSERVICEFILE": ("service=guarded", {"PGSERVICEFILE": str(folder / "services")}),
    }


@pytest.mark.parametrize("way", ["URL", "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE"])
def test_a_cell_that_prints_the_password_publishes_nothing(
    tmp_path: Path, guarded: Server, login: tuple[str, str], way: str
) -> None:
    user, password = login
    reports = tmp_path / "reports"
    working_copy(reports / "case", "triage", "print('harmless')")
    run(order(reports))
    working_copy(reports / "case", "triage", f"print({password[:5]!r} + {password[5:]!r})")
    before = hashes(reports / "case")
    target, environment = password_sources(tmp_path, guarded, user, password)[way]
    words = ["run", "case", "--target", target, "--reports", reports, "--only", "triage"]
    ended = kit(*words, cwd=tmp_path, **environment)
    assert ended.returncode == 2, ended.stderr
    assert "triage.html would hold a known secret; nothing was published." in ended.stderr or "triage.ipynb" in ended.stderr
    assert password not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    assert hashes(reports / "case") == before
    assert hidden(reports) == []


def test_a_replay_that_is_refused_leaves_the_capture_s_own_files_alone(tmp_path: Path) -> None:
    """The captures are carried over as links: writing through one would change the standing report."""
    working_copy(tmp_path / "case", "triage", "print(1)")
    run(order(tmp_path))
    before = hashes(tmp_path / "case")
    asked = order(tmp_path, secrets=("triage-secret-1",))
    working_copy(tmp_path / "case", "triage", "print('triage-' + 'secret-1')")
    changed = hashes(tmp_path / "case")
    with pytest.raises(SecretFound):
        run(replace(asked, question=replace(asked.question, symptom="42P01")))
    assert hashes(tmp_path / "case") == changed
    assert {path for path in before if before[path] != changed[path]} == {str(Path("work") / "triage.ipynb")}


def forms(secret: str) -> set[bytes]:
    return {write(secret).strip('"').encode() for write in ENCODED.values() if write is not json.dumps}


def test_no_planted_secret_stands_in_any_file_of_the_demo(staged: Staged, tmp_path: Path) -> None:
    target = Target("shop", (DatabaseSource("database", staged.shop.kit_dsn),), cloud=staged.exports)
    report = run(replace(order(tmp_path, "demo", secrets=tuple(staged.shop.secrets)), target=target))
    contents = {path: content(path) for path in report.folder.rglob("*") if path.is_file()}
    assert any(path.suffix == ".parquet" for path in contents)
    for secret in staged.shop.secrets:
        for form in forms(secret):
            assert [str(path) for path, text in contents.items() if form in text] == []


def content(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    return path.read_bytes() + pq.read_table(path).to_pandas().to_csv().encode()


def test_a_password_that_is_an_ordinary_word_does_not_block_a_report(server: Server, database: str, tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage")
    target = resolve(server.dsn(database, "postgres", "postgres"))
    report = run(replace(order(tmp_path), target=target))
    assert (report.folder / "index.html").is_file()


def test_a_name_that_anybody_gives_and_a_symptom_do_not_hold_a_report_back(server: Server, database: str, tmp_path: Path) -> None:
    password, shaped = "Pferd+Batterie 7", "postgresql://a:abcd@h"
    working_copy(tmp_path / "case", "triage", "investigation.evidence('sessions')")
    symptom = f"cannot open {shaped} with {password}"
    words = ("case", server.dsn(database, "postgres", password), symptom, None, None, (), (), ("triage",), None, tmp_path)
    with server.connect(database) as one, server.connect(database) as other:
        one.execute("select set_config('application_name', %s, false)", (shaped,))
        other.execute("select set_config('application_name', %s, false)", (password,))
        report = run(order_of(*words, lambda _: None))
    assert report.document.symptom == "cannot open postgresql://a:***@h with <masked>"
    texts = [content(path) for path in report.folder.rglob("*") if path.is_file()]
    assert any(b"postgresql://a:***@h" in text for text in texts)
    assert not any(b":abcd@" in text or password.encode() in text for text in texts)


# Hostile text

IMAGE, SCRIPT = '"><img src=x onerror=alert(1)>', "</script><script>alert(1)</script>"
HOSTILE = (IMAGE, SCRIPT, "{{7*7}}", "line\nbreak", "a\u202egnp.exe")


@dataclass
class Seen:
    """What a browser met on the pages."""

    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


def stage_hostile(server: Server, database: str) -> list[psycopg.Connection[tuple[object, ...]]]:
    """Put hostile names wherever PostgreSQL takes one; return a blocking and a blocked session."""
    with server.connect(database) as connection:
        connection.execute("create extension if not exists pg_stat_statements")
        for number, text in enumerate(HOSTILE):
            name = sql.Identifier(text)
            for statement in (
                "create role {n} login",
                "create schema {n}",
                "create table {n}.{n} ({n} text)",
                "insert into {n}.{n} select 'x' from generate_series(1, 2000)",
                "grant select on {n}.{n} to {n}",
                "create view {n}.{v} as select {n} from {n}.{n}",
                "alter role {n} set search_path = {n}",
                "comment on table {n}.{n} is {t}",
            ):
                connection.execute(sql.SQL(statement).format(n=name, v=sql.Identifier(f"v{number}"), t=sql.Literal(text)))
            connection.execute(sql.SQL("select {n} from {n}.{n} limit 1").format(n=name))
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute(sql.SQL("select 1 from {n}").format(n=name))
        connection.execute("analyze")
    name = sql.Identifier(IMAGE)
    held = [server.connect(database, autocommit=False) for _ in range(2)]
    for connection, text in zip(held, (IMAGE, SCRIPT), strict=True):
        connection.execute("select set_config('application_name', %s, false)", (text,))
        connection.commit()
    held[0].execute(sql.SQL("lock table {n}.{n}").format(n=name))
    held[1].pgconn.send_query(sql.SQL("select * from {n}.{n}").format(n=name).as_string(held[1]).encode())
    return held


def hostile_exports(folder: Path) -> Path:
    now = datetime.now(UTC)
    shop.write_cloud_exports(folder, now, shop.make_secrets())
    for path in folder.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        spoilt = text.replace("shop-api", json.dumps(f"shop-api {IMAGE} {SCRIPT}")[1:-1])
        json.loads(spoilt)
        path.write_text(spoilt, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def hostile(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """A whole report, all notebooks, of a database and a cloud project where every name is hostile."""
    database = f'{IMAGE} "{SCRIPT}" {{{{7*7}}}}'
    folder = tmp_path_factory.mktemp("hostile")
    server.create_database(database)
    held = stage_hostile(server, database)
    target = Target(
        f"target {IMAGE}", (DatabaseSource("database", server.dsn(database)),), cloud=hostile_exports(folder / "cloud")
    )
    asked = order(folder / "reports", "hostile", only=())
    question = replace(asked.question, symptom=f'relation "{IMAGE}{SCRIPT}" does not exist')
    copy = folder / "reports" / "hostile" / folders.WORKING_COPIES / "triage.ipynb"
    copy.parent.mkdir(parents=True)
    notebook = nbformat.read(folders.notebooks_folder() / "triage.ipynb", as_version=4)
    notebook.cells.append(new_code_cell("investigation.evidence('relations')"))
    notebook.cells.append(new_code_cell("investigation.table('roles')"))
    nbformat.write(notebook, copy)
    try:
        yield run(replace(asked, target=target, question=question))
    finally:
        held[1].cancel_safe()
        for connection in held:
            connection.close()
        server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)).as_string())
        for text in HOSTILE:
            server.execute(sql.SQL("drop role {}").format(sql.Identifier(text)).as_string())


@pytest.fixture(scope="module")
def seen(hostile: Report, browser: Browser) -> Seen:
    """What Chromium makes of every page."""
    found = Seen()
    context = cut_off(browser.new_context())
    for name in ("index", "report", *NOTEBOOKS):
        opened = look(context, hostile.folder / f"{name}.html")
        opened.page.wait_for_load_state("load")
        found.dialogs += opened.dialogs
        found.errors += opened.messages
        found.requests += opened.requests
        found.elements += injected(opened.page)
        found.texts[name] = opened.page.content()
    context.close()
    return found


def injected(page: Page) -> list[str]:
    """Return the elements that only hostile text could have made."""
    script = """() => [...document.querySelectorAll('*')].filter(e =>
        [...e.attributes].some(a => a.name.startsWith('on')) || (e.tagName === 'IMG' && e.getAttribute('src') === 'x')
        || (e.tagName === 'SCRIPT' && e.textContent.trim().startsWith('alert('))).map(e => e.outerHTML.slice(0, 200))"""
    found: list[str] = page.evaluate(script)
    return found


def test_every_notebook_ran_over_hostile_names(hostile: Report) -> None:
    assert {entry.name: entry.status for entry in hostile.document.notebooks} == dict.fromkeys(NOTEBOOKS, "ok")


def test_hostile_names_are_inert_in_a_browser(seen: Seen) -> None:
    assert seen.dialogs == []
    assert seen.elements == []
    assert seen.errors == []
    assert seen.requests == []
    assert all("onerror" in text for name, text in seen.texts.items() if name in ("triage", "permissions")), (
        "they are shown as text"
    )
    assert "{{7*7}}" in seen.texts["permissions"]


def test_directions_are_not_turned_by_a_name(hostile: Report) -> None:
    pages = [path.read_text() for path in hostile.folder.glob("*.html")]
    assert not any("\u202e" in page for page in pages)


def test_the_terminal_is_not_controlled_by_a_name(hostile: Report, tmp_path: Path) -> None:
    shutil.copytree(folders.captures(hostile.folder)[-1], tmp_path / "bundle")
    for words in (["show", tmp_path / "bundle", "relations"], ["show", tmp_path / "bundle", "roles"]):
        shown = kit(*words, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert [c for c in shown.stdout if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"] == []
        assert "onerror" in shown.stdout


def test_a_bundle_s_frames_hold_the_names_as_they_are(hostile: Report) -> None:
    frame = pd.DataFrame(pq.read_table(folders.captures(hostile.folder)[-1] / "database" / "roles.parquet").to_pandas())
    assert set(HOSTILE) <= set(frame.astype(str).to_numpy().ravel())
    assert BUNDLE.is_dir()

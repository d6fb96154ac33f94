"""What is captured loses its secrets before it becomes evidence: literals, option values, passwords in messages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from kit.case.capturing import capture_to
from kit.case.collecting import collected
from kit.collect.masking import MASKED, mask_expression, masker, message, normalise_statement, option_value, setting_value
from kit.collect.secrecy import Secrecy
from kit.evidence import bundle
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Capture
from kit.evidence.records import records
from kit.evidence.secrets import written
from kit.report.gate import refuse_secrets
from kit.sandbox import shop as staging
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.conftest import Staged

SECRET = "Geheimnis"
# Letters that stand in no template, so that any of them in the answer is a part of the literal.
LITERALS = st.text(alphabet="ÄÖÜ😀ЖЩЮ \t\n'\"\\$-/*;:,()?é", max_size=20)
TEMPLATES = (
    "select * from t where a = {}",
    "select {}::text, b from t -- note\nwhere c = 1",
    "insert into t values (1, {}), (2, {})",
    "update t set a = {} where b in ({}, 'plain') returning *",
    "with w as (select {}) delete from t using w where t.a = {}",
    "select dblink({}, {})",
    "values ({})",
    "select /* why */ 'é' || {} || 'ß' from \"tä\"",
    "explain select {}",
    "alter role app password {}",
    "create role app login password {} valid until {}",
    "create user mapping for app server s options (password {})",
    "set app.jwt_secret = {}",
    "copy t from program {}",
    "do {}",
    "comment on table t is {}",
    "select 1; alter role app password {}",
    "selekt {}",
    "select {} from (",
)


@pytest.fixture(scope="module")
def capture(staged: Staged) -> Capture:
    return collected(resolve(staged.server.dsn("shop"), staged.exports))


@pytest.fixture(scope="module")
def saved(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "bundle"
    bundle.save(capture, folder)
    return folder


def test_the_planted_secrets_stand_where_the_kit_reads(staged: Staged) -> None:
    secrets = staged.shop.secrets
    everything = _readable(staged.server, staging.DATABASE) + "".join(p.read_text() for p in staged.exports.iterdir())

    hidden = {name for name, secret in secrets._asdict().items() if secret not in everything}

    assert hidden == set()


def test_no_planted_secret_stands_in_any_file_of_a_bundle(staged: Staged, saved: Path) -> None:
    contents = {path: _content(path) for path in saved.rglob("*") if path.is_file()}

    assert len([path for path in contents if path.suffix == ".parquet"]) > 30
    assert any(b"session_token = $1" in content for content in contents.values())
    for name, secret in staged.shop.secrets._asdict().items():
        assert [path.name for path, content in contents.items() if secret.encode() in content] == [], name


def test_no_planted_secret_stands_in_the_words_of_a_capture(staged: Staged, capture: Capture) -> None:
    words = repr([(source.identity, source.gaps, source.name) for source in capture.sources])

    assert not [name for name, secret in staged.shop.secrets._asdict().items() if secret in words]


def test_the_statement_that_holds_a_token_is_kept_without_it(capture: Capture) -> None:
    sessions = capture.sources[0].evidence["sessions"].frame.set_index("application_name")

    assert sessions["statement"]["shop-admin"] == "update shop.orders set note = ? || ? where order_id = ?"


def test_utility_statements_are_kept_as_their_verbs(capture: Capture) -> None:
    statements = set(capture.sources[0].evidence["statements"].frame["statement"].dropna())

    assert "ALTER ROLE …" in statements
    assert {text for text in statements if "password" in text.lower()} == set()


def test_role_settings_are_masked_but_for_those_that_are_open(capture: Capture) -> None:
    frame = capture.sources[0].evidence["role_settings"].frame
    values = dict(zip(frame["setting_name"], frame["setting_value"], strict=True))

    assert values["search_path"] == "auth, shop"
    assert values["app.jwt_secret"] == MASKED


def test_masks_are_put_on_by_the_declared_columns(capture: Capture) -> None:
    masked = {(name, c.name, c.mask) for s in capture.sources for name, e in s.evidence.items() for c in e.columns if c.mask}

    assert masked >= {
        ("sessions", "statement", "statement"),
        ("statements", "statement", "statement"),
        ("role_settings", "setting_value", "option"),
        ("settings", "setting", "option"),
        ("services", "ready_message", "message"),
    }


def test_the_kits_own_sessions_and_queries_are_left_out(capture: Capture) -> None:
    source = capture.sources[0]

    assert "incident-kit" not in set(source.evidence["sessions"].frame["application_name"])
    assert not source.evidence["statements"].frame["statement"].str.contains("set_config|pg_settings", na=False).any()


@pytest.mark.parametrize("template", TEMPLATES)
@given(literal=LITERALS)
@example(literal="Ж\\")
@example(literal="Ж' or 'Щ'='Щ")
@example(literal="-- Ж")
@example(literal="😀Ж")
def test_no_literal_survives_in_any_form(template: str, literal: str) -> None:
    for form in _forms(literal):
        normalised = normalise_statement(template.replace("{}", form))
        assert not set("ÄÖÜ😀ЖЩЮ") & set(normalised), (form, normalised)


@given(st.text(max_size=60))
def test_any_text_at_all_is_answered_in_one_line_of_text(text: str) -> None:
    normalised = normalise_statement(text)

    assert isinstance(normalised, str)
    assert normalised


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("select * from t where a = 'x' and b = 3 -- note", "select * from t where a = ? and b = ?"),
        ("select E'a\\'b', U&'\\0061', $q$c$q$, x'1F', b'01', N'd', 1.5e3, 0x1F", "select ?, ?, ?, ?, ?, N?, ?, ?"),
        ("select 'a'\n  'b' from t", "select ? from t"),
        ("select $1, $2::int", "select $1, $2::int"),
        ('select "Ümlaut" from "tä" where x = \'ß\'', 'select "Ümlaut" from "tä" where x = ?'),
        ("/* why */ select 1;", "select ?;"),
        ("table t", "table t"),
        ("(select 1) union select 2", "(select ?) union select ?"),
    ],
)
def test_a_query_is_kept_without_its_literals_and_comments(statement: str, kept: str) -> None:
    assert normalise_statement(statement) == kept


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        (f"alter role app password '{SECRET}'", "ALTER ROLE …"),
        (f"ALTER USER app WITH ENCRYPTED PASSWORD '{SECRET}'", "ALTER USER …"),
        (f"create subscription s connection 'password={SECRET}' publication p", "CREATE SUBSCRIPTION …"),
        (f"set app.token to {SECRET}", "SET …"),
        (f"select 1; set app.token to {SECRET}", "SELECT …"),
        (f"notify ch, '{SECRET}'", "NOTIFY …"),
        (f"explain analyze select '{SECRET}'", "EXPLAIN ANALYZE …"),
        (f"do $${SECRET}$$", "DO …"),
        (f"prepare p as select '{SECRET}'", "PREPARE …"),
    ],
)
def test_a_utility_statement_is_cut_to_its_verb(statement: str, kept: str) -> None:
    assert normalise_statement(statement) == kept


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        (f"select '{SECRET}", "SELECT …"),
        (f"alter role app password '{SECRET}", "ALTER …"),
        (f"select $tag$ {SECRET}", "SELECT …"),
        (f"{SECRET} 'x'", "<statement not readable>"),
        (f"{SECRET}", "<statement not readable>"),
        (f"'{SECRET}'", "<statement not readable>"),
        (f"-- {SECRET}", "<statement not readable>"),
        (f"/* {SECRET}", "<statement not readable>"),
        ("", "<statement not readable>"),
        (";", "<statement not readable>"),
        (f"\N{PILE OF POO} {SECRET}", "<statement not readable>"),
        (f"select {'(' * 100_000}'{SECRET}'", "SELECT …"),
        # Written for standard_conforming_strings = off, where the first literal ends at the third quote.
        (f"select 'a\\' {SECRET} --', 'b\\'c'", "SELECT …"),
    ],
)
def test_what_cannot_be_parsed_is_cut_to_its_verb_or_to_nothing(statement: str, kept: str) -> None:
    assert normalise_statement(statement) == kept


@pytest.mark.parametrize(
    ("name", "value", "category", "shown"),
    [
        ("search_path", "auth, shop", "Client Connection Defaults / Statement Behavior", "auth, shop"),
        ("max_connections", "100", "Connections and Authentication / Connection Settings", "100"),
        ("primary_conninfo", f"password={SECRET}", "Replication / Standby Servers", MASKED),
        ("archive_command", f"curl -u {SECRET}", "Write-Ahead Log / Archiving", MASKED),
        ("restore_command", f"curl -u {SECRET}", "Write-Ahead Log / Archive Recovery", MASKED),
        ("ssl_passphrase_command", SECRET, "Connections and Authentication / SSL", MASKED),
        ("app.jwt_secret", SECRET, "Customized Options", MASKED),
        ("app.harmless", SECRET, "Customized Options", MASKED),
        ("pgaudit.role", SECRET, "Something New", MASKED),
        ("primary_conninfo", "", "Replication / Standby Servers", ""),
    ],
)
def test_a_servers_setting_is_masked_where_it_may_hold_a_secret(name: str, value: str, category: str, shown: str) -> None:
    assert setting_value(name, value, category) == shown
    assert masker("option", {"setting_name": name, "category": category})(value) == shown


@pytest.mark.parametrize("name", ["app.jwt_secret", "password", "sslpassword", "user", "options", "krbsrvname", "anything"])
def test_an_option_is_masked_unless_it_is_known_to_be_open(name: str) -> None:
    assert option_value(name, SECRET) == MASKED
    assert option_value(name.upper(), SECRET) == MASKED
    assert option_value("Search_Path", "auth") == "auth"


def test_a_server_with_secrets_in_its_settings_shows_none_of_them(server: Server, database: str) -> None:
    server.execute(f"alter database {database} set app.token = '{SECRET}'")
    server.execute(f"alter database {database} set application_name = 'shop'")

    source = collected(resolve(server.dsn(database))).sources[0]

    settings = source.evidence["settings"].frame.set_index("setting_name")["setting"]
    roles = source.evidence["role_settings"].frame.set_index("setting_name")["setting_value"]
    assert settings["application_name"] == "shop"
    assert set(roles[["app.token"]]) == {MASKED}
    assert not [name for name, evidence in source.evidence.items() if SECRET in evidence.frame.to_csv()]


@pytest.mark.parametrize(
    "text",
    [
        f"could not connect to postgresql://app:{SECRET}@db/shop",
        f"connection failed: password={SECRET} host=db",
        f"password = '{SECRET} more {SECRET}' host=db",
        f"PASSWORD: {SECRET}",
        f"invalid\nvalue {SECRET}",
    ],
)
def test_a_message_loses_its_passwords(text: str) -> None:
    shown = message(text, {SECRET})

    assert SECRET not in shown
    assert MASKED in shown
    assert "\n" not in shown


def test_a_message_without_a_known_secret_loses_what_looks_like_one() -> None:
    assert message("no route to postgresql://app:a%40b@db") == f"no route to postgresql://app:{MASKED}@db"
    assert message('password authentication failed for user "app"') == 'password authentication failed for user "app"'
    assert len(message("x" * 10_000)) == 500


PLANTED = "Pferd+Batterie 7"
PASSWORD_URL = "postgresql://a:abcd@h"
PIECES = (*"a:@/ \n\t\"'<>&é\xa0\\*=", "postgresql://", "redis+x://", "eyJ" + "a" * 10, ".")
PIECES += ("-----BEGIN ", "RSA ", "PRIVATE KEY-----", "password", PLANTED, "postgres")
SHAPED = (
    (PASSWORD_URL, "postgresql://a:***@h"),
    ("redis://:abcd@h and mysql+x://b:c/d@h", "redis://:***@h and mysql+x://b:***@h"),
    ("https://token:abcd@h/x?mail=a@b", "https://token:***@h/x?mail=a@b"),
    ("postgresql://a:<masked>@h", "postgresql://a:***@h"),
    ("host=h password=abcd user=a", "host=h password=<masked> user=a"),
    ("PGPASSWORD='ab cd' psql", "PGPASSWORD=<masked> psql"),
    ('{"password": "ab\\"cd"}', '{"password": <masked>}'),
    ("alter role a password 'ab cd' x", "alter role a password <masked> x"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabcd\n-----END RSA PRIVATE KEY-----\nmore", "<masked>\nmore"),
    ("-----BEGIN PRIVATE KEY----- abcd", "<masked>"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.abcdefghijklmnop", "token <masked>"),
)
HARMLESS = (
    "",
    "password_encryption",
    'password authentication failed for user "app"',
    "https://db.example:8080/shop?mail=a@b",
    "postgresql://app@db:5432/shop",
    "mail app: x@y",
    "session-api\r",
)


@pytest.mark.parametrize(("text", "shown"), SHAPED)
def test_what_has_the_shape_of_a_secret_is_masked(text: str, shown: str) -> None:
    assert Secrecy().text(text) == shown
    assert Secrecy().text(shown) == shown
    frame = build_frame(COLUMNS, [(text, [None, text], "plain"), (None, None, "plain")])
    masked = Secrecy().frame(frame, COLUMNS)
    assert records(masked)[0] == {"text": shown, "texts": [None, shown], "other": "plain"}
    assert (masked.dtypes == frame.dtypes).all()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_a_little_like_a_secret_stays(text: str) -> None:
    assert Secrecy(["postgres", PLANTED]).text(text) == text


def test_a_column_of_that_name_in_a_statement_stays() -> None:
    column = Column("statement", "string", mask="statement")
    frame = build_frame([column], [("select 1 from u where password = $1",), (f"select '{PASSWORD_URL}'",)])

    shown = list(Secrecy().frame(frame, [column])["statement"])
    assert shown == ["select 1 from u where password = $1", "select 'postgresql://a:***@h'"]


def test_a_known_secret_is_masked_in_every_writing_and_an_ordinary_word_only_where_a_password_stands() -> None:
    secrecy = Secrecy([PLANTED, "postgres", "shop_api_7"], ["shop_api_7"])

    for writing in written(PLANTED):
        assert secrecy.text(f"a {writing} b") == f"a {MASKED} b"
    assert secrecy.text("postgres owns shop_api_7; postgres@shop_api_7") == "postgres owns shop_api_7; postgres@shop_api_7"
    assert "postgres" not in secrecy.text("where password=postgres", pairs=False)
    assert Secrecy(["shop_api_7"]).text("role shop_api_7") == f"role {MASKED}"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
@example(["postgresql://", "a", ":", "\n", "@"])
@example(["postgresql://", "<", ":", '"', "@"])
@example(["postgresql://", "a", ":", "\xa0", "@"])
def test_nothing_that_was_masked_is_refused_by_the_gate(parts: list[str]) -> None:
    masked = Secrecy([PLANTED, "postgres"]).text("".join(parts))

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text("\n".join(written(masked)), encoding="utf-8")
        assert refuse_secrets(Path(folder), [PLANTED, "postgres"]) == 1


def test_a_secret_in_any_name_that_the_server_tells_stands_in_no_file_of_a_bundle(
    server: Server, database: str, tmp_path: Path
) -> None:
    own = server.dsn(database, "postgres", PLANTED)
    server.execute(f'create schema "{PASSWORD_URL}"; create table "{PLANTED}" (a int)', database)
    server.execute(f'set search_path = "{PASSWORD_URL}"; {_GOOSE}', database)
    server.execute(f"alter database {database} set search_path = '{PASSWORD_URL}', public")
    with server.connect(database) as one, server.connect(database) as other:
        one.execute("select set_config('application_name', %s, false)", (PASSWORD_URL,))
        other.execute("select set_config('application_name', %s, false)", (f"job {PLANTED}",))
        answer = capture_to(own, tmp_path / "bundle")

    taken = bundle.load(tmp_path / "bundle").sources[0]
    assert {"postgresql://a:***@h", f"job {MASKED}"} <= set(taken.evidence["sessions"].frame["application_name"])
    assert taken.identity is not None
    assert "postgresql://a:***@h" in taken.identity.visible_schemas
    assert "migrations" in taken.evidence
    for path in (path for path in (tmp_path / "bundle").rglob("*") if path.is_file()):
        assert b":abcd@" not in _content(path), path
        assert PLANTED.encode() not in _content(path), path
    assert refuse_secrets(tmp_path / "bundle", [PLANTED]) > 20
    assert PLANTED not in repr(answer)


def test_one_identity_s_password_does_not_stand_in_the_evidence_of_another(server: Server, database: str) -> None:
    sources = (
        DatabaseSource("first", server.dsn(database)),
        DatabaseSource("second", server.dsn(database, "postgres", PLANTED)),
    )
    with server.connect(database) as one:
        one.execute("select set_config('application_name', %s, false)", (PLANTED,))
        taken = collected(Target("both", sources))

    assert [MASKED in set(source.evidence["sessions"].frame["application_name"]) for source in taken.sources] == [True, True]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LITERALS, LITERALS)
@example("it's -- a /* note */", "a\\")
@example("\\'", "$q$ E'x")
def test_an_expression_of_a_policy_loses_its_strings_and_nothing_else(
    server: Server, database: str, literal: str, other: str
) -> None:
    policy = "create policy p on t using (a = {} and b > -1 and b <= 2.5 and not c and (a = any (array[{}, 'x'])))"
    with server.connect(database, autocommit=False) as connection:
        connection.execute("create table if not exists t (a text, b numeric, c boolean)")
        connection.execute(sql.SQL(policy).format(sql.Literal(literal), sql.Literal(other)))
        printed = [_printed(connection, conforming) for conforming in ("on", "off")]
        connection.rollback()

    kept = "(b > ('-1'::integer)::numeric) AND (b <= 2.5) AND (NOT c)"
    told = f"((a = '…'::text) AND {kept} AND (a = ANY (ARRAY['…'::text, '…'::text])))"
    assert [mask_expression(text) for text in printed] == [told, told]


def _printed(connection: psycopg.Connection[tuple[str]], conforming: str) -> str:
    connection.execute(f"set local standard_conforming_strings = {conforming}")
    row = connection.execute("select pg_get_expr(polqual, polrelid) from pg_policy").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(tenant = (current_setting('app.tenant'::text))::uuid)", "(tenant = (current_setting('…'::text))::uuid)"),
        ('(auth.uid() = "userId")', '(auth.uid() = "userId")'),
        ("(n = '-9223372036854775808'::bigint)", "(n = '-9223372036854775808'::bigint)"),
        ("(code = '12345'::text)", "(code = '…'::text)"),
        ("(code = '12345')", "(code = '…')"),
        ("(bits = B'101'::\"bit\")", "(bits = '…'::\"bit\")"),
        ("(at > '2024-01-01 00:00:00'::timestamp without time zone)", "(at > '…'::timestamp without time zone)"),
        ("(a IS NULL) OR true", "(a IS NULL) OR true"),
    ],
)
def test_numbers_names_and_casts_of_an_expression_stay(expression: str, expected: str) -> None:
    assert mask_expression(expression) == expected


@pytest.mark.parametrize("text", ["a = 'not closed", "a = E'x\\'", "true -- Geheimnis", "true /* Geheimnis */", 'a = "open'])
def test_an_expression_that_does_not_scan_is_not_kept(text: str) -> None:
    assert mask_expression(text) == "<expression not readable>"


COLUMNS = (Column("text", "string"), Column("texts", "list[string]"), Column("other", "string"))
_GOOSE = """create table goose_db_version
  (id serial primary key, version_id bigint not null, is_applied boolean not null, tstamp timestamp default now())"""


def _forms(literal: str) -> Iterator[str]:
    doubled = literal.replace("'", "''")
    yield f"'{doubled}'"
    yield "E'" + doubled.replace("\\", "\\\\") + "'"
    yield f"U&'{doubled.replace(chr(92), chr(92) * 2)}'"
    if "$q" not in literal and not literal.endswith("$"):
        yield f"$q${literal}$q$"


def _readable(server: Server, database: str) -> str:
    queries = (
        "select query from extensions.pg_stat_statements",
        "select query from pg_stat_activity",
        "select setconfig::text from pg_db_role_setting",
        "select umoptions::text from pg_user_mappings",
    )
    return "".join(str(value) for query in queries for (value,) in server.execute(query, database))


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".parquet":
        return content
    table = pq.read_table(path)
    return content + "\n".join(str(column.to_pylist()) for column in table.columns).encode()

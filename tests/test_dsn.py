"""The examiner of connection strings: a table of strings, and properties that hold for any text at all."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from kit.analyze.dsn import Examination, examine
from kit.analyze.dsn.vocabulary import CONSUMERS, LIBPQ
from kit.analyze.findings import LADDER
from kit.errors import ParameterError
from kit.evidence.secrets import SHAPES

TABLE = Path(__file__).parent / "data" / "dsn_strings.txt"
SIGNS = {"critical": "!", "warning": "?", "info": "."}
LIBPQ_READERS = {"libpq", "psql", "psycopg", "psycopg2"}
ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|[rnt])")


@dataclass(frozen=True)
class Row:
    given: str
    expected: tuple[str, ...]
    text: str

    @property
    def options(self) -> dict:
        flags = {"stdin": "from_stdin", "file": "from_file", "container": "in_container"}
        found: dict = {}
        for word in self.given.split(","):
            if word in flags:
                found[flags[word]] = True
            elif word.startswith("instance="):
                found["instance"] = word.partition("=")[2]
            elif word != "-":
                found["consumer"] = word
        return found


def _rows() -> list[Row]:
    lines = [line for line in TABLE.read_text("utf-8").split("\n") if line and not line.startswith("#")]
    pieces = [line.split(" | ", 2) for line in lines]
    unescaped = [ESCAPE.sub(lambda match: match[0].encode().decode("unicode_escape"), text) for _, _, text in pieces]
    rows = zip(pieces, unescaped, strict=True)
    return [Row(given, () if found == "-" else tuple(found.split()), text) for (given, found, _), text in rows]


ROWS = _rows()


def _everything(found: Examination) -> str:
    return "\n".join([json.dumps(found.record(), ensure_ascii=False), repr(found), str(found)])


def _assert_parses(found: Examination) -> None:
    if found.reader in LIBPQ_READERS:
        assert conninfo_to_dict(found.corrected)
    if found.reader == "sqlalchemy":
        assert make_url(found.corrected).database


def _again(found: Examination, options: dict) -> Examination:
    kept = {key: value for key, value in options.items() if key in ("instance", "in_container")}
    return examine(found.corrected, consumer=found.reader, **kept)


def test_the_table_is_long_enough():
    assert len({(row.given, row.text) for row in ROWS}) >= 180


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.given}-{ascii(row.text)[:60]}")
def test_each_string_gives_its_findings(row: Row):
    found = examine(row.text, **row.options)
    assert sorted(SIGNS[f.severity] + f.check for f in found.findings) == sorted(row.expected)
    assert not re.search(r"S3c|cretTok|Tok9", _everything(found))
    assert all(f.layer in LADDER and f.message and f.remedy for f in found.findings)
    assert not _again(found, row.options).is_critical
    _assert_parses(found)


def test_incident_d_the_carriage_return_is_shown_where_it_is():
    text = "postgresql+asyncpg://app:S3cretTok9@/sessions?host=/cloudsql/acme:us-central1:sessions-db\r"
    found = examine(text, instance="acme:us-central1:sessions-db")
    assert found.masked == "postgresql+asyncpg://app:***@/sessions?host=/cloudsql/acme:us-central1:sessions-db[CR]"
    [critical] = [f for f in found.findings if f.severity == "critical"]
    assert critical.check == "invisible_characters"
    assert "at the end of the host" in critical.message
    assert "U+000D" in critical.message
    assert found.corrected == text.replace("S3cretTok9", "***").rstrip("\r")
    assert found.fingerprint != examine(text.rstrip("\r")).fingerprint


def test_incident_d_piped_from_powershell_one_crlf_is_transport():
    text = "postgresql://app:S3cretTok9@/sessions?host=/cloudsql/acme:us-central1:sessions-db"
    piped = examine(text + "\r\n", from_stdin=True)
    assert [f.check for f in piped.findings] == ["final_line_ends"]
    assert "PowerShell" in piped.findings[0].message
    assert piped.fingerprint == examine(text).fingerprint
    assert examine(text + "\r\r\n", from_stdin=True).is_critical


def test_incident_e_the_zone_in_place_of_the_region():
    text = "postgresql://app:S3cretTok9@/settlement?host=/cloudsql/acme:us-central1-a:settlement-db"
    found = examine(text)
    assert [f.check for f in found.findings] == ["zones_for_regions"]
    assert "us-central1-a is a zone" in found.findings[0].message
    assert found.corrected.endswith("?host=/cloudsql/acme:us-central1:settlement-db")


@pytest.mark.parametrize("text", ["sqlite:///./settlement.db", "sqlite+aiosqlite:///settlement.db", ""])
def test_incident_e_a_fallback_to_sqlite_is_critical_and_explained(text: str):
    [found] = examine(text).findings
    assert found.severity == "critical"
    assert "falls back to SQLite" in found.message


def test_the_fingerprint_leaves_out_what_is_wrong_with_the_password():
    text = "postgresql://app:{}@db.internal/shop"
    assert len({examine(text.format(password)).fingerprint for password in ("a", "b\u200b", "c@/d#e", "%zz")}) == 1


def test_the_masked_string_keeps_all_but_the_secret():
    text = "postgresql://app:S3cretTok9@db.internal:5432/shop?sslmode=require&sslpassword=S3cretTok9"
    assert examine(text).masked == "postgresql://app:***@db.internal:5432/shop?sslmode=require&sslpassword=***"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row.text)[:60])
def test_masked_and_corrected_pass_the_gate_of_reports(row: Row):
    found = examine(row.text, **row.options)
    for _, shape in SHAPES:
        assert not re.search(shape, found.masked + "\n" + found.corrected)


def test_libpq_knows_the_same_parameters():
    told = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert told <= LIBPQ
    assert LIBPQ - told <= {"servicefile"}  # since 19; a parameter that is taken for known too early is refused by nobody else


@pytest.mark.parametrize("options", [{"consumer": "mongo"}, {"instance": "acme:shop"}])
def test_wrong_options_are_errors_that_repeat_nothing(options: dict):
    with pytest.raises(ParameterError) as caught:
        examine("postgresql://app:S3cretTok9@h/d", **options)
    assert "S3c" not in str(caught.value)


UNREADABLE = {
    "cG9zdGdyZXNxbDovL2FwcDpTM2NyZXRUb2s5QGRiL3Nob3A=": "in base64",
    "postgresql%3A%2F%2Fapp%3AS3cretTok9%40db%2Fshop": "in percent-encoding",
    '{"url": "postgres://app:S3cretTok9@db/shop"}': "JSON",
    "Server=db;Database=shop;User Id=app;Password=S3cretTok9;": ".NET's form",
    "psql -h db -U app shop": "a command for psql",
    "app:S3cretTok9@db:5432/shop": "The scheme is missing",
    "postgres:/app:S3cretTok9@db/shop": "two slashes",
    "${DATABASE_URL}": "template's variable",
    "vault:secret/data/shop#url": "name of a secret",
    "None": "had no value",
    "***": "mask of a secret",
}


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_said_to_be_what_it_is(text: str):
    [found] = examine(text).findings
    assert UNREADABLE[text] in found.message


HEAVY = (
    "'", "{", "[a", "/", "a\u200b", "a,\u200b", "a=b\u200b&", "A= ", " ", "\r", "password='", "%41", "$a",
)  # fmt: skip


@pytest.mark.parametrize("unit", HEAVY)
@pytest.mark.parametrize("beginning", ["", "postgresql://u:p@", "host=", "DATABASE_URL="])
def test_the_time_for_a_string_does_not_grow_with_its_square(beginning: str, unit: str):
    text = beginning + unit * (64_000 // len(unit))
    clock = time.process_time()
    examine(text)
    assert time.process_time() - clock < 5


# --- properties ---------------------------------------------------------------------------------------------------------

TOKENS = ("Zq7w", "Kx9v", "Vj4y")  # in no message, host or name that the strategies make
names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
hosts = st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z][a-z0-9]{0,8}){0,2}", fullmatch=True)
ports = st.sampled_from(["", ":5432", ":6543"])
glue = st.text(st.characters(exclude_characters="&;", exclude_categories=()), max_size=4)
passwords = st.builds(lambda a, b, c, d: f"{TOKENS[0]}{a}{TOKENS[1]}{b}{TOKENS[2]}{c}{TOKENS[0]}{d}", glue, glue, glue, glue)
schemes = st.sampled_from(["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg", "mysql", "redis"])
consumers = st.sampled_from([None, *CONSUMERS])
flags = st.fixed_dictionaries({"in_container": st.booleans(), "from_stdin": st.booleans(), "from_file": st.booleans()})
instances = st.sampled_from([None, "acme:us-central1:shop-db"])


def _assert_hidden(found: Examination) -> None:
    assert not re.search("|".join(TOKENS), _everything(found), re.IGNORECASE)


def _url(scheme: str, user: str, password: str, host: str, port: str, database: str) -> str:
    return f"{scheme}://{user}:{password}@{host}{port}/{database}"


urls = st.builds(_url, schemes, names, passwords, hosts, ports, names)
pieces = st.one_of(
    st.sampled_from(
        "postgresql:// postgres+asyncpg:// jdbc:postgresql:// host= dbname= password= user= ' \" @ : / ? # % & = , [ ]".split()
    ),
    st.sampled_from(
        [" ", "\r", "\n", "\ufeff", "\u200b", "\xa0", "\x00", "\udcff", "\\", "/cloudsql/", "a:us-east1:b", "sslmode="]
    ),
    st.text(max_size=5),
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=14).map("".join))


@given(texts, consumers, instances, flags)
@settings(max_examples=600, deadline=None)
def test_no_text_crashes_and_its_correction_is_sound(text, consumer, instance, options):
    found = examine(text, consumer=consumer, instance=instance, **options)
    json.dumps(found.record(), ensure_ascii=False).encode("utf-8")
    assert found.corrected.isprintable()
    assert all(c.isprintable() for c in found.masked)
    assert not _again(found, {"instance": instance, "in_container": options["in_container"]}).is_critical
    _assert_parses(found)


@given(urls, consumers, flags)
@settings(max_examples=500, deadline=None)
@example("postgresql://u:Zq7w@Kx9v/Vj4y#x@h/d", None, {})
@example("postgresql://u:Zq7w?Kx9v=1@h/d", None, {})
def test_a_password_in_a_url_stays_hidden_whatever_it_holds(text, consumer, options):
    _assert_hidden(examine(text, consumer=consumer, **options))


@given(names, passwords, hosts, consumers)
@settings(max_examples=300, deadline=None)
def test_a_percent_encoded_password_stays_hidden_and_is_no_finding(user, password, host, consumer):
    encoded = quote(password, safe="", errors="surrogatepass")
    found = examine(f"postgresql://{user}:{encoded}@{host}/shop", consumer=consumer)
    _assert_hidden(found)
    assert not {f.check for f in found.findings} & {"unescaped_passwords", "stray_percent_signs", "encoded_control_characters"}


@given(st.data(), consumers)
@settings(max_examples=300, deadline=None)
def test_a_string_cut_anywhere_hides_what_is_left_of_the_password(data, consumer):
    # After an unescaped @ or comma a cut password looks like a host; nobody can tell then.
    password = "".join(c for c in data.draw(passwords) if c not in "@")
    text = f"postgresql://app:{password}@db.internal/shop"
    cut = data.draw(st.integers(len("postgresql://app:Zq7w"), len(text)))
    _assert_hidden(examine(text[:cut], consumer=consumer))


quoting = st.sampled_from(["{}", "'{}'", "'{}", "{}'"])
orders = st.permutations(["host=db.internal", "user=app", "dbname=shop", "password="])


@given(passwords, quoting, orders, st.sampled_from([" ", "\n", "\r\n", "  "]), consumers)
@settings(max_examples=400, deadline=None)
def test_a_password_among_keywords_stays_hidden(password, quotes, order, separator, consumer):
    assume("=" not in password)
    pairs = [pair + quotes.format(password) if pair == "password=" else pair for pair in order]
    _assert_hidden(examine(separator.join(pairs), consumer=consumer))


@given(passwords, st.sampled_from(["jdbc:postgresql://h/d?user=u&password={}", "postgresql://h/d?password={}&sslmode=require"]))
@settings(max_examples=300, deadline=None)
def test_a_password_in_the_query_stays_hidden(password, template):
    assume("&" not in password)
    _assert_hidden(examine(template.format(password)))


@given(st.text(max_size=8), st.text(max_size=8), passwords, flags)
@settings(max_examples=300, deadline=None)
def test_a_bare_password_is_not_shown(before, after, password, options):
    assume(not re.search(r"[:=]", before + after + password))
    _assert_hidden(examine(before + password + after, **options))


def _encoded(text: str, every: bool) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode()) if every else quote(text, safe="")


@given(
    names,
    passwords,
    passwords,
    hosts,
    names,
    st.booleans(),
    st.permutations(["sslmode=require", "application_name=api", "connect_timeout=5"]),
)
@settings(max_examples=300, deadline=None)
def test_the_fingerprint_leaves_out_password_order_and_encoding(user, one, other, host, database, every, order):
    first = f"postgresql://{user}:{quote(one, safe='', errors='surrogatepass')}@{host}/{database}?{'&'.join(sorted(order))}"
    secret = quote(other, safe="", errors="surrogatepass")
    second = f"postgresql://{_encoded(user, every)}:{secret}@{host}:5432/{_encoded(database, every)}?{'&'.join(order)}"
    third = f"host={host} dbname={database} user={user} {' '.join(order)}"
    prints = {examine(text).fingerprint for text in (first, second, third)}
    assert len(prints) == 1


@given(names, hosts, names, st.sampled_from(["user", "host", "database", "port", "option"]))
@settings(max_examples=200, deadline=None)
def test_the_fingerprint_tells_another_place_apart(user, host, database, changed):
    parts = {"user": user, "host": host, "database": database, "port": "5432", "option": "a"}
    template = "postgresql://{user}:pw@{host}:{port}/{database}?application_name={option}"
    other = {**parts, changed: "5433" if changed == "port" else f"{parts[changed]}x"}
    assert examine(template.format(**parts)).fingerprint != examine(template.format(**other)).fingerprint


@given(names, hosts, names, st.lists(st.sampled_from("\r\n\t\ufeff\xa0\u200b\u202e"), min_size=1, max_size=3), st.data())
@settings(max_examples=200, deadline=None)
def test_invisible_characters_are_found_and_named_wherever_they_stand(user, host, database, characters, data):
    text = f"postgresql://{user}:pw@{host}/{database}"
    at = data.draw(st.integers(0, len(text)))
    found = examine(text[:at] + "".join(characters) + text[at:])
    assert "invisible_characters" in {f.check for f in found.findings}
    assert found.masked.count("[") == len(characters)
    assert found.corrected == f"postgresql://{user}:***@{host}/{database}"


SPOILS = [*"@ / ? # % & : = ' \" \\ [ , ; password= user= host= ://".split(), " ", "\n", "\xa0"]
FRAMES = [
    "postgresql://app:{}@db.internal:5432/shop?sslmode=require",
    "postgresql+asyncpg://app:{}@/shop?host=/cloudsql/acme:us-central1:shop-db",
    "host=db.internal user=app password={} dbname=shop",
    "jdbc:postgresql://db.internal/shop?user=app&password={}&ssl=true",
    "postgresql://app@db.internal/shop?password={}&sslmode=require",
    "postgresql://app:{}@h1:5432,h2:5433/shop",
    "Host=db.internal;Username=app;Password={}",
    'export DATABASE_URL="postgres://app:{}@db.internal/shop"',
]


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(0, 200), st.sampled_from(SPOILS)), max_size=2), consumers)
@settings(max_examples=500, deadline=None)
@example("host=db.internal user=app password={} dbname=shop", [(24, "password=")], None)
def test_a_string_with_slips_around_a_plain_password_hides_it(frame, slips, consumer):
    before, _, after = frame.partition("{}")
    for place, sign in slips:
        at = place % len(after + " ")
        after = after[:at] + sign + after[at:]
    _assert_hidden(examine(f"{before}Zq7wKx9vVj4y{after}", consumer=consumer))

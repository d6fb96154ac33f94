"""One SQL statement a fact query, that any client may send: it chooses its variant on the server and answers in JSON.

A fact query goes as the text of `ts_stat`, the one function of every server (query_to_xml needs libxml) that runs a text
in the middle of a plain SELECT; it takes and gives words, so rows travel as numbered words. The server chooses among
variants for a client that cannot branch, and parses what it chose after `set_config` has emptied search_path, also where
an editor sends nothing but this one statement. Around it stand function forms only (`int4ge` for `>=`): an operator
there would be looked up in the session's own search_path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.collect.connection import LOCAL_SETTINGS
from kit.collect.forms import cutting
from kit.collect.queries import GROUPS, MARKER, FactQuery, fact_queries, probes

FORMAT = 1
SIGN = "kit_evidence"
PAGE_BYTES = 700_000
# One argument of a program may have 128 KiB on Linux: `psql -c`, and gcloud's --sql without a file.
STATEMENT_BYTES = 100_000
# Less than a capture keeps: JSON is made in the memory of a server that may be sick.
ROWS = 250_000
MIGRATIONS = "migrations"
LOCKED = "locked"
# A word holds 2,046 bytes: its page, row and piece in 4, 7 and 4 digits, and 500 characters.
_KEY = 15
_PIECE = 500
_SESSION_QUERIES = ("session", "settings")
_COMMENT_LINES = re.compile(r"^\s*--.*\n", re.MULTILINE)
# Not the one of the statement that is running; the forms that can, set it before.
_LIMITS = {**LOCAL_SETTINGS, "transaction_read_only": "on"}
# Who answered where: a collector may be run in several databases, or by mistake on several servers.
_PLACE = {
    "database": "pg_catalog.current_database()",
    "user": "current_user",
    "started": "pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time())",
}
_DIGEST = (
    "case when pg_catalog.texteq(pg_catalog.getdatabaseencoding(), 'SQL_ASCII') then null else"
    " pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({rows}, 'UTF8')), 'hex') end"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """What every answer of one collector carries: its number, form, the kit's version, and from where it is asked."""

    collector: str
    form: str
    kit: str
    vantage: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a collector. `is_first` ones are asked before anything is set."""

    name: str
    title: str
    sql: str
    is_first: bool = False


def statements(heading: Heading, *, page: int | None = None) -> Iterator[Statement]:
    """Yield the statements in the order of asking; each answers with a line a page, or with that one page alone."""
    for name in _SESSION_QUERIES:
        query = fact_queries()[name][0]
        yield Statement(name, query.title, _plain(query, heading), is_first=True)
    for group in GROUPS:
        for name, variants in sorted(fact_queries().items()):
            if variants[0].group == group:
                yield Statement(name, variants[0].title, _dynamic(name, _choice(variants), heading, page))
    yield Statement(MIGRATIONS, "Entries of the migration ledgers", _dynamic(MIGRATIONS, _ledgers(), heading, page))


def together(asked: Sequence[Statement]) -> Iterator[Statement]:
    """Yield a few statements for those that are not the first, each as long as a statement may be.

    One answers with as many of their answers, one behind the other, as one page takes; it fails where one of them fails.
    """
    waiting: list[Statement] = []
    for statement in asked:
        if statement.is_first:
            continue
        if waiting and sum(len(item.sql) for item in (*waiting, statement)) > STATEMENT_BYTES:
            yield _united(waiting)
            waiting = []
        waiting.append(statement)
    yield _united(waiting)


def _united(asked: Sequence[Statement]) -> Statement:
    parts = "\nunion all\n".join(f"select {number} as number, (\n{item.sql}\n) as answer" for number, item in enumerate(asked))
    bytes_before = "pg_catalog.sum(pg_catalog.octet_length(e.answer)) over (order by e.number)"
    text = f"""select /* {MARKER} together */ pg_catalog.string_agg(a.answer, ' ' order by a.number) as {SIGN}
from (select e.number, e.answer, {bytes_before} as bytes from (
{parts.replace(" /* the page */", "")}
) as e) as a
where pg_catalog.int8lt(a.bytes, {PAGE_BYTES})"""
    return Statement("together", f"{len(asked)} of the others at once, as far as one answer takes them", text)


def sent_text(query: FactQuery, identifiers: Mapping[str, str]) -> str:
    """Return the fact query as a collector sends it: without comments, since some editors split texts at any semicolon."""
    return _bare(query.text(identifiers))


def digest(name: str) -> str:
    """Return the number of the question of this name, all its variants together; an answer names its question by it."""
    asked = [query for (query,) in probes().values()] if name == MIGRATIONS else fact_queries()[name]
    return hashlib.sha256("\0".join(_bare(query.sql) for query in asked).encode()).hexdigest()[:12]


def _bare(text: str) -> str:
    return _COMMENT_LINES.sub("", text + "\n").strip()


def _head(name: str, heading: Heading) -> str:
    """Return the beginning of an answer; all of it is the kit's own ASCII, without quotes or backslashes in it."""
    about = {SIGN: FORMAT, "id": heading.collector, "form": heading.form, "kit": heading.kit, "vantage": heading.vantage}
    return json.dumps({**about, "name": name, "query": digest(name)}, separators=(",", ":"))[:-1]


def _answer(name: str, heading: Heading, page: str, pages: str, rows: str) -> str:
    """Return the SQL of one answer: a JSON object in one line, `rows` the last of it."""
    place = ", ".join(f"""',"{key}":', pg_catalog.to_json({value})""" for key, value in _PLACE.items())
    times = (
        """',"at":', pg_catalog.to_json(pg_catalog.statement_timestamp()),"""
        """ ',"until":', pg_catalog.to_json(pg_catalog.clock_timestamp())"""
    )
    return f"""pg_catalog.concat('{_head(name, heading)}', {times}, {place}, ',"page":', {page}, ',"pages":', {pages},
  ',"sha256":', coalesce(pg_catalog.to_json({_DIGEST.format(rows=rows)})::pg_catalog.text, 'null'), ',"rows":', {rows}, '}}')"""


def _plain(query: FactQuery, heading: Heading) -> str:
    """Return a session's query: no operator, nothing set before, one page."""
    rows = f"pg_catalog.replace(pg_catalog.json_agg({cutting.row(query)})::pg_catalog.text, pg_catalog.chr(10), '')"
    return f"""select /* {MARKER} {query.name} */ {_answer(query.name, heading, "1", "1", "a.rows")} as {SIGN}
from (select {rows} as rows from (
{_bare(query.sql)}
) as q) as a"""


def _dynamic(name: str, text: str, heading: Heading, page: int | None) -> str:
    """Return the statement that sets the limits for its own transaction, and then has the text parsed and run."""
    limits = ", ".join(f"pg_catalog.set_config('{key}', '{value}', true)" for key, value in _LIMITS.items())
    answer = _answer(name, heading, "p.page::pg_catalog.int4", "p.pages", "p.rows")
    only = "" if page is None else f"\nwhere pg_catalog.texteq(p.page, '{page:04}' /* the page */)"
    return f"""select /* {MARKER} {name} */ {answer} as {SIGN}
from (
  select g.page, pg_catalog.count(*) over () as pages, pg_catalog.concat('[', pg_catalog.substr(g.rows, 2), ']') as rows
  from (
    select pg_catalog.substr(w.word, 1, 4) as page, {_joined("w")} as rows
    from pg_catalog.ts_stat(case when pg_catalog.concat({limits}) is not null then {text} end) as w
    group by pg_catalog.substr(w.word, 1, 4)
  ) as g
) as p{only}
order by p.page"""


def _joined(words: str) -> str:
    key = f'pg_catalog.substr({words}.word, 1, {_KEY}) collate pg_catalog."C"'
    return f"pg_catalog.string_agg(pg_catalog.substr({words}.word, {_KEY + 1}), '' order by {key})"


def _words(name: str, rows: str) -> str:
    """Return a text for ts_stat: the rows as words, each with its page, row and piece in front; a vector a page.

    The row of number 0 holds nothing: it is there where no other is.
    """
    return f"""select /* {MARKER} {name} */ pg_catalog.array_to_tsvector(pg_catalog.array_agg(pg_catalog.concat(
    pg_catalog.to_char(b.page, 'FM0000'), pg_catalog.to_char(b.number, 'FM0000000'), pg_catalog.to_char(c.piece, 'FM0000'),
    pg_catalog.substr(b.row, c.piece * {_PIECE} + 1, {_PIECE})))) as words
from (
  select r.number, r.row,
    pg_catalog.sum(pg_catalog.octet_length(r.row) + {_KEY}) over (order by r.number) / {PAGE_BYTES} + 1 as page
  from (
    select 0::bigint as number, ''::pg_catalog.text as row
    union all
    select pg_catalog.row_number() over () as number, pg_catalog.concat(',', q.row) as row
    from (
{rows}
      limit {ROWS + 1}
    ) as q
  ) as r
) as b
cross join lateral pg_catalog.generate_series(0, pg_catalog.length(b.row) / {_PIECE}) as c(piece)
group by b.page"""


def _rows_of(query: FactQuery, tags: str = "") -> str:
    row = cutting.row(query).replace("(", f"({tags}", 1)
    return f"select {row}::pg_catalog.text as row from (\n{_bare(query.sql)}\n) as q"


def _text(query: FactQuery) -> str:
    return _words(query.name, _rows_of(query))


def _choice(variants: tuple[FactQuery, ...]) -> str:
    """Return the SQL that chooses the text for this server, NULL where it has none."""
    if variants[0].extension:
        return _extension_choice(variants)
    cases = " ".join(f"when {_is_server(query)} then {_quoted(_text(query))}" for query in variants)
    return f"case {cases} end"


def _is_server(query: FactQuery) -> str:
    return f"pg_catalog.int4ge(pg_catalog.current_setting('server_version_num')::pg_catalog.int4, {query.since[0] * 10_000})"


def _extension_choice(variants: tuple[FactQuery, ...]) -> str:
    cases = " ".join(
        f"when pg_catalog.array_ge(x.version, '{{{','.join(map(str, query.since))}}}')"
        f" then pg_catalog.format({_quoted(_with_places(_text(query)))}, x.schema_name)"
        for query in variants
    )
    return f"""(select case {cases} end from (
  select pg_catalog.string_to_array(e.extversion, '.')::pg_catalog.int4[] as version, n.nspname as schema_name
  from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on pg_catalog.oideq(n.oid, e.extnamespace)
  where pg_catalog.nameeq(e.extname, '{variants[0].extension}')) as x)"""


_VARIABLE = re.compile(r':"([a-z_]+)"')
_PLACES = {"ledger_schema": 1, "ledger_table": 2}


def _with_places(text: str) -> str:
    """Return the text for `format`: its identifiers (psql's variables) by their place among the arguments."""
    return _VARIABLE.sub(lambda match: f"%{_PLACES.get(match[1], 1)}$I", text.replace("%", "%%"))


def _quoted(text: str, tag: str = "kit") -> str:
    return f"${tag}${text}${tag}$"


def _ledgers() -> str:
    """Return a text that reads every ledger by its tool's probe: a row an entry, with the ledger's names in front.

    A row of the names alone is a ledger that the asker may not read; one of the names and LOCKED would have to wait.
    """
    ledgers = fact_queries()["migration_ledgers"][0]
    cases = "\n".join(f"when '{tool}' then {_probe(query, tool)}" for tool, query in _tools())
    names = "l.schema_name, l.relation_name, l.tool"
    rows = f"""select coalesce(e.row, case when l.is_readable then pg_catalog.json_build_array({names}, '{LOCKED}')
  else pg_catalog.json_build_array({names}) end::pg_catalog.text) as row
from (
  select m.*, pg_catalog.has_schema_privilege(n.oid, 'USAGE') and pg_catalog.has_table_privilege(c.oid, 'SELECT')
      and not pg_catalog.row_security_active(c.oid) as is_readable,
    exists (
      select from pg_catalog.pg_locks as k join pg_catalog.pg_database as d on d.oid = k.database
      where k.locktype = 'relation' and k.mode = 'AccessExclusiveLock' and d.datname = pg_catalog.current_database()
        and k.relation = c.oid and k.pid is distinct from pg_catalog.pg_backend_pid()
    ) as is_locked
  from (
{_bare(ledgers.sql)}
  ) as m
  join pg_catalog.pg_class as c on c.oid = m.relation_oid::pg_catalog.oid
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
) as l
left join lateral (
  select pg_catalog.substr(w.word, 1, 11) as number, pg_catalog.substr({_joined("w")}, 2) as row
  from pg_catalog.ts_stat(case when l.is_readable and not l.is_locked then case l.tool {cases} end end) as w
  group by 1
) as e on true
where e.row <> '' or not l.is_readable or l.is_locked
order by l.schema_name, l.relation_name, l.tool, e.number"""
    return _quoted(_words(MIGRATIONS, rows), "ledgers")


def _tools() -> list[tuple[str, FactQuery]]:
    return [(name.removeprefix("migrations_"), query) for name, (query,) in probes().items()]


def _probe(query: FactQuery, tool: str) -> str:
    text = _with_places(_words(query.name, _rows_of(query, f"@schema@, @table@, '{tool}', ")))
    text = text.replace("@schema@", "%1$L::pg_catalog.text").replace("@table@", "%2$L::pg_catalog.text")
    return f"pg_catalog.format({_quoted(text, 'probe')}, l.schema_name, l.relation_name)"

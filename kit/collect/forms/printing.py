"""The three forms of a collector, each one text: for psql, for pasting, and for Python without any package."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import kit
from kit.collect.attempt.options import ORDINARY_VANTAGE, RUNTIMES
from kit.collect.forms.statements import FORMAT, SIGN, Heading, Statement, statements, together
from kit.errors import ParameterError

FORMS = ("psql", "paste", "python")
VANTAGES = {"psql": "psql", "paste": "SQL editor", "python": "job"}
ENVIRONMENT = "DATABASE_URL"
_PLAIN = re.compile(r"[A-Za-z0-9 .,:/_@()-]{1,60}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OWN_IMPORTS = re.compile(r"^from (?:kit\.|__future__).*\n", re.MULTILINE)
_PARTS = ("place.py", "wire.py", "way.py", "job.py")
_WARNING = """\
It only reads: short READ ONLY transactions, a time limit a statement, an empty search_path, nothing left behind.
What comes out holds names and structure of the database, numbers, expressions of policies, and texts of running and
recent statements. Values of settings are cut on the server, and literals of statements where it can tell them surely;
`kit import` cuts the rest. Until then treat the answer as you would treat the database: do not post it, import it where
it may lie, and delete it."""


def collector(form: str, *, vantage: str | None = None, environment: str = ENVIRONMENT) -> str:
    """Return the collector of this form as one text; `vantage` says in words where it will be run.

    `environment` names the variable in which the Python form finds the connection string. Raises ParameterError.
    """
    if form not in FORMS:
        raise ParameterError(f"--form {form!r} is not known.", f"Use {', '.join(FORMS)}.")
    place = VANTAGES[form] if vantage is None else vantage
    if not _PLAIN.match(place):
        raise ParameterError("The vantage cannot be used.", "Use at most 60 letters, digits, spaces and . , : / _ @ ( ) -")
    if not _NAME.match(environment):
        raise ParameterError("That is not the name of an environment variable.", "Give the name alone, such as DATABASE_URL.")
    heading = Heading(secrets.token_hex(8), form, kit.__version__, place)
    if form == "python":
        return _python(heading, environment)
    return "\n".join(_psql(heading) if form == "psql" else _paste(heading)) + "\n"


def _psql(heading: Heading) -> Iterator[str]:
    yield from _commented(
        f"Incident Kit {heading.kit}: a collector for psql of any version. Run it, and bring the answer home:\n"
        "  psql -X -f collector.sql -d 'service=NAME' > answer.txt\n"
        "  kit import answer.txt --out BUNDLE\n\n"
        + _WARNING
        + "\n\nA statement that fails leaves one gap; go on, and import what came."
    )
    for setting in (
        "QUIET on",
        "ON_ERROR_STOP off",
        "ON_ERROR_ROLLBACK off",
        "AUTOCOMMIT on",
        "FETCH_COUNT 0",
        "ECHO none",
        "VERBOSITY terse",
    ):
        yield f"\\set {setting}"
    for option in ("pager off", "format unaligned", "tuples_only on", "expanded off", "recordsep '\\n'"):
        yield f"\\pset {option}"
    for statement in statements(heading):
        yield from _psql_statement(heading, statement)
    yield f"\\qecho '{_mark(heading, 'end')}}}'"


def _psql_statement(heading: Heading, statement: Statement) -> Iterator[str]:
    yield f"\n-- {statement.title}\nbegin read only;"
    # The encoding is the one thing set before the session is asked: without it the answer might not be read back.
    yield "set local client_encoding = 'UTF8';"
    if not statement.is_first:
        yield "set local lock_timeout = '100ms';\nset local statement_timeout = '8s';\nset local search_path = '';"
    yield f"{statement.sql};"
    # Only psql 11 and later tell the SQLSTATE; words of an error may hold line ends from names, a SQLSTATE cannot.
    yield f"""\\qecho '{_mark(heading, statement.name)},"sqlstate":"':SQLSTATE'"}}'"""
    yield "commit;"


def _mark(heading: Heading, name: str) -> str:
    about = {
        SIGN: FORMAT,
        "id": heading.collector,
        "form": heading.form,
        "kit": heading.kit,
        "vantage": heading.vantage,
        "name": name,
    }
    return json.dumps(about, separators=(",", ":"))[:-1]


def _paste(heading: Heading) -> Iterator[str]:
    single = list(statements(heading, page=1))
    first = [statement for statement in single if statement.is_first]
    united = list(together(single))
    found = [*first, *united, *single[len(first) :]]
    few = len(first) + len(united)
    yield from _commented(
        f"Incident Kit {heading.kit}: statements for a SQL editor, or for\n"
        "  gcloud sql instances execute-sql INSTANCE --database=DB --sql=@FILE --format=json\n"
        f"Run 1 to {few}, one at a time; each answers with one row of one column. Put the answers into a file, one after the\n"
        "other, as CSV, JSON, Markdown or plain text, whatever the editor gives:\n"
        "  kit import answers.txt --out BUNDLE\n"
        f"Where one of {len(first) + 1} to {few} fails, or kit import says what is missing, run those that it names.\n\n"
        "An answer is below 800 kB. Where it says \"pages\":3, run its statement again with '0002' and then '0003' in the\n"
        "place of '0001' before /* the page */. Leave out what fails: it becomes a gap.\n\n" + _WARNING + "\n"
        "An editor's own time limit holds; set one first where you can: set statement_timeout = '8s'"
    )
    for number, statement in enumerate(found, 1):
        yield f"\n-- {number} of {len(found)}: {statement.name} ({statement.title})\n{statement.sql};"


def _python(heading: Heading, environment: str) -> str:
    asked = [{"name": s.name, "is_first": s.is_first, "sql": s.sql} for s in statements(heading)]
    content = {SIGN: FORMAT, "id": heading.collector, "form": heading.form, "kit": heading.kit, "vantage": heading.vantage}
    content |= {"environment": environment, "statements": asked, "is_told": heading.vantage != VANTAGES["python"]}
    content |= {"runtimes": RUNTIMES, "ordinary": ORDINARY_VANTAGE}
    head = "\n".join(
        _commented(
            f"Incident Kit {heading.kit}: a collector for Python 3.8 or newer, with no package installed:\n"
            f"  kubectl exec -i POD -- python3 -S - < collector.py > answer.txt     (reads ${environment}; - NAME reads $NAME)\n"
            "  kit import answer.txt --out BUNDLE\n\n" + _WARNING + "\n"
            "Of the environment it prints names and four digits of a hash, never a value.",
            "#",
        )
    )
    folder = Path(__file__).parent
    *parts, job = (_OWN_IMPORTS.sub("", (folder / name).read_text(encoding="utf-8")) for name in _PARTS)
    told = f"COLLECTOR: Any = json.loads({json.dumps(content)!r})\n"
    told_job = job.replace("COLLECTOR: Any = {}\n", told)
    return "\n\n".join([head, "from __future__ import annotations", *parts, told_job])


def _commented(text: str, sign: str = "--") -> Iterator[str]:
    for line in text.splitlines():
        yield f"{sign} {line}".rstrip()

"""From the text of a dump or of migrations to what they leave behind, by PostgreSQL's own parser.

Read are the statements that make, alter and drop tables, views, indexes and extensions. What a DO block or a function
makes is not seen; nor are foreign keys, checks, triggers, types and grants compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pglast import ast, parser

from kit.analyze.schema.expected import ExpectedSchema
from kit.analyze.schema.statements import Draft

_READ = frozenset({"CREATE", "ALTER", "DROP", "SET", "SELECT", "DO", "RESET"})
_PSQL = frozenset("restrict unrestrict connect c set unset echo i ir include if elif else endif encoding timing pset o q".split())
# Where a tool keeps the way back in the same file, the way forth ends here.
_BACKWARD = ("-- +goose down", "-- migrate:down", "-- +migrate down", "--//@undo", "-- //@undo")
# A third of what pg_dump writes makes no table and alters none, and the parser takes its time for each.
_IDLE = re.compile(
    r"(?:--[^\n]*\n\s*)*(?:(?:CREATE|ALTER) (?:SEQUENCE|POLICY|TRIGGER|STATISTICS) .*|"
    r"ALTER TABLE (?:ONLY )?[\w.\"]+ OWNER TO [\w\"]+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Script:
    """One file: its name and text."""

    name: str
    text: str


def read_dump(scripts: Iterable[Script], origin: str) -> ExpectedSchema:
    """Return what the scripts leave behind, run one after the other in a new database.

    What could not be read is named in `unread`, and raises nothing.
    """
    draft, unread, blocks = Draft(), list[str](), list[str]()
    for script in scripts:
        draft.new_session()
        for number, statement in enumerate(_statements(script, unread), 1):
            verb = _verb(statement)
            if verb not in _READ or _IDLE.fullmatch(statement.strip()):
                continue
            nodes = _parsed(statement)
            if nodes is None:
                unread.append(f"statement {number} ({verb} …) of {script.name}")
            for node in nodes or ():
                if isinstance(node, ast.DoStmt):
                    blocks.append(f"statement {number} of {script.name} is a DO block: what it makes is not expected")
                draft.apply(node)
    return ExpectedSchema(origin, draft.relations(), draft.extensions(), tuple(unread), tuple(blocks))


def _statements(script: Script, unread: list[str]) -> list[str]:
    text = "\n".join(_without_transport(_forward(script.text.splitlines())))
    try:
        return _joined(list(parser.split(text, with_parser=False)))
    except parser.ParseError:
        unread.append(f"{script.name} as a whole, for it does not end where a statement does")
        return []


def _forward(lines: Sequence[str]) -> Sequence[str]:
    for position, line in enumerate(lines):
        if line.strip().lower().startswith(_BACKWARD):
            return lines[:position]
    return lines


def _without_transport(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines without psql's own commands and the rows that follow a COPY.

    A literal may hold such lines as well: rows without an end are none, and a backslash alone is no command.
    """
    position = 0
    while position < len(lines):
        line = lines[position]
        end = _end_of_rows(lines, position) if _begins_rows(line) else None
        if end is not None:
            position = end
        elif not (line.startswith("\\") and line[1:].split(None, 1)[:1] and line[1:].split(None, 1)[0] in _PSQL):
            yield line
        position += 1


def _end_of_rows(lines: Sequence[str], begin: int) -> int | None:
    return next((number for number in range(begin + 1, len(lines)) if lines[number].rstrip() == "\\."), None)


def _begins_rows(line: str) -> bool:
    if not line[:5].lower().startswith("copy ") or not line.rstrip().endswith(";"):
        return False
    nodes = _parsed(line)
    copy = nodes[0] if nodes and len(nodes) == 1 else None
    return isinstance(copy, ast.CopyStmt) and bool(copy.is_from) and copy.filename is None and not copy.is_program


def _joined(pieces: Sequence[str]) -> list[str]:
    """Return the statements: the scanner cuts the body of a BEGIN ATOMIC function at its semicolons."""
    found, held = list[str](), ""
    for piece in pieces:
        text = f"{held};\n{piece}" if held else piece
        is_open = _is_atomic(text) and _parsed(text) is None
        if is_open and piece is not pieces[-1]:
            held = text
        else:
            found.append(text)
            held = ""
    return found


def _is_atomic(text: str) -> bool:
    lowered = text.lower()
    return _verb(text) == "CREATE" and "begin" in lowered and "atomic" in lowered


def _parsed(statement: str) -> list[Any] | None:
    try:
        return [raw.stmt for raw in parser.parse_sql(statement)]
    except (parser.ParseError, RecursionError):
        return None


def _verb(statement: str) -> str:
    """Return the first word behind leading comments; a verb is all that is ever said of a statement."""
    rest = statement.lstrip()
    while rest.startswith(("--", "/*")):
        _, _, rest = rest.partition("\n" if rest.startswith("--") else "*/")
        rest = rest.lstrip()
    word = rest.split(None, 1)[0] if rest else ""
    return word.upper() if word.isalpha() and len(word) < 12 else ""

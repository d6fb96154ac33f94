"""The placeholders that drivers put into statements, turned into what PostgreSQL's parser reads."""

from __future__ import annotations

import re

from pglast import parser

from kit.errors import ParameterError

# A statement this long was written by a program; its parse would take seconds.
LONGEST_STATEMENT = 200_000
# `a=%s` and `a=@id` would parse, as the operators `=%` and `=@` on a column.
_ALWAYS = re.compile(r"%\(\w{1,63}\)s|%s\b|(?<![\w@<>|&#?!~])@(?=[A-Za-z_])\w{1,63}")
_IF_UNREADABLE = re.compile(r"(?<![\w:\]]):(?=[A-Za-z_0-9])\w{1,63}|(?<![@?])\?(?![|&?])")
_KEPT = frozenset({"SCONST", "USCONST", "BCONST", "XCONST", "C_COMMENT", "SQL_COMMENT"})


def readable(statement: str) -> tuple[str, str | None]:
    """Return the statement with every driver's placeholder as `$n`, and one sentence if any was replaced.

    Raises ParameterError with the place where the statement cannot be parsed.

    >>> readable("select * from orders where id = :id and note = ':id'")
    ("select * from orders where id = $1 and note = ':id'", '1 placeholder was read as a parameter.')
    """
    if len(statement) > LONGEST_STATEMENT:
        raise ParameterError(f"The statement has {len(statement)} characters.", f"At most {LONGEST_STATEMENT} are read.")
    text, replaced = _replaced(statement, _ALWAYS)
    if _error(text) is not None:
        text, more = _replaced(text, _IF_UNREADABLE, replaced)
        replaced += more
    error = _error(text)
    if error is not None:
        raise ParameterError(f"The statement cannot be parsed: {_place(text, error)}.", "Give the whole statement, and only it.")
    return text, _said(replaced)


def _said(replaced: int) -> str | None:
    if not replaced:
        return None
    return "1 placeholder was read as a parameter." if replaced == 1 else f"{replaced} placeholders were read as parameters."


def _replaced(text: str, pattern: re.Pattern[str], before: int = 0) -> tuple[str, int]:
    """Return the text with what the pattern finds outside of literals, quoted names and comments as `$n`, and how many."""
    numbers: dict[str, int] = {}
    found = 0

    def parameter(match: re.Match[str]) -> str:
        nonlocal found
        found += 1
        word = match[0]
        key = word if word not in ("?", "%s") else f"{word}{found}"
        return f"${numbers.setdefault(key, before + len(numbers) + 1)}"

    pieces = []
    for is_code, piece in _pieces(text):
        pieces.append(pattern.sub(parameter, piece) if is_code else piece)
    return "".join(pieces), found


def _pieces(text: str) -> list[tuple[bool, str]]:
    try:
        tokens = parser.scan(text)
    except parser.ParseError:
        return [(False, text)]
    pieces, end = [], 0
    for token in tokens:
        if token.name in _KEPT or text[token.start : token.start + 3].upper().startswith(('"', 'U&"')):
            pieces += [(True, text[end : token.start]), (False, text[token.start : token.end + 1])]
            end = token.end + 1
    return [*pieces, (True, text[end:])]


def _error(text: str) -> tuple[str, int | None] | None:
    try:
        parser.parse_sql_json(text)
    except parser.ParseError as error:
        return str(error.args[0]), error.args[1] if len(error.args) > 1 else None
    return None


def _place(text: str, error: tuple[str, int | None]) -> str:
    message, index = error
    if index is None:
        return message
    before = text[:index]
    return f"{message}, line {before.count(chr(10)) + 1}, column {index - (before.rfind(chr(10)) + 1) + 1}"

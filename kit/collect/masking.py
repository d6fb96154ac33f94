"""What a value must lose before it enters evidence: literals of statements, values of options, secrets of messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pglast import parser

from kit.evidence.columns import Column, Mask

_LITERALS = {"SCONST", "ICONST", "FCONST", "BCONST", "XCONST", "USCONST"}
_COMMENTS = {"C_COMMENT", "SQL_COMMENT"}
_DATA_VERBS = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "("}
_UNREADABLE = "<statement not readable>"
_STRINGS = {"SCONST", "BCONST", "XCONST", "USCONST"}
_NUMBER = re.compile(r"'[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?'", re.ASCII)
_NUMERIC_TYPES = {"SMALLINT", "INT_P", "INTEGER", "BIGINT", "NUMERIC", "DECIMAL_P", "REAL", "DOUBLE_P", "FLOAT_P"}
_UNREADABLE_EXPRESSION = "<expression not readable>"

# Options whose values say how a server behaves and never hold a secret; every other value is masked.
_OPEN_OPTION_NAMES = """
    search_path role session_authorization timezone log_timezone datestyle intervalstyle client_encoding server_encoding
    lc_messages application_name default_transaction_read_only transaction_read_only default_transaction_isolation
    statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout transaction_timeout
    row_security jit work_mem maintenance_work_mem temp_buffers plan_cache_mode random_page_cost seq_page_cost
    effective_cache_size session_replication_role log_statement log_min_duration_statement host port dbname
    fetch_size use_remote_estimate
"""
OPEN_OPTIONS = frozenset(_OPEN_OPTION_NAMES.split())
# Settings that may hold a command line, a connection string or a value of the application's own.
CLOSED_CATEGORIES = ("Customized Options",)
CLOSED_SETTINGS = re.compile(
    r"conninfo|command|passphrase|password|secret|token|key_file|_key$|jwt|restore_|archive_cleanup|recovery_end", re.I
)
MASKED = "<masked>"


@lru_cache(maxsize=10_000)
def normalise_statement(text: str) -> str:
    """Return the statement with literals as `?` and without comments; a utility or unreadable one as its verb.

    >>> normalise_statement("select * from t where a = 'x' -- note")
    'select * from t where a = ?'
    >>> normalise_statement("alter role app password 'hunter2'")
    'ALTER ROLE …'
    """
    try:
        tokens = [token for token in parser.scan(text) if token.name not in _COMMENTS]
        verbs = [_word(text, token) for token in tokens[:2]]
        if not tokens or verbs[0] not in _DATA_VERBS or _is_doubtful(text, tokens):
            return _verb(tokens, verbs)
        parser.fingerprint(text)
    except parser.ParseError:
        return _unparsed_verb(text)
    return _without_literals(text, tokens)


@lru_cache(maxsize=10_000)
def mask_expression(text: str) -> str:
    """Return an expression as pg_get_expr prints it with its strings as '…'; numbers, names and casts stay.

    >>> mask_expression("((kind = 'secret'::text) AND (level > '-1'::integer))")
    "((kind = '…'::text) AND (level > '-1'::integer))"
    """
    try:
        tokens = parser.scan(text)
    except parser.ParseError:
        return _UNREADABLE_EXPRESSION
    # pg_get_expr doubles every quote of a literal, and writes no comment: what the scanner sees is where a literal ends.
    if any(token.name in _COMMENTS for token in tokens):
        return _UNREADABLE_EXPRESSION
    return _replaced(text, tokens, lambda position: "'…'" if _is_string(text, tokens, position) else None)


def option_value(name: str, value: str) -> str:
    """Return the option's value where its name is on the allow-list, else `<masked>`."""
    return value if name.lower() in OPEN_OPTIONS else MASKED


def setting_value(name: str, value: str, category: str) -> str:
    """Return a server setting's value, masked where it may hold a command, a secret or an application's own value."""
    if name in OPEN_OPTIONS:
        return value
    closed = category in CLOSED_CATEGORIES or "." in name or CLOSED_SETTINGS.search(name)
    return MASKED if closed and value else value


def message(text: str, secrets: Iterable[str] = ()) -> str:
    """Return an error message in one line, without the given secrets and without passwords in URLs."""
    for secret in secrets:
        text = text.replace(secret, MASKED) if secret else text
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", rf"\1:{MASKED}@", text)
    text = re.sub(r"(password\s*[=:]\s*)('[^']*'|\S+)", rf"\1{MASKED}", text, flags=re.IGNORECASE)
    return " ".join(text.split())[:500]


_TOKENS = (
    (re.compile(r"\b(?:ya29\.|AIza|AKIA|ghp_|sk_live_|xox[abp]-)[\w./+=-]{3,}"), MASKED),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASKED}"),
    (
        re.compile(
            r"""((?:token|client_secret|secret[_-]?key|api[_-]?key|authorization)["']?\s*[=:]\s*["']?)(?!<masked>)[^\s"',;&]{4,}""",
            re.IGNORECASE,
        ),
        rf"\1{MASKED}",
    ),
)


def tokens_masked(text: str) -> str:
    """Return the text without what has the form of a token, or stands where one is given by name.

    >>> tokens_masked("access_token=ya29.a0Af is expired; Secret [projects/1/secrets/x] not found")
    'access_token=<masked> is expired; Secret [projects/1/secrets/x] not found'
    """
    for shape, by in _TOKENS:
        text = shape.sub(by, text)
    return text


def holds_token(text: str) -> bool:
    """Return whether something in the text has the form of a token; one without a digit is taken for a word."""
    found = (match for shape, _ in _TOKENS for match in shape.finditer(text))
    return any(character.isdigit() for match in found for character in match[0])


def masker(mask: Mask, row: Mapping[str, object]) -> Callable[[str], str]:
    """Return what masks a value of the declared mask, given the other values of its row."""
    if mask == "statement":
        return normalise_statement
    if mask == "expression":
        return mask_expression
    if mask == "message":
        return message
    name, category = str(row.get("setting_name", "")), row.get("category")
    if category is None:
        return lambda value: option_value(name, value)
    return lambda value: setting_value(name, value, str(category))


def masked(columns: Sequence[Column], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows with every value masked as its column declares."""
    masks = [(position, column.mask) for position, column in enumerate(columns) if column.mask]
    return [_masked_row(columns, masks, row) for row in rows] if masks else rows


def _masked_row(columns: Sequence[Column], masks: Sequence[tuple[int, Mask]], row: tuple[Any, ...]) -> tuple[Any, ...]:
    values, named = list(row), {column.name: value for column, value in zip(columns, row, strict=True)}
    for position, mask in masks:
        if values[position]:
            values[position] = masker(mask, named)(values[position])
    return tuple(values)


def _word(text: str, token: parser.Token) -> str:
    return text[token.start : token.end + 1].upper()


def _verb(tokens: list[parser.Token], verbs: list[str]) -> str:
    words = [word for token, word in zip(tokens, verbs, strict=False) if token.kind != "NO_KEYWORD"]
    return f"{' '.join(words)} …" if words else _UNREADABLE


def _is_doubtful(text: str, tokens: list[parser.Token]) -> bool:
    """Return whether a literal may stand where the scanner sees none, or a utility statement behind the first one."""
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.name == "ASCII_59" and after is not None and after.name != "ASCII_59":
            return True
        # With standard_conforming_strings off, this quote would not be the literal's end.
        if token.name == "SCONST" and text[token.start] == "'" and text[token.start : token.end + 1].endswith("\\'"):
            return True
    return False


def _unparsed_verb(text: str) -> str:
    match = re.match(r"\s*([A-Za-z]+)\b", text)
    return f"{match[1].upper()} …" if match and match[1].upper() in _VERBS else _UNREADABLE


_UTILITY_VERBS = (
    "ALTER CREATE DROP GRANT REVOKE SET RESET SHOW COPY CALL DO BEGIN COMMIT ROLLBACK EXPLAIN ANALYZE VACUUM TRUNCATE"
    " LOCK PREPARE EXECUTE DECLARE FETCH CLOSE REFRESH REINDEX COMMENT NOTIFY LISTEN"
)
_VERBS = _DATA_VERBS | set(_UTILITY_VERBS.split())


def _without_literals(text: str, tokens: list[parser.Token]) -> str:
    return _replaced(text, tokens, lambda position: "?" if tokens[position].name in _LITERALS else None)


def _is_string(text: str, tokens: list[parser.Token], position: int) -> bool:
    """Return whether the token is a literal and not a number that the server writes in quotes ('-1'::integer)."""
    token, cast = tokens[position], tokens[position + 1 : position + 3]
    if token.name not in _STRINGS:
        return False
    is_cast = len(cast) == 2 and cast[0].name == "TYPECAST" and cast[1].name in _NUMERIC_TYPES
    return not (is_cast and _NUMBER.fullmatch(text[token.start : token.end + 1]))


def _replaced(text: str, tokens: list[parser.Token], other: Callable[[int], str | None]) -> str:
    """Return the text with some tokens written otherwise, and one space where there was any between two."""
    pieces: list[str] = []
    end = 0
    for position, token in enumerate(tokens):
        between = text[end : token.start]
        pieces.append(" " if between and (end or pieces) else "")
        written = other(position)
        pieces.append(text[token.start : token.end + 1] if written is None else written)
        end = token.end + 1
    return "".join(pieces).strip()

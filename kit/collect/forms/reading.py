"""From a file back to answers, whatever an editor did to them on the way: CSV, JSON in JSON, Markdown, tables, line ends.

An answer says how many pages there are and carries a digest of its rows, so what was cut or altered is noticed. Nothing
in a file is believed to be more than text: a name of the database that looks like an answer stands inside one, escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.collect.forms.statements import FORMAT, SIGN
from kit.errors import KitError

LARGEST_BYTES = 1 << 30
_START = re.compile(r'\{(?:\\?"|"")' + SIGN.replace("_", r"\\?_"))
_NAME = re.compile(r'name\\?"{1,2}\s*:\s*\\?"{1,2}([a-z_]{1,60})\\?"')
_CSV_FIELD = re.compile(r'"((?:[^"]|"")*)"')
_COLLECTOR = re.compile(r"[0-9a-f]{16}\Z")
_ROWS = ',"rows":'
# A file that was cut or pasted badly has a few; one made to keep the reader busy has thousands.
_MOST_FAULTS = 200
_HINT = "Give it the file that the collector's statements printed."
_decoder = json.JSONDecoder()


class ImportedFileError(KitError):
    """A file that was to be imported is none of a collector's, or cannot be used."""

    slug = "import"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its header by name, and its rows, None where it only says how the asking went."""

    about: Mapping[str, Any]
    rows: list[Any] | None

    @property
    def name(self) -> str:
        """The evidence that it belongs to."""
        return str(self.about.get("name"))


@dataclass(slots=True)
class Answers:
    """All that the files hold; `damaged` are the names of what began and could not be read."""

    found: list[Answer] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)


def read_files(paths: list[Path]) -> Answers:
    """Return the answers in the files; ImportedFileError in one sentence where one of them holds none."""
    answers = Answers()
    for path in paths:
        content = _content(path)
        answers.digests[path.name] = hashlib.sha256(content).hexdigest()
        before = len(answers.found)
        _read(_decoded(content), answers)
        if len(answers.found) == before:
            raise ImportedFileError(f"{path} holds no whole answer of a collector.", _HINT)
    return answers


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ImportedFileError(f"{path} is larger than {LARGEST_BYTES >> 20} MB.", _HINT)
        return path.read_bytes()
    except OSError as error:
        raise ImportedFileError(f"{path} cannot be read: {error.strerror}.", _HINT) from error


def _decoded(content: bytes) -> str:
    # PowerShell's > writes UTF-16.
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, "replace")


def _read(text: str, answers: Answers) -> None:
    """Add the answers of a text: first those that stand as they were written, then those of the rest, mended."""
    rest = _scan(text, answers)
    if not _START.search(rest):
        return
    for mend in _MENDERS:
        # Each on the text as it is: what one mends another may break.
        if not _START.search(_scan(mend(rest), answers)):
            return
    known = {answer.name for answer in answers.found if answer.rows is not None}
    starts = [match.start() for match in _START.finditer(rest)]
    names = {match[1] for start in starts if (match := _NAME.search(rest, start, start + 400))}
    answers.damaged |= (names or ({""} if starts else set())) - known


def _scan(text: str, answers: Answers) -> str:
    """Add what can be read; return the text without it."""
    left: list[str] = []
    end = 0
    while len(left) < _MOST_FAULTS and (match := _START.search(text, end)) is not None:
        read = _at(text, match.start())
        if read is None:
            left.append(text[end : match.end()])
            end = match.end()
            continue
        found, start, after = read
        answers.found += found
        left[-1:] = ["".join([*left[-1:], text[end:start]])]
        end = after
    return "".join([*left, text[end:]])


def _at(text: str, start: int) -> tuple[list[Answer], int, int] | None:
    """Return the answers at this place, and where they begin and end; None if they are not whole."""
    if text.startswith('{"', start) and not text.startswith('{""', start):
        answer = _answer(text, start)
        return None if answer is None else ([answer[0]], start, answer[1])
    if start == 0 or text[start - 1] != '"':
        return None
    inner, end = _csv(text, start - 1) if text.startswith('{""', start) else _string(text, start - 1)
    found = Answers()
    rest = _scan(inner, found)
    return (found.found, start - 1, end) if found.found and not _START.search(rest) else None


def _csv(text: str, start: int) -> tuple[str, int]:
    match = _CSV_FIELD.match(text, start)
    return (match[1].replace('""', '"'), match.end()) if match else ("", start)


def _string(text: str, start: int) -> tuple[str, int]:
    try:
        inner, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return "", start
    return (inner, end) if isinstance(inner, str) else ("", start)


def _answer(text: str, start: int) -> tuple[Answer, int] | None:
    try:
        content, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    rows = content.pop("rows", None)
    if content.get(SIGN) != FORMAT or not _is_header(content):
        return None
    if rows is not None and not _is_whole(text[start:end], rows, content):
        return None
    return Answer(content, rows), end


def _is_whole(text: str, rows: Any, about: Mapping[str, Any]) -> bool:
    """Return whether the rows are a list of lists with the digest that the server gave; SQL_ASCII servers give none."""
    digest = about.get("sha256")
    written = text[text.find(_ROWS) + len(_ROWS) : -1]
    is_right = digest is None or hashlib.sha256(written.encode("utf-8", "replace")).hexdigest() == digest
    return is_right and isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def _without_ends(text: str) -> str:
    return re.sub(r"\r?\n", "", text)


def _without_wraps(text: str) -> str:
    # psql's format `wrapped`, and editors that put margins around a wrapped cell.
    return re.sub(r"[ \t]*[.+|]?[ \t]*\r?\n[ \t]*[.|]?[ \t]?", "", text)


def _without_escapes(text: str) -> str:
    """Return Markdown without its backslashes: those before signs that JSON never escapes."""
    return re.sub(r"\\([^\"\\/bfnrtu])", r"\1", text)


_MENDERS: tuple[Callable[[str], str], ...] = (_without_escapes, _without_ends, _without_wraps)


def _is_header(about: Mapping[str, Any]) -> bool:
    texts = all(isinstance(about.get(key), str) and len(about[key]) <= 200 for key in ("id", "form", "kit", "vantage", "name"))
    return texts and bool(_COLLECTOR.match(about["id"])) and all(c.isprintable() for c in about["vantage"] + about["kit"])


def by_name(answers: Answers) -> Iterator[tuple[str, list[Answer]]]:
    """Yield the answers that hold rows, by the name of their evidence, in the order of their pages."""
    names = dict.fromkeys(answer.name for answer in answers.found if answer.rows is not None)
    for name in names:
        yield name, [answer for answer in answers.found if answer.name == name and answer.rows is not None]

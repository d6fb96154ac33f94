"""Whose answers they are: one collector may have been run in several databases of one server, by one role.

Every answer of the server's says where it was asked. What carries none (a refusal that psql wrote down, what a job saw
around it) belongs to the answers that stand beside it in the file, up to the collector's end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kit.collect.forms.reading import Answer, Answers, ImportedFileError

END = "end"
_AGAIN = "Run the collector again, and import what it printed into a bundle of its own."


def runs(answers: Answers) -> list[Answers]:
    """Return the answers by database, the first one of the files first.

    ImportedFileError where they come from several servers, roles or, of one database, collectors.
    """
    found: dict[str | None, list[Answer]] = {}
    for database, answer in _placed(answers.found):
        found.setdefault(database, []).append(answer)
    _refuse_others(answers.found)
    for items in found.values():
        _refuse_mixed(items)
    return [replace(answers, found=items) for items in found.values()]


def database_of(answers: Answers) -> str | None:
    """Return the name of the database that answered; None where none did."""
    return next((name for answer in answers.found if (name := _database(answer)) is not None), None)


def _placed(answers: Sequence[Answer]) -> Iterator[tuple[str | None, Answer]]:
    """Yield every answer with its database: its own, else the last one before it, else the first one after it."""
    last = next((name for answer in answers if (name := _database(answer)) is not None), None)
    for part in _parts(answers):
        last = next((name for answer in part if (name := _database(answer)) is not None), last)
        for answer in part:
            last = _database(answer) or last
            yield last, answer


def _parts(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    part: list[Answer] = []
    for answer in answers:
        part.append(answer)
        if answer.name == END:
            yield part
            part = []
    yield part


def _database(answer: Answer) -> str | None:
    name = answer.about.get("database")
    return name if isinstance(name, str) else None


def _refuse_others(answers: Sequence[Answer]) -> None:
    for key, words in (("started", "servers, or of one that was restarted meanwhile"), ("user", "roles")):
        if len({str(answer.about[key]) for answer in answers if answer.about.get(key) is not None}) > 1:
            raise ImportedFileError(f"The files hold answers of two {words}.", _AGAIN)


def _refuse_mixed(answers: Sequence[Answer]) -> None:
    if len({answer.about["id"] for answer in answers}) > 1:
        raise ImportedFileError("The files come from two collectors.", "Import each into a bundle of its own.")

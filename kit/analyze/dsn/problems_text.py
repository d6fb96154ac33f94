"""What is wrong with the text before anybody reads it: invisible characters, wrappings, escapes."""

from __future__ import annotations

from collections.abc import Iterator

from kit.analyze.dsn.characters import described, visible
from kit.analyze.dsn.findings import DsnFinding, Subject
from kit.analyze.dsn.plausible import STRAY_END
from kit.analyze.findings import Severity

_ENCODED = {"@": "%40", "/": "%2F", "#": "%23", "?": "%3F", "%": "%25", "[": "%5B", "]": "%5D", "&": "%26", ":": "%3A"}


def text_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield what stands in or around the string and should not."""
    yield from _transport(subject)
    yield from _invisible(subject)
    yield from _wrappings(subject)
    yield from _encoded_controls(subject)
    yield from _stray_ends(subject)


def _found(check: str, severity: Severity, message: str, remedy: str) -> DsnFinding:
    return DsnFinding(check, "configuration", severity, message, remedy)


def _transport(subject: Subject) -> Iterator[DsnFinding]:
    ending = subject.unwrapped.transport
    if not ending:
        return
    name = "CRLF, as PowerShell adds" if ending == "\r\n" else "line feed"
    if subject.from_stdin:
        message = f"One final line end ({name}) came with standard input; it is taken as transport, not as part of the string."
        remedy = "Nothing, if only the pipe added it. To be sure, read the variable itself: `kit dsn --env NAME`."
        yield _found("final_line_ends", "info", message, remedy)
        return
    message = f"The file ends with a line end ({name}): a reader that does not strip it takes it into the string."
    remedy = "Write the file without one (`printf %s`); a secret's version made by `echo` carries it into the service."
    yield _found("final_line_ends", "warning" if ending == "\r\n" else "info", message, remedy)


def _invisible(subject: Subject) -> Iterator[DsnFinding]:
    parts: dict[tuple[str, str], list[str]] = {}
    for blemish in subject.blemishes:
        parts.setdefault((blemish.place, blemish.part), []).append(blemish.character)
    for (place, part), characters in parts.items():
        names = ", ".join(dict.fromkeys(map(described, characters)))
        message = f"Invisible characters {place} the {part}: {names}. A driver takes them at their word"
        message += "; a socket or host by that name does not exist." if part == "host" else "."
        remedy = "Write the value anew without them (printf, not echo or a Windows editor), and check it as the service sees it."
        yield _found("invisible_characters", "critical", message, remedy)


def _wrappings(subject: Subject) -> Iterator[DsnFinding]:
    wrapped, is_env_file = subject.unwrapped, subject.from_file and bool(subject.unwrapped.assignment)
    if wrapped.command:
        message = f"The string begins with a command ({wrapped.command.split()[0]})."
        yield _found("command_prefixes", "critical", message, "Keep only the string itself.")
    if wrapped.assignment:
        severity: Severity = "info" if is_env_file else "critical"
        message = f"The value begins with an assignment ({visible(wrapped.assignment)}): the shell's words are part of it."
        if is_env_file:
            message = f"The file assigns a variable ({visible(wrapped.assignment)}); its value is examined."
        yield _found("assignment_prefixes", severity, message, "Keep only what follows the equals sign.")
    if wrapped.opening_quote or wrapped.closing_quote:
        pair = f"{wrapped.opening_quote}…{wrapped.closing_quote}"
        message = f"The string stands in quotes ({pair}), which a driver takes as part of it."
        remedy = "Leave the quotes out: the shell removes them, env files of Docker and secret stores do not."
        yield _found("wrapping_quotes", "warning" if is_env_file else "critical", message, remedy)
    if wrapped.has_outer_spaces and subject.reading.form not in ("keywords", "empty"):
        yield _found("surrounding_spaces", "critical", "Spaces stand before or after the string.", "Remove them.")


def _encoded_controls(subject: Subject) -> Iterator[DsnFinding]:
    """Percent-encoded control characters become real ones after decoding: `db%0D` is the database `db` and a CR."""
    reading = subject.reading
    if reading.form not in ("url", "jdbc"):
        return
    named: dict[str, list[str | None]] = {"user": [reading.user], "database": [reading.database], "host": [*reading.hosts]}
    for part, values in named.items():
        if any(value and any(not c.isprintable() for c in value) for value in values):
            message = f"The {part} holds a control or invisible character in percent-encoding."
            yield _found("encoded_control_characters", "critical", message, "Take the escape out (%0D and %0A are line ends).")


def writing_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield what the reader stumbled over."""
    makers = {
        "unescaped_passwords": _unescaped_password,
        "unescaped_users": _unescaped_user,
        "run_together_values": _run_together,
        "fragments": _fragment,
        "stray_percent_signs": _stray_percent,
    }
    for fault in subject.reading.faults:
        if fault.check in makers:
            yield makers[fault.check](subject, fault.detail)
        else:
            yield _simple(subject, fault.check)


def _unescaped_password(subject: Subject, signs: str) -> DsnFinding:
    if subject.reading.form == "keywords":
        message = "The password holds a space or a quote and does not stand in quotes as libpq wants it: it ends too early."
        remedy = "Write password='…', with \\' for a quote and \\\\ for a backslash inside."
        return DsnFinding("unescaped_passwords", "configuration", "critical", message, remedy)
    breaking = [sign for sign in signs if sign in subject.consumer.unsafe]
    severity: Severity = "critical" if breaking or (not subject.is_reader_known and signs.strip("&")) else "info"
    escapes = ", ".join(f"{sign} is {_ENCODED[sign]}" for sign in signs)
    what = "splits the string in the wrong place" if severity == "critical" else "splits the string elsewhere, not here"
    message = f"The password holds an unescaped {' and '.join(signs)}: it {what}, and drivers' errors then print pieces of it."
    return DsnFinding("unescaped_passwords", "configuration", severity, message, f"Percent-encode the password: {escapes}.")


def _unescaped_user(subject: Subject, sign: str) -> DsnFinding:
    message = f"The user name holds {'an unescaped @' if sign else 'signs that end it'}: the string is split in the wrong place."
    remedy = "Percent-encode the user name: @ is %40."
    takes_last = subject.reader in ("sqlalchemy", "node", "prisma")
    severity: Severity = "info" if sign and takes_last else "critical"
    if severity == "info":
        message = f"The user name holds an unescaped @: {subject.consumer.title} takes the last @, others the first."
    return DsnFinding("unescaped_users", "configuration", severity, message, remedy)


def _stray_percent(subject: Subject, part: str) -> DsnFinding:
    message = f"A % in {part} begins no percent-encoding: libpq refuses the string; others decode or keep it, each in its way."
    return _found("stray_percent_signs", "critical", message, "Write %25 for a percent sign.")


def _run_together(subject: Subject, part: str) -> DsnFinding:
    message = f"The value of {part} goes on into another (it holds an equals sign or an address), so it is hidden."
    remedy = "Put what separates them between: a space among keywords, ? and & in a URL."
    return _found("run_together_values", "critical", message, remedy)


def _fragment(subject: Subject, before: str) -> DsnFinding:
    if before != " ":
        message = "A # ends the string for most readers; what follows is lost, or becomes part of a name."
        return _found("fragments", "critical", message, "Write %23 for a # that is meant, or remove the rest.")
    is_env_file = subject.from_file and bool(subject.unwrapped.assignment)
    message = "A comment follows the string: some readers of env files cut it off, `docker --env-file` and secret stores do not."
    return _found("fragments", "warning" if is_env_file else "critical", message, "Put the comment on a line of its own.")


def _stray_ends(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    values = {"user": reading.user, "database": reading.database, "host": reading.hosts[-1] if reading.hosts else None}
    for part, value in values.items():
        if reading.is_postgres and (match := STRAY_END.search(value or "")):
            message = f"The {part} ends in {match[0]} (plain signs, not a line end): it is taken as a part of the name."
            yield _found(
                "stray_ends", "critical", message, "Take it away: it is left over from a list, a statement or a JSON text."
            )


_SIMPLE: dict[str, tuple[str, str]] = {
    "bad_ports": (
        "What follows a host's colon is no port number. It may be part of a password, so it is hidden.",
        "Write a number (5432), or percent-encode the password and write @ and the host after it.",
    ),
    "malformed_hosts": (
        "The host holds signs that no host name has.",
        "Write only the host's name or address, an IPv6 address in square brackets.",
    ),
    "cut_strings": (
        "The string ends within the user name and password: no @ and no host follow.",
        "Copy it whole; a shell cuts an unquoted value at & and #, an env file at #.",
    ),
    "extra_slashes": (
        "Three slashes stand where two belong: all that follows is a path, so there is neither user nor host.",
        "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    ),
    "repeated_schemes": (
        "The scheme stands there twice, as where a whole string was put in the place of a host.",
        "Write it once.",
    ),
    "bare_ipv6_addresses": (
        "An IPv6 address stands there without square brackets: its second part is taken for the port.",
        "Write it as [ADDRESS]:PORT.",
    ),
    "malformed_parameters": (
        "A parameter is not of the form name=value, and libpq refuses the string.",
        "Write name=value; join parameters of a URL with & (not &amp; or ;), put keywords' values with spaces in single quotes.",
    ),
}


def _simple(subject: Subject, check: str) -> DsnFinding:
    message, remedy = _SIMPLE[check]
    return _found(check, "critical", message, remedy)

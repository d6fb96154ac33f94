"""What a server's certificate says of itself: names, issuer and times, read without trusting it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _SET, _OBJECT, _VERSION, _EXTENSIONS = 0x30, 0x31, 0x06, 0xA0, 0xA3
_COMMON_NAME, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x1d\x11"
_UTC_TIME = 0x17
_MOST_NAMES = 5
Element = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate's own words; nothing of it has been verified."""

    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime

    @property
    def words(self) -> str:
        """Return the certificate for people."""
        more = f" and {len(self.names) - _MOST_NAMES} more" if len(self.names) > _MOST_NAMES else ""
        names = ", ".join(self.names[:_MOST_NAMES]) or "no name"
        times = f"valid {self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d}"
        return f"certificate for {names}{more}, {times}, issued by {self.issuer}"


def read_certificate(der: bytes) -> Certificate | None:
    """Return what the certificate (DER) says, or None where it cannot be read."""
    try:
        return _read(der)
    except (ValueError, IndexError, StopIteration, RuntimeError):
        return None


def _read(der: bytes) -> Certificate:
    outer = next(_elements(der))
    parts = list(_elements(next(_elements(outer[1]))[1]))
    parts = parts[1:] if parts[0][0] == _VERSION else parts
    issuer, validity, subject = parts[2][1], parts[3][1], parts[4][1]
    first, last = (_time(*element) for element in _elements(validity))
    extensions = next((body for tag, body in parts[5:] if tag == _EXTENSIONS), b"")
    names = tuple(_alternative_names(extensions)) or tuple(filter(None, [_common_name(subject)]))
    return Certificate(names, _common_name(issuer) or "an unnamed issuer", first, last)


def _elements(data: bytes) -> Iterator[Element]:
    position = 0
    while position < len(data):
        tag, length, head = data[position], data[position + 1], 2
        if length & 0x80:
            count = length & 0x7F
            length, head = int.from_bytes(data[position + 2 : position + 2 + count], "big"), 2 + count
        end = position + head + length
        if end > len(data):
            raise ValueError("an element is longer than what holds it")
        yield tag, data[position + head : end]
        position = end


def _time(tag: int, text: bytes) -> datetime:
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)


def _common_name(name: bytes) -> str | None:
    for tag, relative in _elements(name):
        for _, pair in _elements(relative) if tag == _SET else ():
            (_, kind), (_, value) = list(_elements(pair))[:2]
            if kind == _COMMON_NAME:
                return _text(value)
    return None


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, listed in _elements(extensions):
        for _, extension in _elements(listed):
            kind, *rest = list(_elements(extension))
            if kind == (_OBJECT, _ALTERNATIVE_NAMES):
                yield from filter(None, (_general_name(*name) for name in _elements(next(_elements(rest[-1][1]))[1])))


def _general_name(tag: int, body: bytes) -> str | None:
    if tag == 0x82:
        return _text(body)
    return str(ipaddress.ip_address(body)) if tag == 0x87 else None


def _text(value: bytes) -> str:
    text = value[:200].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)

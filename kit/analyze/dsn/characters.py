"""Characters that nobody sees and every driver takes at their word: which they are, and how they are shown."""

from __future__ import annotations

import unicodedata

_NAMES = {
    0x00: "NUL", 0x08: "BS", 0x09: "TAB", 0x0A: "LF", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL",
    0xA0: "NBSP", 0xAD: "SHY", 0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x2060: "WJ", 0xFEFF: "BOM",
}  # fmt: skip
# Blank by their looks though not by their category: fillers, the grapheme joiner, the empty braille pattern.
_BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
_PRINTABLE_SPACE = " "
# What the C library's isspace takes for a space: between a keyword string's pairs these separate.
SEPARATORS = "\t\n\v\f\r"


def is_invisible(character: str) -> bool:
    """Return whether a character is a control, a format sign, a space that is no plain space, or not a character at all."""
    if character == _PRINTABLE_SPACE:
        return False
    return ord(character) in _BLANK or not character.isprintable()


def shown(character: str) -> str:
    """Return an invisible character by name, another as it is.

    >>> shown("\\r"), shown("\\u200b"), shown("\\u202e"), shown("a")
    ('[CR]', '[ZWSP]', '[U+202E]', 'a')
    """
    if not is_invisible(character):
        return character
    return f"[{_NAMES.get(ord(character), f'U+{ord(character):04X}')}]"


def visible(text: str) -> str:
    """Return the text with every invisible character by name."""
    return "".join(map(shown, text))


def described(character: str) -> str:
    """Return a character's name and number for a sentence: `carriage return (U+000D)`."""
    names = {"\r": "carriage return", "\n": "line feed", "\t": "tab", "\ufeff": "byte order mark", "\xa0": "non-breaking space"}
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"byte that is not UTF-8 (0x{ord(character) - 0xDC00:02X})"
    name = names.get(character) or unicodedata.name(character, "control character").lower()
    return f"{name} (U+{ord(character):04X})"

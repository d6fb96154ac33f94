"""Small HTML builders whose result survives JupyterLab's sanitiser: inline styles, no style, script or svg.

A trusted fragment is `Markup`; whatever else is put into an element is escaped. Classes are for the
report's own style sheet; nothing depends on them for meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.present.text import escaped

MONOSPACE = "font-family:ui-monospace,Menlo,Consolas,monospace"


class Markup(str):
    """A piece of HTML that this package has built; other strings are text."""

    __slots__ = ()


def element(tag: str, *children: object, style: str = "", css: str = "", **attributes: str) -> Markup:
    """Return an element; children that are not Markup are escaped, a trailing underscore of a name is dropped."""
    named: Mapping[str, str] = {
        "class": css,
        "style": style,
        **{k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()},
    }
    written = "".join(f' {name}="{escaped(value)}"' for name, value in named.items() if value)
    return Markup(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Iterable[object]) -> Markup:
    """Return the children side by side."""
    return Markup("".join(child if isinstance(child, Markup) else escaped(child) for child in children))


def badge(sign: str, word: str, colour: str) -> Markup:
    """Return a sign and a word on a coloured ground: meaning never hangs on the colour alone."""
    style = f"background-color:{colour};color:#ffffff;padding:1px 7px;border-radius:3px;font-size:85%;white-space:nowrap"
    return element("span", f"{sign} {word}", style=style, css="kit-badge")


def preformatted(text: object, css: str = "kit-pre") -> Markup:
    """Return text as it stands, in a box that scrolls by itself."""
    return element("pre", text, style=f"{MONOSPACE};white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0", css=css)


def folded(summary: object, *children: object, css: str = "kit-folded") -> Markup:
    """Return details that are closed until someone asks."""
    return element("details", element("summary", summary, style="cursor:pointer"), *children, css=css)


def paragraph(*children: object, css: str = "", style: str = "margin:6px 0") -> Markup:
    """Return a paragraph."""
    return element("p", *children, style=style, css=css)

"""What the pages share: the templates, the one script, plotly.js, and the content security policy.

The policy names the one script by its hash; nothing else runs. Observed in Chromium 156 from file://:
`'strict-dynamic'` lets that script load `plotly-<version>.min.js` from the page's folder (so do `'self'` and
`file:`, but those would admit any script file); `integrity` cannot be used, because a file is never
CORS-enabled. In the single file plotly.js is inflated in the page and admitted by its own hash.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kit.errors import MissingTier
from kit.present import theme
from kit.present.text import counted, milliseconds_text, seconds_text, utc_text, visible

SHELL = Path(__file__).parent / "shell"
_BASE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src 'none';"
    " base-uri 'none'; form-action 'none'"
)


def folder_policy() -> str:
    """Return the policy of a page in the report's folder."""
    return f"{_BASE_POLICY}; script-src '{source_hash(bootstrap())}' 'strict-dynamic'"


def single_policy(*, with_figures: bool) -> str:
    """Return the policy of the single file: two scripts by their hash, none loaded from anywhere."""
    sources = [bootstrap(), *([plotly_source()] if with_figures else [])]
    return f"{_BASE_POLICY}; script-src {' '.join(repr(source_hash(source)) for source in sources)}"


def source_hash(source: str) -> str:
    """Return the hash by which a content security policy admits a script.

    >>> source_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


@cache
def bootstrap() -> str:
    """Return the one script of the pages."""
    return (SHELL / "page.js").read_text(encoding="utf-8")


@cache
def style() -> str:
    """Return the style sheet of the pages."""
    return (SHELL / "style.css").read_text(encoding="utf-8")


@cache
def plotly_source() -> str:
    """Return plotly.js as its Python package ships it; MissingTier where plotly is not installed."""
    # Found without importing plotly, which takes a second and is needed for nothing else here.
    spec = importlib.util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise MissingTier("Reports with charts need plotly.", 'Install it: pip install "incident-kit[report]"')
    return (Path(next(iter(spec.submodule_search_locations))) / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@cache
def packed_plotly() -> str:
    """Return plotly.js compressed and as base64, the same for the same version."""
    return base64.b64encode(gzip.compress(plotly_source().encode(), 9, mtime=0)).decode()


@cache
def plotly_file() -> str:
    """Return the name under which the report's folder holds plotly.js; it changes with its content."""
    opening = plotly_source()[:400]
    version = opening.partition("plotly.js v")[2].split()[0] if "plotly.js v" in opening else "x"
    return f"plotly-{version}.min.js"


def write_assets(folder: Path) -> Path:
    """Write what the pages of a report share into its folder, once, and return its path."""
    path = folder / plotly_file()
    if not path.exists():
        path.write_text(plotly_source(), encoding="utf-8")
    return path


@cache
def environment() -> Environment:
    """Return the templates: everything escaped, hidden characters made visible, nothing undefined."""
    made = Environment(
        loader=FileSystemLoader(SHELL),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "utc": utc_text,
        "seconds": seconds_text,
        "milliseconds": milliseconds_text,
        "address": _address,
        "counted": counted,
    }
    made.globals |= {"theme": theme, "style": Markup(style()), "bootstrap": Markup(bootstrap())}
    return made


def render(template: str, **values: Any) -> str:
    """Return a page made from one of the templates."""
    return environment().get_template(template).render(**values)


def anchor(parts: Sequence[str]) -> str:
    """Return an id made of names, such as stands behind the # of an address."""
    return "-".join(quote(part.replace(" ", "-"), safe="") for part in parts)


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _address(text: str) -> str:
    return quote(text, safe="#.-_")

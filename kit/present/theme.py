"""One small theme: the palette, the signs that stand beside every colour, and the plotly template.

The colours read on white and on near-black alike, because JupyterLab shows a notebook in either; the pages
of the report replace text and grid colours by their own when they draw (see `kit/report/shell/page.js`).
"""

from __future__ import annotations

from typing import Any

SEVERITY_COLOURS = {"critical": "#b42318", "warning": "#8a5300", "info": "#3f5f8f"}
SEVERITY_SIGNS = {"critical": "■", "warning": "▲", "info": "●"}

STATUS_COLOURS = {"cleared": "#2e6b3f", "broken": "#b42318", "not examined": "#8a5300", "out of scope": "#666d75"}
STATUS_SIGNS = {"cleared": "✓", "broken": "✗", "not examined": "?", "out of scope": "–"}

VERDICT_COLOURS = {"broken": "#b42318", "healthy": "#2e6b3f", "open": "#8a5300"}
VERDICT_SIGNS = {"broken": "✗", "healthy": "✓", "open": "?"}

HYPOTHESIS_COLOURS = {"supported": "#3f5f8f", "refuted": "#666d75", "open": "#8a5300"}
HYPOTHESIS_SIGNS = {"supported": "✓", "refuted": "✗", "open": "?"}

# The steps of an attempt to connect, in the words of the layers.
STEP_SIGNS = {"ok": "✓", "failed": "✗", "not reached": "?", "skipped": "–"}
STEP_COLOURS = {"ok": "#2e6b3f", "failed": "#b42318", "not reached": "#8a5300", "skipped": "#666d75"}

NOTEBOOK_SIGNS = {"ok": "✓", "error": "✗", "timeout": "✗", "dead kernel": "✗", "not run": "–"}

ACCESS_COLOURS = {"allowed": "#2e6b3f", "partly": "#8a5300", "denied": "#b42318", "unknown": "#666d75"}

NEUTRAL = "#5b7c99"
EMPHASIS = "#b4530a"
SERIES = [NEUTRAL, EMPHASIS, "#2e7d6b", "#7a5c99", "#8a5300", "#666d75"]
INK = "#7b828a"
GRID = "rgba(128,128,128,0.25)"
LINE = "#a9afb5"

SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

MARGIN = {"l": 8, "r": 24, "t": 36, "b": 40}
_AXIS = {"automargin": True, "gridcolor": GRID, "zeroline": False, "fixedrange": True, "ticks": "", "tickangle": 0}

TEMPLATE: dict[str, Any] = {
    "layout": {
        "font": {"family": SANS, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": SERIES,
        "margin": MARGIN,
        "title": {"x": 0, "xref": "container", "xanchor": "left", "font": {"size": 14}},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": _AXIS,
        "yaxis": _AXIS | {"gridcolor": "rgba(0,0,0,0)"},
    }
}

# typesetMath off: a dollar sign in a name is a dollar sign, also where the page around has MathJax.
CONFIG: dict[str, Any] = {"displayModeBar": False, "responsive": True, "typesetMath": False}

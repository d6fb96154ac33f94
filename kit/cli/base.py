"""What every command shares: the application, its common options, and how an answer is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kit.errors import ParameterError

FOUND, UNSEEN = 1, 3

app = typer.Typer(
    help="From “it is broken” to a report that names the broken layer and shows its evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

TargetOption = Annotated[str, typer.Option("--target", help="A name from kit.toml, service=…, a URL, or a bundle's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
ReportsOption = Annotated[Path | None, typer.Option("--reports", help="The folder of all cases.")]
CloudOption = Annotated[Path | None, typer.Option("--cloud", help="A folder of cloud exports.")]
FailOnOption = Annotated[str, typer.Option("--fail-on", help="The severity that makes the exit status 1.")]


def refuse_severity(text: str) -> None:
    """Raise ParameterError where `--fail-on` names no severity."""
    if text not in ("critical", "warning", "info"):
        raise ParameterError(f"--fail-on {text!r} is no severity.", "Use critical, warning or info.")


def wanted(path: Path | None, option: str, example: str = "access.parquet") -> Path:
    """Return the path that an option had to give; ParameterError where it did not."""
    if path is None:
        raise ParameterError(f"{option} is missing.", f"Name what is to be written: {option} {example}")
    return path


def answered(content: dict[str, Any], as_json: bool, words: str) -> None:
    """Print an answer on standard output, for a program or for a person."""
    if as_json:
        print_json(content)
    else:
        typer.echo(words)


def print_json(content: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n")

"""Commands on the installation itself."""

from __future__ import annotations

import typer

from kit.cli.base import JsonOption, app, print_json
from kit.cli.clear_errors import FAULT, clear_errors


@app.command(epilog="Example: kit checks --json")
def checks(json: JsonOption = False) -> None:
    """List the checks: what each looks at, its layer, its severities and its thresholds."""
    with clear_errors():
        from kit.case.listing import print_checks, records

        if json:
            print_json(records())
        else:
            print_checks()


@app.command(epilog="Example: kit doctor")
def doctor(json: JsonOption = False) -> None:
    """Look at this installation: what is there, what is missing, and the command that adds it."""
    with clear_errors():
        from kit.doctor import examine, print_examination

        items = examine()
        if json:
            print_json(items)
        else:
            print_examination(items)
        raise typer.Exit(0 if all(item["ok"] or not item["needed"] for item in items) else FAULT)

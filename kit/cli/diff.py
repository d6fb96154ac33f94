"""The command that compares what works with what fails."""

from __future__ import annotations

from typing import Annotated

import typer

from kit.cli.base import JsonOption, ReportsOption, answered, app
from kit.cli.clear_errors import clear_errors, harmless


@app.command(
    epilog="Example: kit diff login-outage     kit diff shop-staging shop-prod     kit diff outage --services auth,backend"
)
def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="What works: a case, CASE@TIME, a bundle or a target. A case alone: its last two captures."
        ),
    ],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="What fails, or what is after the repair.")] = None,
    sources: Annotated[str | None, typer.Option(metavar="A,B", help="Compare two identities: sources of the capture.")] = None,
    roles: Annotated[str | None, typer.Option(metavar="A,B", help="Or two roles.")] = None,
    services: Annotated[str | None, typer.Option(metavar="A,B", help="Or two services of the cloud exports.")] = None,
    revisions: Annotated[str | None, typer.Option(metavar="A,B", help="Or two revisions.")] = None,
    symptom: Annotated[str | None, typer.Option(help="The error's text; left out, that of the case.")] = None,
    reports: ReportsOption = None,
    json: JsonOption = False,
) -> None:
    """Say in what A, which works, and B, which fails, differ, by the ladder, and what is equal and so cleared.

    With two captures, one name is enough for an option where it is the same in both. Left out is what cannot matter: numbers
    and times the server gives, sizes, counters, costs, what runs at the moment. Exit status: 0 no difference that could
    matter, 1 differences, 3 none, but something in scope could not be compared.
    """
    with clear_errors():
        from kit.case.differing import Asked
        from kit.case.differing import diff as compared

        answer = compared(a, b, Asked(sources, roles, services, revisions), symptom, reports)
        answered(dict(answer.record), json, harmless(answer.words))
        raise typer.Exit(answer.status)

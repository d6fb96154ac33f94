"""Commands on a case: make its report, tell it, note in it, open it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kit.cli.base import CloudOption, FailOnOption, JsonOption, ReportsOption, TargetOption, answered, app, refuse_severity
from kit.cli.clear_errors import clear_errors, harmless, tell


@app.command(epilog="Example: kit demo")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running, and print how to connect.")] = False,
    incident: Annotated[
        str, typer.Option(help="a, c, d or e: hidden tables, an innocent database, four layers, nothing there.")
    ] = "a",
    reports: ReportsOption = None,
) -> None:
    """Stage an incident on a PostgreSQL server of the kit's own and make its report."""
    with clear_errors():
        from kit.report.demo import run_demo

        report = run_demo(reports, keep=keep, tell=tell, incident=incident)
        typer.echo(harmless(f"Verdict: {report.document.verdict.summary}"))
        typer.echo(f"Report:  {report.folder / 'index.html'}")


@app.command(epilog="Example: kit run login-outage --target shop --symptom 'relation \"siwe_nonces\" does not exist'")
def run(
    case: Annotated[str, typer.Argument(help="The case's name; its report is reports/<case>/.")],
    target: TargetOption,
    symptom: Annotated[str | None, typer.Option(help="The error text, SQLSTATE or words.")] = None,
    since: Annotated[str | None, typer.Option(help="The window's beginning, ISO 8601, UTC where unmarked.")] = None,
    until: Annotated[str | None, typer.Option(help="The window's end.")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="A notebook's parameter.")] = [],  # noqa: B006
    threshold: Annotated[list[str], typer.Option(metavar="CHECK.KEY=VALUE", help="A check's threshold.")] = [],  # noqa: B006
    only: Annotated[list[str], typer.Option(metavar="NOTEBOOK", help="Run only this notebook.")] = [],  # noqa: B006
    hypothesis: Annotated[list[str], typer.Option(metavar="TEXT=CHECK,CHECK", help="A stated cause, and what decides it.")] = [],  # noqa: B006
    cloud: CloudOption = None,
    reports: ReportsOption = None,
    fail_on: FailOnOption = "critical",
    json: JsonOption = False,
) -> None:
    """Capture a target, judge it, and publish the report of a case."""
    with clear_errors():
        from kit.report.running import exit_status, order_of, with_hypotheses
        from kit.report.running import run as run_case

        order = order_of(case, target, symptom, since, until, set_, threshold, only, cloud, reports, tell)
        refuse_severity(fail_on)
        report = run_case(with_hypotheses(order, hypothesis))
        if json:
            sys.stdout.write(report.document.to_json())
        else:
            typer.echo(harmless(f"Verdict: {report.document.verdict.summary}"))
            typer.echo(f"Report:  {report.folder / 'index.html'}")
        raise typer.Exit(exit_status(report.document, fail_on))


@app.command(epilog="Example: kit status login-outage")
def status(
    case: Annotated[str, typer.Argument(help="The case to tell of.")],
    reports: ReportsOption = None,
    json: JsonOption = False,
) -> None:
    """Tell a case in at most eight lines for a chat: no address, no statement, no value of a row stands in them."""
    with clear_errors():
        from kit.case.status import status_of

        told = status_of(case, reports)
        answered(told.to_record(), json, harmless("\n".join(told.lines)))


@app.command(epilog="Example: kit note login-outage 'Rolled back to revision 00012.'")
def note(
    case: Annotated[str, typer.Argument(help="The case.")],
    text: Annotated[str, typer.Argument(help="What was seen, said or done; it becomes part of the case's time line.")],
    reports: ReportsOption = None,
) -> None:
    """Add a line with its UTC time to the notes of a case."""
    with clear_errors():
        from kit.case.notes import add_note

        typer.echo(harmless(add_note(case, text, reports)))


@app.command(epilog="Example: kit lab demo")
def lab(
    case: Annotated[str, typer.Argument(help="The case to open.")],
    reports: ReportsOption = None,
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Make the working copies and stop.")] = False,
) -> None:
    """Open JupyterLab on the case's working copies; cells you add there reach the next report."""
    with clear_errors():
        from kit.report.laboratory import open_lab, working_copies

        folder = working_copies(case, reports)
        typer.echo(f"Working copies: {folder}", err=True)
        if not prepare_only:
            open_lab(folder)

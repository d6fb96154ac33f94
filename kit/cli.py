"""The command line: thin, the same words as the functions. Answers for programs go to standard output."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kit.clear_errors import FAULT, clear_errors, harmless, tell
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


@app.command(epilog="Example: kit demo")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running, and print how to connect.")] = False,
    reports: ReportsOption = None,
) -> None:
    """Stage an incident on a PostgreSQL server of the kit's own and make its report."""
    with clear_errors():
        from kit.report.demo import run_demo

        report = run_demo(reports, keep=keep, tell=tell)
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
    cloud: CloudOption = None,
    reports: ReportsOption = None,
    fail_on: FailOnOption = "critical",
    json: JsonOption = False,
) -> None:
    """Capture a target, judge it, and publish the report of a case."""
    with clear_errors():
        from kit.report.running import exit_status, order_of
        from kit.report.running import run as run_case

        order = order_of(case, target, symptom, since, until, set_, threshold, only, cloud, reports, tell)
        _refuse_severity(fail_on)
        report = run_case(order)
        if json:
            sys.stdout.write(report.document.to_json())
        else:
            typer.echo(harmless(f"Verdict: {report.document.verdict.summary}"))
            typer.echo(f"Report:  {report.folder / 'index.html'}")
        raise typer.Exit(exit_status(report.document, fail_on))


@app.command(epilog="Example: kit capture --target shop --out bundles/shop-0312")
def capture(
    target: TargetOption,
    out: Annotated[Path, typer.Option("--out", help="The new folder of the bundle.")],
    cloud: CloudOption = None,
    json: JsonOption = False,
) -> None:
    """Read the sources of a target once, read-only, into a bundle."""
    with clear_errors():
        from kit.case.capturing import capture_to

        summary = capture_to(target, out, cloud)
        _answer(summary, json, f"Bundle:  {out}\nDigest:  {summary['digest']}\nGaps:    {len(summary['gaps'])}")
        raise typer.Exit(UNSEEN if summary["gaps"] else 0)


@app.command(epilog="Example: kit show demo bloat --json     kit show --target shop blocked_sessions")
def show(
    names: Annotated[list[str], typer.Argument(metavar="[CASE|BUNDLE] TABLE", help="Where, and which table.")],
    target: Annotated[str | None, typer.Option("--target", help="Ask a live target instead.")] = None,
    reports: ReportsOption = None,
    limit: Annotated[int, typer.Option(help="How many rows to print (0: all); --json prints all.")] = 50,
    json: JsonOption = False,
) -> None:
    """Print one table: evidence, or one derived from it, such as bloat, statements, locks or changes."""
    with clear_errors():
        from kit.case.showing import print_table, records, shown

        frame = shown(names, target, reports)
        if json:
            _print_json(records(frame))
        else:
            print_table(frame, limit)


@app.command(epilog="Example: kit access --target shop --role shop_api --relation orders --action INSERT --json")
def access(
    target: TargetOption,
    role: Annotated[str | None, typer.Option(help="Who asks; left out, the role that --error names.")] = None,
    relation: Annotated[str | None, typer.Option(help="The table, view or sequence, as the application writes it.")] = None,
    function: Annotated[str | None, typer.Option(help="Or a function, with its arguments where there are several.")] = None,
    schema: Annotated[str | None, typer.Option(help="Or a schema.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Or a type.")] = None,
    database: Annotated[str | None, typer.Option(help="Or a database.")] = None,
    action: Annotated[str | None, typer.Option(help="SELECT, INSERT, UPDATE, DELETE, TRUNCATE, USAGE, EXECUTE, CREATE …")] = None,
    columns: Annotated[str | None, typer.Option(help="The columns that are used: a,b")] = None,
    statement: Annotated[str | None, typer.Option(help="A whole statement instead; it is read, not run.")] = None,
    error: Annotated[str | None, typer.Option(help="The error's text, log line or SQLSTATE.")] = None,
    against_role: Annotated[str | None, typer.Option(help="Compare with this role.")] = None,
    against: Annotated[str | None, typer.Option(help="Compare with this target.")] = None,
    claims: Annotated[Path | None, typer.Option(help="Try it as the role with these JWT claims (a JSON file).")] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="Write all roles by all objects to --out, as Parquet.")] = False,
    out: Annotated[Path | None, typer.Option(help="The matrix's file.")] = None,
    expected: Annotated[Path | None, typer.Option(help="Compare with the access that a TOML file expects.")] = None,
    source: Annotated[str | None, typer.Option(help="Which of the target's databases; left out, the first.")] = None,
    json: JsonOption = False,
) -> None:
    """Say why a role may or may not: gate by gate, with the smallest remedy. Exit status: 0 allowed, 1 denied, 3 unknown."""
    with clear_errors():
        from kit.case import answering
        from kit.case.asking import asked_for

        if matrix:
            answer = answering.written(target, _wanted(out, "--out"), source, [role] if role else ())
        elif expected:
            answer = answering.expected(target, expected, source)
        else:
            objects = {"relation": relation, "function": function, "schema": schema, "type": type_, "database": database}
            asked = asked_for(role, action, objects, columns, statement, error)
            if claims and (against or against_role):
                raise ParameterError("--claims and --against cannot go together.", "Try each side by itself.")
            if against or against_role:
                answer = answering.compared(target, asked, against_role=against_role, against=against, source=source)
            else:
                answer = answering.explained(target, asked, source, claims)
        if json:
            _print_json(answer.record)
        else:
            typer.echo(harmless(answer.words))
        raise typer.Exit(answer.status)


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


@app.command(epilog="Example: kit checks --json")
def checks(json: JsonOption = False) -> None:
    """List the checks: what each looks at, its layer, its severities and its thresholds."""
    with clear_errors():
        from kit.case.listing import print_checks, records

        if json:
            _print_json(records())
        else:
            print_checks()


@app.command(epilog="Example: kit doctor")
def doctor(json: JsonOption = False) -> None:
    """Look at this installation: what is there, what is missing, and the command that adds it."""
    with clear_errors():
        from kit.doctor import examine, print_examination

        items = examine()
        if json:
            _print_json(items)
        else:
            print_examination(items)
        raise typer.Exit(0 if all(item["ok"] or not item["needed"] for item in items) else FAULT)


def main() -> None:
    """Run the command line; the exit status is the contract's (0, 1, 2, 3, 130)."""
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal ends a run as Ctrl-C does; `nohup` keeps it
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _as_interrupt)
    app(windows_expand_args=False)


def _refuse_severity(text: str) -> None:
    if text not in ("critical", "warning", "info"):
        raise ParameterError(f"--fail-on {text!r} is no severity.", "Use critical, warning or info.")


def _wanted(path: Path | None, option: str) -> Path:
    if path is None:
        raise ParameterError(f"{option} is missing.", f"Give it the new file: {option} access.parquet")
    return path


def _answer(content: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        _print_json(content)
    else:
        typer.echo(words)


def _print_json(content: Any) -> None:
    import json as writer

    sys.stdout.write(writer.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

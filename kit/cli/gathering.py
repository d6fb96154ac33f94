"""Commands that gather evidence: from a target, from where the kit cannot go, from a cloud project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kit.cli.base import UNSEEN, CloudOption, JsonOption, ReportsOption, TargetOption, answered, app, print_json, wanted
from kit.cli.clear_errors import clear_errors, harmless, tell

cloud_app = typer.Typer(
    help="What can be seen of a service's cloud project.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: kit cloud collect --help",
)
app.add_typer(cloud_app, name="cloud")


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
        answered(summary, json, f"Bundle:  {out}\nDigest:  {summary['digest']}\nGaps:    {len(summary['gaps'])}")
        raise typer.Exit(UNSEEN if summary["gaps"] else 0)


@app.command(epilog="Example: kit trust shop")
def trust(
    target: Annotated[str, typer.Argument(help="A name from kit.toml.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm without being asked.")] = False,
) -> None:
    """Look at the commands that a target's kit.toml would run, and confirm them, once per file."""
    with clear_errors():
        from kit.case.trusting import confirmed

        def confirm(lines: Sequence[str]) -> bool:
            tell("These commands would be run, without a shell:\n" + "\n".join(lines))
            return yes or (sys.stdin.isatty() and typer.confirm("May the kit run them?", err=True))

        typer.echo(harmless(confirmed(target, confirm)))


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
            print_json(records(frame))
        else:
            print_table(frame, limit)


@app.command(epilog="Example: kit collector --form psql > ask.sql     psql -X -f ask.sql -d service=shop > answer.txt")
def collector(
    form: Annotated[str, typer.Option(help="psql, paste (SQL editors, gcloud) or python (a job).")],
    vantage: Annotated[str | None, typer.Option(help="From where it will be asked, in words.")] = None,
    env: Annotated[str, typer.Option(metavar="NAME", help="Where a job finds its connection string.")] = "DATABASE_URL",
) -> None:
    """Print one file that asks the same questions where the kit cannot go; `kit import` reads its answer."""
    with clear_errors():
        from kit.collect.forms.printing import collector as printed

        sys.stdout.write(printed(form, vantage=vantage, environment=env))


@app.command("import", epilog="Example: kit import answer.txt --out bundles/shop-0312")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What a collector printed; of other databases of the server, behind.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The new folder of the bundle.")],
    target: Annotated[str | None, typer.Option("--target", help="The name of what was asked, in kit.toml or not.")] = None,
    cloud: CloudOption = None,
    json: JsonOption = False,
) -> None:
    """Make a bundle of the answers of a collector. Exit status: 0 all came, 3 something is missing."""
    with clear_errors():
        from kit.case.importing import import_files

        summary = import_files(files, out, target, cloud)
        missing = [f"  {gap['evidence']}: {gap['reason']}" for gap in summary["gaps"]]
        words = [f"Bundle:  {out}", f"Digest:  {summary['digest']}", f"Vantage: {summary['vantage']}", f"Gaps:    {len(missing)}"]
        answered(summary, json, harmless("\n".join([*words, *missing])))
        raise typer.Exit(UNSEEN if missing else 0)


@cloud_app.callback()
def cloud_commands() -> None:
    """What can be seen of a service's cloud project."""


@cloud_app.command("collect", epilog="Example: kit cloud collect --project shop-prod --service shop-api --out exports")
def cloud_collect(
    project: Annotated[str, typer.Option(help="The project's id.")],
    service: Annotated[list[str], typer.Option(help="A Cloud Run service; again for one to compare with.")],
    out: Annotated[Path | None, typer.Option(help="The new folder of the exports.")] = None,
    instance: Annotated[list[str], typer.Option(help="A Cloud SQL instance, besides those the services name.")] = [],  # noqa: B006
    region: Annotated[str | None, typer.Option(help="The services' region; left out, all are searched.")] = None,
    since: Annotated[str | None, typer.Option(help="The log's beginning, ISO 8601, UTC where unmarked; 7 days.")] = None,
    until: Annotated[str | None, typer.Option(help="The log's end.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Run read-only gcloud commands and keep their answers, masked, for --cloud. Exit status 3: not all could be seen."""
    with clear_errors():
        from kit.case import cloud_collecting

        asked = cloud_collecting.asked_for(project, service, instance, region, since, until)
        if dry_run:
            summary = cloud_collecting.printed_list(asked)
        else:
            summary = cloud_collecting.collected(asked, wanted(out, "--out", "exports"), tell)
        answered(summary.record, json, harmless(summary.words))
        raise typer.Exit(0 if summary.complete else UNSEEN)

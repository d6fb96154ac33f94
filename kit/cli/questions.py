"""Commands that answer one question: access, expected schema, a connection string."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.base import JsonOption, TargetOption, answered, app, print_json, wanted
from kit.cli.clear_errors import clear_errors, harmless
from kit.errors import ParameterError


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
            answer = answering.written(target, wanted(out, "--out"), source, [role] if role else ())
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
            print_json(answer.record)
        else:
            typer.echo(harmless(answer.words))
        raise typer.Exit(answer.status)


@app.command(epilog="Example: kit expect --target shop --as shop_api --schema db/expected.toml")
def expect(
    target: TargetOption,
    role: Annotated[str | None, typer.Option("--as", metavar="ROLE", help="The role that must be able to use it.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A TOML file, a dump (--schema-only), or a folder of migrations.")] = None,
    like: Annotated[str | None, typer.Option(metavar="TARGET", help="Or a second target that has it right.")] = None,
    source: Annotated[str | None, typer.Option(help="Which of the target's databases; left out, the first.")] = None,
    json: JsonOption = False,
) -> None:
    """Hold the schema against what is expected, before traffic is shifted. Exit status: 0 as expected, 1 not, 3 not examined."""
    with clear_errors():
        from kit.case.expecting import expect as held_against

        answer = held_against(target, role, schema, like, source)
        answered(answer.record, json, harmless(answer.words))
        raise typer.Exit(answer.status)


@app.command(epilog="Example: kit dsn --env DATABASE_URL --consumer sqlalchemy --instance acme:us-central1:shop-db")
def dsn(
    file: Annotated[Path | None, typer.Argument(help="A file that holds the string.", show_default=False)] = None,
    env: Annotated[str | None, typer.Option("--env", metavar="NAME", help="The environment variable that holds it.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input.")] = False,
    consumer: Annotated[
        str | None, typer.Option(help="Who reads it: psql, libpq, psycopg, psycopg2, sqlalchemy, asyncpg, prisma, node, jdbc.")
    ] = None,
    instance: Annotated[str | None, typer.Option(metavar="P:R:I", help="The Cloud SQL instance it should lead to.")] = None,
    in_container: Annotated[bool, typer.Option("--in-container", help="It is used inside a container.")] = False,
    connect: Annotated[bool, typer.Option("--connect", help="Then try it from here, step by step.")] = False,
    json: JsonOption = False,
) -> None:
    """Examine a connection string, offline but for --connect: masked, judged, corrected. Exit: 0 sound, 1 not, 3 unknown."""
    with clear_errors():
        from kit.case.examining import examined

        answer = examined(
            env=env, stdin=stdin, file=file, consumer=consumer, instance=instance, in_container=in_container, connect=connect
        )
        if json:
            print_json(answer.record)
        else:
            typer.echo(harmless(answer.words))
        raise typer.Exit(answer.status)

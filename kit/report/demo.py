"""The demos: a real server, a staged incident, and the same run as for any other case."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from kit.case import folders
from kit.case.judging import Question
from kit.case.judging import stated as hypotheses
from kit.errors import ParameterError
from kit.report.runner import Order, Report, run
from kit.sandbox import incidents, shop
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve

CASE = "demo"
# What each staged incident shows first: the variant in which it was met.
FIRST = {"c": "failing", "d": "after_grant", "e": "failing"}
VANTAGE = "this machine, over the server's socket"


def run_demo(reports: Path | None, *, keep: bool, tell: Callable[[str], None], incident: str = "a") -> Report:
    """Stage the incident on a new server, make `reports/demo/`, and stop the server (or leave it, with `keep`).

    `incident` is a, c, d or e (the report of the others is `reports/demo-c/` and so on); ParameterError for another.
    """
    if incident != "a":
        return _run_incident(incident.lower(), reports, keep, tell)
    tell("Starting a PostgreSQL server and staging an incident on it …")
    with sandbox.running() as server, tempfile.TemporaryDirectory(prefix="kit-exports-") as exports:
        now = datetime.now(UTC)
        staged = shop.stage(server, now)
        shop.write_cloud_exports(Path(exports), now, staged.secrets)
        with shop.held_sessions(server, staged):
            report = run(order_of(staged, Path(exports), folders.reports_folder(reports), tell))
        if keep:
            _keep(server, tell)
    return report


def _run_incident(name: str, reports: Path | None, keep: bool, tell: Callable[[str], None]) -> Report:
    if name not in FIRST:
        raise ParameterError("There is no such staged incident.", f"Known: a, {', '.join(FIRST)}.")
    tell(f"Starting a PostgreSQL server and web services, and staging incident {name.upper()} on them …")
    with (
        tempfile.TemporaryDirectory(prefix="kit-incident-") as folder,
        incidents.staged(name, FIRST[name], Path(folder)) as staged,
    ):
        with _environment({**staged.environment, "KIT_CONFIG": str(Path(folder) / "kit.toml")}):
            target = resolve(staged.target)
            question = Question(f"{CASE}-{name}", staged.symptom, hypotheses=hypotheses(target))
            report = run(Order(question, target, folders.reports_folder(reports), secrets=staged.secrets, tell=tell))
        if keep:
            _keep(staged.server, tell)
    return report


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables meanwhile: the connection strings of an incident stand where the services would have them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _keep(server: Server, tell: Callable[[str], None]) -> None:
    kept = server.keep()
    tell(f"The server was left running. Connect: {kept.connect}\nStop it:  {kept.stop}")


def order_of(staged: shop.Shop, exports: Path, reports: Path, tell: Callable[[str], None]) -> Order:
    """Return the order for a staged shop: asked as the least-privilege role, with the cloud exports beside it."""
    target = Target(staged.database, (DatabaseSource("database", staged.kit_dsn, VANTAGE),), cloud=exports)
    question = Question(case=CASE, symptom=staged.symptom, since=staged.since, until=staged.until)
    return Order(question, target, reports, secrets=tuple(staged.secrets), tell=tell)

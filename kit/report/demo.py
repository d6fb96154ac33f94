"""The demo: a real server, a staged incident, and the same run as for any other case."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kit.case import folders
from kit.case.judging import Question
from kit.report.runner import Order, Report, run
from kit.sandbox import server as sandbox
from kit.sandbox import shop
from kit.target import DatabaseSource, Target

CASE = "demo"
VANTAGE = "this machine, over the server's socket"


def run_demo(reports: Path | None, *, keep: bool, tell: Callable[[str], None]) -> Report:
    """Stage the incident on a new server, make `reports/demo/`, and stop the server (or leave it, with `keep`)."""
    tell("Starting a PostgreSQL server and staging an incident on it …")
    with sandbox.running() as server, tempfile.TemporaryDirectory(prefix="kit-exports-") as exports:
        now = datetime.now(UTC)
        staged = shop.stage(server, now)
        shop.write_cloud_exports(Path(exports), now, staged.secrets)
        with shop.held_sessions(server, staged):
            report = run(order_of(staged, Path(exports), folders.reports_folder(reports), tell))
        if keep:
            kept = server.keep()
            tell(f"The server was left running. Connect: {kept.connect}\nStop it:  {kept.stop}")
    return report


def order_of(staged: shop.Shop, exports: Path, reports: Path, tell: Callable[[str], None]) -> Order:
    """Return the order for a staged shop: asked as the least-privilege role, with the cloud exports beside it."""
    target = Target(staged.database, (DatabaseSource("database", staged.kit_dsn, VANTAGE),), cloud=exports)
    question = Question(case=CASE, symptom=staged.symptom, since=staged.since, until=staged.until)
    return Order(question, target, reports, secrets=tuple(staged.secrets), tell=tell)

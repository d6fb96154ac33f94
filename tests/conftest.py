"""Real servers for the tests: one embedded server a session, a fresh database a test, one staged shop."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.sandbox import server as sandbox
from kit.sandbox import shop
from kit.sandbox.server import Server
from tests.browser import browser, context

__all__ = ["browser", "context"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One embedded PostgreSQL for the whole session; every test has a database of its own."""
    with sandbox.running() as running:
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """A fresh, empty database; it is dropped when the test ends, with whoever is still connected."""
    name = f"test_{next(_numbers)}"
    server.create_database(name)
    yield name
    server.execute(f"drop database if exists {name} with (force)")


@dataclass(frozen=True)
class Staged:
    """The staged shop on a server of its own, with its sessions held and its cloud exports written."""

    server: Server
    shop: shop.Shop
    exports: Path


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    """The demo's incident, staged once; tests may read it and must not change it."""
    with staged_shop(tmp_path_factory.mktemp("exports")) as found:
        yield found


@contextlib.contextmanager
def staged_shop(exports: Path, **options: object) -> Iterator[Staged]:
    """Stage the shop on a new server (options as `sandbox.running` takes them) and hold its sessions."""
    with sandbox.running(**options) as running:  # type: ignore[arg-type]
        now = datetime.now(UTC)
        found = shop.stage(running, now)
        shop.write_cloud_exports(exports, now, found.secrets)
        with shop.held_sessions(running, found):
            yield Staged(running, found, exports)


# Whole incidents, faults of runs, failing connections, poolers and connectors: minutes in all, and so `make test-slow`.
SLOW = {
    "test_cloudsql_connector",
    "test_collector_runs",
    "test_connection_failures",
    "test_diff_command",
    "test_gate",
    "test_healthy_target",
    "test_incident_c",
    "test_incident_d",
    "test_incident_e",
    "test_runner_faults",
    "test_saturation",
    "test_unreached_targets",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)

"""Every check against the defect it is for, on a real server: clean, provoke, found, apply the printed remedy, clean.

`tests/provoke/<check id>.py` holds `provoke(server, database)`, a context manager that makes the defect and yields a
dictionary: `expected` (fingerprints), and where needed `absent` (what is like it and no defect), `thresholds`, `symptom`,
`conninfo` (to ask with), `poolers` (beside the database), `extra` (evidence that the case brings), `kept` (roles with a
statement that each may run before and after the repair), `behind` (the words of a remedy that its statements stand behind),
and `repair` where the remedy is words only: it may return the connection string to ask with afterwards.
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from kit.analyze.findings import Finding, Result
from kit.analyze.probes import propose
from kit.analyze.symptom import parse_symptom, symptom_evidence
from kit.checks import judge, registry
from kit.collect.capture import capture
from kit.collect.queries import probes
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

FOLDER = Path(__file__).parent / "provoke"
IDS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
# Statistics reach the shared counters, and ended sessions leave the lists, within this time.
PATIENCE_SECONDS = 10.0


def test_every_check_of_a_database_has_its_script() -> None:
    wanted = {check.id for check in registry().values() if check.source == "postgres"}
    assert wanted <= set(IDS)
    assert set(IDS) <= set(registry())


@pytest.mark.parametrize("check", IDS)
def test_clean_provoked_found_repaired_clean(check: str, server: Server, database: str) -> None:
    assert findings(check, server.dsn(database), {}) == {}
    with script(check).provoke(server, database) as given:
        conninfo = given.get("conninfo", server.dsn(database))
        expected = set(given["expected"])
        found = until(lambda: findings(check, conninfo, given), lambda found: expected <= set(found))
        assert expected <= set(found)
        assert not set(given.get("absent", ())) & set(found)
        described(found[name] for name in expected)
        allowed(server, database, given)
        conninfo = repaired(server, database, given, [found[name] for name in sorted(expected)]) or conninfo
        left = until(lambda: findings(check, conninfo, given), lambda left: not expected & set(left))
        assert not expected & set(left)
        allowed(server, database, given)


def script(check: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"provoke_{check}", FOLDER / f"{check}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def findings(check: str, conninfo: str, given: dict[str, Any]) -> dict[str, Finding]:
    return {finding.fingerprint: finding for finding in judged(check, conninfo, given).findings}


def judged(check: str, conninfo: str, given: dict[str, Any]) -> Result:
    known = frozenset(probes())
    target = Target("provoked", (DatabaseSource("database", conninfo),), poolers=given.get("poolers", ()))
    taken = capture(target, propose=lambda frames: propose(frames, known))
    thresholds = {f"{check}.{name}": value for name, value in given.get("thresholds", {}).items()}
    symptom = symptom_evidence(parse_symptom(given.get("symptom")), taken.started_at)
    results = judge(taken, thresholds, {"symptom": symptom, **given.get("extra", {})})
    result = next(result for result in results if result.check == check)
    assert result.status != "failed", result.reason
    return result


def repaired(server: Server, database: str, given: dict[str, Any], found: list[Finding]) -> str | None:
    if "repair" in given:
        answer = given["repair"](server, database)
        return answer if isinstance(answer, str) else None
    # One by one, as psql would: VACUUM and CREATE INDEX CONCURRENTLY refuse a transaction.
    for remedy in dict.fromkeys(finding.remedy for finding in found):
        _, behind, statements = remedy.rpartition(given.get("behind", "\0"))
        for statement in statements.split("; " if behind else ";\n"):
            server.execute(statement, database)
    return None


def allowed(server: Server, database: str, given: dict[str, Any]) -> None:
    for role, statement in given.get("kept", ()):
        with server.connect(database, autocommit=False) as connection:
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            connection.execute(statement.encode())
            connection.rollback()


def described(found: Any) -> None:
    for finding in found:
        name, positions = finding.evidence
        assert name
        assert positions
        assert finding.message
        assert finding.remedy


def until(ask: Callable[[], dict[str, Finding]], is_right: Callable[[dict[str, Finding]], bool]) -> dict[str, Finding]:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_right(answer := ask()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer

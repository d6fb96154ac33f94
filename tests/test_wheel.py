"""The wheel, built here and installed into clean environments elsewhere: the core tier alone, and everything.

Installing needs the package index, so these tests run by `make test-wheel`, not by `make test`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit.sandbox.server import Server

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.wheel, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _installed(tmp_path_factory.mktemp("core tier"), str(wheel))


@pytest.fixture(scope="module")
def everything(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _installed(tmp_path_factory.mktemp("all tiers"), f"incident-kit[all] @ {wheel.as_uri()}")


def test_the_core_tier_captures_shows_and_lists(core: Path, server: Server, database: str):
    assert "kit run" in _ok(core, "run", "--help")
    assert len(json.loads(_ok(core, "checks", "--json"))) > 20
    assert json.loads(_ok(core, "show", "recorded", "bloat", "--json"))[0]["schema_name"]
    captured = _kit(core, "capture", "--target", server.dsn(database), "--out", "taken")
    assert captured.returncode in (0, 3), captured.stderr
    assert "error" not in _ok(core, "show", "taken", "roles").lower()


def test_the_core_tier_examines_strings_schemas_and_differences(core: Path, server: Server, database: str):
    (core / "url").write_text(server.dsn(database))
    (core / "expected.toml").write_text('[tables."pg_catalog.pg_class"]\n')
    assert json.loads(_ok(core, "dsn", "url", "--connect", "--json"))["connection"]["status"] == "connected"
    assert _kit(core, "expect", "--target", server.dsn(database), "--schema", "expected.toml").returncode in (0, 1)
    assert "kit_evidence" in _ok(core, "collector", "--form", "psql")
    assert _kit(core, "capture", "--target", server.dsn(database), "--out", "before").returncode in (0, 3)
    assert "EQUAL" in _kit(core, "diff", "before", "before").stdout
    (core / "kit.toml").write_text('[targets.shop]\ndsn = "user=app"\ncloudsql = "shop-prod:us-central1:main"\n')
    assert "pip install 'incident-kit[cloudsql]'" in _kit(core, "capture", "--target", "shop", "--out", "cloud").stderr


@pytest.mark.parametrize("words", [("run", "case", "--target", "taken"), ("demo",), ("lab", "case")])
def test_the_core_tier_names_the_command_that_adds_what_is_missing(core: Path, words: tuple[str, ...]):
    answer = _kit(core, *words)

    assert answer.returncode == 2
    assert re.search(r"pip install 'incident-kit\[\w+\]'", answer.stderr)
    assert "Traceback" not in answer.stderr


def test_everything_runs_the_demo_from_the_wheel(everything: Path):
    verdict = _ok(everything, "demo")

    assert "privileges" in verdict
    assert (everything / "reports" / "demo" / "report.html").is_file()
    assert str(everything) in _ok(everything, "lab", "demo", "--prepare-only", stderr=True)
    assert _kit(everything, "doctor").returncode == 0


def _installed(folder: Path, requirement: str) -> Path:
    """Make a clean environment in `folder`, pinned as the constraints are, and return the folder."""
    pins = [line.split(" \\")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1].isalnum()]
    (folder / "pins.txt").write_text("\n".join(pins))
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "environment"], check=True)
    python = folder / "environment" / "bin" / "python"
    install = [*uv, "pip", "install", "--quiet", "--python", python, "--constraint", folder / "pins.txt", requirement]
    subprocess.run(install, check=True, cwd=folder)
    return folder


def _kit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KIT_", "PYTHON", "VIRTUAL"))}
    command = [folder / "environment" / "bin" / "incident-kit", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _ok(folder: Path, *words: str, stderr: bool = False) -> str:
    answer = _kit(folder, *words)
    assert answer.returncode == 0, answer.stderr
    return answer.stderr if stderr else answer.stdout

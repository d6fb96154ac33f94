"""Running the kit's command line on incidents C, D and E as they are staged: what was printed, written and concluded."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kit.analyze.document import FindingEntry, FindingsDocument, ResultEntry
from kit.case import folders
from kit.cli import app
from kit.evidence import bundle
from kit.sandbox.incidents import Incident
from tests.run_support import working_copy


@dataclass(frozen=True)
class Run:
    """One `kit run`: its exit status, all that it printed, and the case's folder."""

    exit_status: int
    printed: str
    folder: Path

    @property
    def document(self) -> FindingsDocument:
        return FindingsDocument.model_validate_json((self.folder / "findings.json").read_text())

    def layers(self, status: str) -> list[str]:
        return [str(entry.layer) for entry in self.document.layers if entry.status == status]

    def found(self, check: str) -> list[FindingEntry]:
        return [finding for result, finding in self.document.findings() if result.check == check]

    def result(self, check: str) -> ResultEntry:
        return next(result for result in self.document.results if result.check == check)

    def held(self) -> tuple[str, list[str], int]:
        """Return verdict, broken layers and exit status, as truth.toml has them."""
        return self.document.verdict.status, self.layers("broken"), self.exit_status


def truth(name: str, variant: str) -> tuple[str, list[str], int]:
    """Return what the whole of a variant must show."""
    entry = tomllib.loads((files("kit.sandbox") / "staged" / f"incident_{name}" / "truth.toml").read_text())["whole"][variant]
    return entry["status"], entry["broken"], entry["exit"]


@contextmanager
def at(incident: Incident) -> Iterator[None]:
    """Stand where the incident's kit.toml is, with its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(incident.folder)
        patch.setenv("KIT_CONFIG", str(incident.folder / "kit.toml"))
        patch.delenv("PGPASSWORD", raising=False)
        for name, value in incident.environment.items():
            patch.setenv(name, value)
        yield


def kit(incident: Incident, *words: str) -> tuple[int, str]:
    """Return exit status and all that a command prints."""
    with at(incident):
        result = CliRunner().invoke(app, list(words))
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout + result.stderr


def run(incident: Incident, case: str, *options: str, notebook: str | None = None) -> Run:
    """Run the case with the symptom; without a notebook, with a working copy of triage that shows nothing."""
    folder = incident.folder / "reports" / case
    if notebook is None:
        working_copy(folder, "triage", "1")
    words = ("run", case, "--target", incident.target, "--symptom", incident.symptom, "--only", notebook or "triage", *options)
    exit_status, printed = kit(incident, *words)
    return Run(exit_status, printed, folder)


def leaks(incident: Incident, folder: Path, *printed: str) -> list[str]:
    """Return where a password stands: in a written file, in a frame of a capture, or in what was printed."""
    found = [str(path) for path in folder.rglob("*") if path.is_file() and _holds(path.read_bytes(), incident)]
    found += [f"{path}: frames" for path in folders.captures(folder) if _holds(_frames(path).encode(), incident)]
    return found + [text for text in printed if _holds(text.encode(), incident)]


def _holds(content: bytes, incident: Incident) -> bool:
    return any(secret.encode() in content for secret in incident.secrets)


def _frames(path: Path) -> str:
    taken = bundle.load(path)
    frames: list[Any] = [evidence.frame for source in taken.sources for evidence in source.evidence.values()]
    return os.linesep.join(frame.to_csv() for frame in frames)

"""Running a command of kit.toml: an argument list, no shell, bounded; its output is a secret, its fault one sentence."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.collect import masking
from kit.errors import CaptureError

COMMAND_SECONDS = 60.0
_LONGEST = 64 * 1024
# How the tools of the clouds say that somebody has to log in again, and the command that does it.
_EXPIRED = (
    (r"application.default|google\.auth\.exceptions|default credentials", "gcloud", "gcloud auth application-default login"),
    (
        r"gcloud auth login|reauthenticat|refreshing your current auth tokens|\(gcloud\..*valid credentials",
        "gcloud",
        "gcloud auth login",
    ),
    (r"az login|AADSTS\d+", "az", "az login"),
    (r"aws sso login|SSO session|error when retrieving token from sso", "aws", "aws sso login"),
    (r"ExpiredToken|RequestExpired|unable to locate credentials|security token .* (expired|invalid)", "aws", "aws sso login"),
    (r"tsh login|not logged in|certificate has expired", "tsh", "tsh login"),
)
_EXPIRY = re.compile(
    r"expired|invalid_grant|AADSTS|reauth|refreshing|log ?in|credentials|no active account|session", re.IGNORECASE
)


def printed(command: Sequence[str], folder: Path, what: str, seconds: float = COMMAND_SECONDS) -> str:
    """Return the one line that the command prints, without its line end; CaptureError, which never repeats it, where it fails."""
    process = _started(command, folder)
    try:
        output, said = process.communicate(timeout=seconds)
    except BaseException as error:
        _abandon(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        words = f"The command for the {what} ({command[0]}) gave no answer in {seconds:.0f} s."
        raise CaptureError(words, f"Run it by hand: {shlex.join(command)}") from None
    if process.returncode != 0:
        raise failed(command, said.decode("utf-8", "replace"), f"ended with status {process.returncode}", {_line(output)})
    return _one_line(output, command, what)


def _abandon(process: subprocess.Popen[bytes]) -> None:
    end_group(process, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()


def _started(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return start(command, folder, **pipes)


def start(command: Sequence[str], folder: Path, **pipes: Any) -> subprocess.Popen[bytes]:
    """Return the command, running in a process group of its own so that all of it can be ended; CaptureError if it cannot."""
    try:
        return subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)
    except OSError as error:
        words = f"The command {command[0]} cannot be run: {os.strerror(error.errno or 0)}."
        raise CaptureError(words, "Install it, or mend kit.toml.") from None


def end_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send the signal to the whole group of a command."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def failed(command: Sequence[str], said: str, how: str, secrets: set[str]) -> CaptureError:
    """Return the error of a command: an expired token with what renews it, else its last words, masked."""
    for pattern, tool, renewal in _EXPIRED:
        if re.search(pattern, said, re.IGNORECASE) and _EXPIRY.search(said):
            return CaptureError(f"The token of {tool} has expired, or nobody is logged in.", f"Run `{renewal}`, and try again.")
    lines = [line for line in said.splitlines() if line.strip()]
    last = masking.message(lines[-1], {secret for secret in secrets if secret}) if lines else "it said nothing"
    return CaptureError(f"The command {command[0]} {how}: {last}", f"Run it by hand: {shlex.join(command)}")


def _line(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()


def _one_line(output: bytes, command: Sequence[str], what: str) -> str:
    hint = f"It must print the {what} alone, on one line: {shlex.join(command)}"
    try:
        text = output.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CaptureError(f"The command for the {what} printed what is no text.", hint) from None
    if not text.strip() or len(output) > _LONGEST:
        raise CaptureError(f"The command for the {what} printed {'nothing' if not text.strip() else 'too much'}.", hint)
    if "\n" in text or "\r" in text or "\0" in text:
        raise CaptureError(f"The command for the {what} printed more than one line.", hint)
    return text

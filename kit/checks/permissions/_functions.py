"""Functions as the checks name them: by schema and name, all overloads in one."""

from __future__ import annotations

from collections.abc import Iterable

from kit.analyze.findings import Subject, quoted
from kit.analyze.service_roles import in_own_schema
from kit.checks.permissions._many import Row, placed
from kit.evidence.model import Frames

# Their bodies hold no names that a search_path would resolve.
_COMPILED = ("c", "internal")


def definer_functions(frames: Frames) -> list[Row]:
    """Return the SECURITY DEFINER functions that somebody wrote here, as records with their places in the evidence."""
    functions = frames["functions"]
    is_own = functions["extension_name"].isna() & in_own_schema(frames, functions["schema_name"])
    is_written = ~functions["language"].isin(_COMPILED)
    return placed(functions[functions["is_security_definer"].astype(bool) & is_own & is_written])


def subject(function: Row) -> Subject:
    """Return the subject that stands for all functions of the name."""
    return Subject(kind="function", name=function["function_name"], schema=function["schema_name"])


def signature(function: Row) -> str:
    """Return the function as SQL names it, with its arguments."""
    return f"{quoted(function['schema_name'])}.{quoted(function['function_name'])}({function['arguments']})"


def evidence(functions: Iterable[Row]) -> tuple[str, tuple[int, ...]]:
    """Return where the functions stand in the evidence."""
    return "functions", tuple(int(function["position"]) for function in functions)


def revoke(functions: Iterable[Row], grantees: Iterable[str]) -> str:
    """Return the statement that takes EXECUTE from the grantees; ROUTINE stands for functions and procedures."""
    return f"revoke execute on routine {', '.join(map(signature, functions))} from {', '.join(grantees)}"

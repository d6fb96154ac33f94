"""The explainer held against the server: every statement that it judges is really tried, as the role, and rolled back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from tests.access_oracle import compare

SEEDS = range(100, 103)


def verdicts(running: Server, seeds: Iterable[int]) -> int:
    compared = {seed: compare(running, seed) for seed in seeds}
    differences = [f"seed {seed}: {difference}" for seed, found in compared.items() for difference in found.differences]
    assert not differences, f"{len(differences)} differ, such as\n" + "\n".join(differences[:3])
    return sum(found.verdicts for found in compared.values())


def test_every_statement_is_judged_as_the_server_does(server: Server) -> None:
    assert verdicts(server, SEEDS) >= 20_000


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_every_statement_on_every_version(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(major)) as running:
        assert verdicts(running, SEEDS[:1]) >= 5_000

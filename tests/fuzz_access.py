"""Goes on comparing the access explainer with PostgreSQL on random catalogs, for as long as asked.

`make fuzz-access SECONDS=600`, or `SEEDS=109,200-220`, with `VERSION=13` to `18` for a server of the matrix.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator

from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from tests.access_oracle import Compared, compare

FIRST_SEED = 1_000


def main() -> int:
    """Return 1 where a single verdict differs from the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="end with the first seed after these (600)")
    parser.add_argument("--seeds", help="such as 109,200-220")
    parser.add_argument("--version", type=int, help="a major version of the matrix; else the embedded server")
    asked = parser.parse_args()
    version = f" VERSION={asked.version}" if asked.version else ""
    seeds = _seeds(asked.seeds) if asked.seeds else itertools.count(FIRST_SEED)
    deadline = time.monotonic() + (asked.seconds or (float("inf") if asked.seeds else 600))
    with _running(asked.version) as running:
        total = _compare_all(running, seeds, deadline, version)
    share = total.unknown / max(total.verdicts, 1)
    print(f"{total.verdicts} verdicts, {share:.4%} unknown, {total.remedies} remedies, {len(total.differences)} differences")
    return 1 if total.differences else 0


def _compare_all(running: Server, seeds: Iterable[int], deadline: float, version: str) -> Compared:
    total = Compared()
    for seed in itertools.takewhile(lambda _: time.monotonic() < deadline, seeds):
        started = time.monotonic()
        found = compare(running, seed)
        seconds = time.monotonic() - started
        print(
            f"seed {seed}: {found.verdicts} verdicts, {found.unknown} unknown, {len(found.differences)} differ, {seconds:.1f} s"
        )
        for difference in found.differences:
            print(f"  again: make fuzz-access SEEDS={seed}{version}\n  {difference}")
        sys.stdout.flush()
        total.verdicts += found.verdicts
        total.unknown += found.unknown
        total.remedies += found.remedies
        total.differences += found.differences
    return total


def _seeds(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@contextlib.contextmanager
def _running(version: int | None) -> Iterator[Server]:
    with sandbox.running(binaries.npm(version)) if version else sandbox.running() as running:
        yield running


if __name__ == "__main__":
    raise SystemExit(main())

"""`make bench`: ratios measured in one run on a catalog of 10,000 tables.

Prints the time of a capture, of psql for the same query files, of the matrix, of the server for the same verdicts, and of a
whole `kit run`; no number is a test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kit.analyze.access.matrix import matrix
from kit.case.collecting import collected
from kit.case.matrix import write_matrix
from kit.collect.queries import choose, fact_queries
from kit.evidence import bundle
from kit.evidence.model import Capture, Frames
from kit.report.running import order_of, run
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import resolve

CATALOG = Path(os.environ.get("KIT_BENCH_CATALOG", Path(__file__).parents[2] / "shared" / "bench" / "big_catalog.sql"))
TABLES = int(os.environ.get("KIT_BENCH_TABLES", "10000"))
ROUNDS = 3
ROW_ACTIONS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# The same verdicts by the server's own functions. DELETE is on no column.
VERDICTS = """
    select count(*) filter (where pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
      and (pg_catalog.has_table_privilege(r.oid, c.oid, '{action}') or {on_columns}))
    from pg_catalog.pg_roles as r
    cross join pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname ~ '^s_'
"""


def main() -> None:
    """Build the catalog, then time psql, the capture and the run, the best of some rounds each."""
    if not CATALOG.is_file() or shutil.which("psql") is None:
        sys.exit(f"The bench needs psql and {CATALOG} (or KIT_BENCH_CATALOG).")
    settings = {"max_locks_per_transaction": "1024"}
    with sandbox.running(settings=settings) as server, tempfile.TemporaryDirectory() as folder:
        server.create_database("bench")
        server.execute("create extension pg_stat_statements", "bench")
        _timed(f"building {TABLES} tables", lambda: _psql(server, "-v", f"tables={TABLES}", "-f", str(CATALOG)))
        psql, capture = _paired(
            lambda: _timed("psql, the same query files", lambda: _psql(server, *_files(server))),
            lambda: _timed("capture", lambda: _capture(server)),
        )
        whole = _timed("kit run, whole", lambda: _run(server, Path(folder)))
        matrix_ratio = _matrix(server, Path(folder))
        size = (Path(folder) / "bench" / "report.html").stat().st_size
    print(f"capture ÷ psql: {capture / psql:.2f} (goal ≤ 1.5)")
    print(f"matrix ÷ the server's own functions: {matrix_ratio:.3f} (goal ≤ 0.25)")
    print(f"kit run: {whole:.1f} s (goal ≤ 25), report.html {size / 1e6:.1f} MB")


def _paired(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    """Return the best time of each, taken by turns: a machine that slows down must not favour the first."""
    times = [(one(), other()) for _ in range(ROUNDS)]
    return min(first for first, _ in times), min(second for _, second in times)


def _timed(words: str, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(f"{words}: {seconds:.2f} s", flush=True)
    return seconds


def _psql(server: Server, *arguments: str) -> None:
    command = ["psql", "-X", "-q", "-A", "-t", "-o", os.devnull, "-v", "ON_ERROR_STOP=1"]
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
    subprocess.run([*command, *arguments, server.dsn("bench")], check=True, stdout=subprocess.DEVNULL, env=environment)


def _files(server: Server) -> list[str]:
    extensions = {"pg_stat_statements": "1.12"}
    chosen = [choose(variants, server.version, extensions) for variants in fact_queries().values()]
    files = [part for query in chosen if query for part in ("-f", str(query.path))]
    return ["-v", "pg_stat_statements_schema=public", *files]


def _matrix(server: Server, folder: Path) -> float:
    """Return the time of the matrix, from a bundle on, as a part of the server's time for the same verdicts."""
    bundle.save(_capture(server), folder / "bundle")
    frames = Frames(bundle.load(folder / "bundle").sources[0])
    wanted = {"actions": ROW_ACTIONS, "kinds": ("table",)}
    theirs, ours = _paired(
        lambda: _timed("the server's verdicts", lambda: [server.execute(_verdicts(name), "bench") for name in ROW_ACTIONS]),
        lambda: _timed("the matrix of the same", lambda: matrix(frames, **wanted)),
    )
    table = matrix(frames, **wanted)
    print(f"  {len(table):,} verdicts in {table.nbytes / 1e6:.0f} MB")
    file = folder / "matrix.parquet"
    _timed("making and writing it", lambda: write_matrix(frames, file, **wanted))
    print(f"  {file.stat().st_size / 1e6:.1f} MB of Parquet")
    _timed("all actions on all objects, written", lambda: write_matrix(frames, file))
    print(f"  {file.stat().st_size / 1e6:.1f} MB of Parquet")
    return ours / theirs


def _verdicts(action: str) -> str:
    on_columns = f"pg_catalog.has_any_column_privilege(r.oid, c.oid, '{action}')" if action != "DELETE" else "false"
    return VERDICTS.format(action=action, on_columns=on_columns)


def _capture(server: Server) -> Capture:
    return collected(resolve(server.dsn("bench")))


def _run(server: Server, reports: Path) -> None:
    dsn = server.dsn("bench")
    order = order_of("bench", dsn, None, None, None, (), (), (), None, reports, lambda words: print(f"  {words}", flush=True))
    report = run(order)
    print(f"  verdict after {report.verdict_seconds:.1f} s")


if __name__ == "__main__":
    main()

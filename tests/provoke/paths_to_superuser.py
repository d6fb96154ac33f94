"""A login role three grants away from the superuser, another one from programs on the server's machine."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "powers_alice, powers_batch, powers_plain, powers_dba, powers_team, powers_root"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role powers_root superuser;
        create role powers_dba; create role powers_team;
        create role powers_alice login; create role powers_batch login; create role powers_plain login in role pg_monitor;
        grant powers_root to powers_dba;
        grant powers_dba to powers_team;
        grant powers_team to powers_alice;
        grant pg_execute_server_program to powers_batch with admin option;
        """
    )
    try:
        yield {
            "expected": ("paths_to_superuser:role:powers_alice", "paths_to_superuser:role:powers_batch"),
            "absent": ("paths_to_superuser:role:powers_plain", "paths_to_superuser:role:powers_root"),
        }
    finally:
        server.execute(f"drop role {ROLES}")

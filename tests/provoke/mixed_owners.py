"""Tables of a migrator, but for one that a person made as postgres, a service's own, and a partition of a cron job's."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "mixed_migrator, mixed_service, mixed_deployer, mixed_owner"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role mixed_migrator login; create role mixed_service login;
        create schema "Mixed app" authorization mixed_migrator;
        create table "Mixed app".orders (order_id bigint);
        create table "Mixed app".lines (order_id bigint);
        create table "Mixed app".events (at date) partition by range (at);
        alter table "Mixed app".orders owner to mixed_migrator;
        alter table "Mixed app".lines owner to mixed_migrator;
        alter table "Mixed app".events owner to mixed_migrator;
        create table "Mixed app".events_2026 partition of "Mixed app".events
          for values from ('2026-01-01') to ('2027-01-01');
        create table "Mixed app"."By hand" (order_id bigint);
        create table "Mixed app".notes (note text);
        create table "Mixed app".cache (key text);
        alter table "Mixed app".cache owner to mixed_service;

        -- No problem: whoever acts as the owner inherits the other owner.
        create role mixed_owner; create role mixed_deployer login in role mixed_owner;
        create schema mixed_fine authorization mixed_owner;
        create table mixed_fine.orders (order_id bigint);
        create table mixed_fine.lines (order_id bigint);
        create table mixed_fine.cache (key text);
        alter table mixed_fine.orders owner to mixed_owner;
        alter table mixed_fine.lines owner to mixed_owner;
        alter table mixed_fine.cache owner to mixed_deployer;

        -- Its views belong to the extension, not to anybody's migrations.
        create schema mixed_extension;
        create table mixed_extension.orders (order_id bigint);
        alter table mixed_extension.orders owner to mixed_migrator;
        create table mixed_extension.spatial_ref_sys (srid integer);
        create extension pg_stat_statements schema mixed_extension;
        alter extension pg_stat_statements add table mixed_extension.spatial_ref_sys;
        """,
        database,
    )
    try:
        yield {
            "symptom": "ERROR: must be owner of table notes",
            "expected": ('mixed_owners:schema:"Mixed app"',),
            "absent": ("mixed_owners:schema:mixed_fine", "mixed_owners:schema:mixed_extension"),
        }
    finally:
        server.execute(f"drop owned by {ROLES} cascade; drop role {ROLES}", database)

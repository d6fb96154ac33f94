"""A service that may insert into tables, but not use the sequences of their defaults; identity columns need nothing."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "sequence_service, sequence_writers, sequence_gateway, sequence_reader"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role sequence_writers; create role sequence_service login;
        create role sequence_gateway login noinherit; create role sequence_reader login;
        grant sequence_writers to sequence_gateway;
        create schema "Sequence app"; create schema sequence_store; create schema identity_app;
        grant usage on schema "Sequence app", identity_app to sequence_service, sequence_writers, sequence_reader;
        create sequence sequence_store."Order numbers";
        create table "Sequence app".orders (
          order_id bigserial, number bigint default nextval('sequence_store."Order numbers"'), note text
        );
        create table identity_app.lines (line_id bigint generated always as identity, note text);
        grant insert (note) on "Sequence app".orders to sequence_service;
        grant insert on "Sequence app".orders to sequence_writers;
        grant insert on identity_app.lines to sequence_service, sequence_writers;
        grant select on "Sequence app".orders to sequence_reader;
        grant update on sequence sequence_store."Order numbers" to sequence_writers;
        """,
        database,
    )
    try:
        yield {
            "symptom": "ERROR: permission denied for sequence orders_order_id_seq",
            "expected": (
                'sequences_without_usage:role:"Sequence app".sequence_service',
                'sequences_without_usage:role:"Sequence app".sequence_writers',
                "sequences_without_usage:role:sequence_store.sequence_service",
            ),
            "absent": (
                "sequences_without_usage:role:identity_app.sequence_service",
                "sequences_without_usage:role:sequence_store.sequence_writers",
                'sequences_without_usage:role:"Sequence app".sequence_reader',
                'sequences_without_usage:role:"Sequence app".sequence_gateway',
            ),
        }
    finally:
        server.execute(f"drop owned by {ROLES} cascade; drop role {ROLES}", database)

"""Functions that run as the owner of a table with row security, and that everybody may call."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role anon; create role clinic_service login;
        create schema clinic;
        create table clinic."Patients" (patient_id bigint, name text);
        alter table clinic."Patients" enable row level security;
        create table clinic.opening_hours (day text);
        create function clinic.find(wanted text) returns setof text security definer set search_path = clinic, pg_temp
          language sql as $$ select name from "Patients" where name = wanted $$;
        create function clinic.find(wanted bigint, "the other" integer default 1) returns text security definer
          set search_path = clinic, pg_temp language plpgsql as $$ begin return (select name from "Patients"); end $$;
        create procedure clinic.clear() security definer set search_path = clinic, pg_temp
          language sql as $$ delete from clinic."Patients" $$;
        create function clinic.hours() returns bigint security definer set search_path = clinic, pg_temp
          language sql as $$ select count(*) from opening_hours $$;
        create function clinic.as_caller() returns bigint set search_path = clinic, pg_temp
          language sql as $$ select count(*) from "Patients" $$;
        create function clinic.closed() returns bigint security definer set search_path = clinic, pg_temp
          language sql as $$ select count(*) from "Patients" $$;
        create function clinic.log() returns trigger security definer set search_path = clinic, pg_temp
          language plpgsql as $$ begin perform 1 from "Patients"; return new; end $$;
        revoke execute on all routines in schema clinic from public;
        grant execute on function clinic.hours(), clinic.as_caller(), clinic.log() to public;
        grant execute on function clinic.find(text) to anon;
        grant execute on function clinic.find(bigint, integer) to public;
        grant execute on procedure clinic.clear() to public;
        grant usage on schema clinic to anon, clinic_service;
        """,
        database,
    )
    try:
        yield {
            "behind": "If not: ",
            "kept": (("clinic_service", "select clinic.find(1)"), ("clinic_service", "call clinic.clear()")),
            "expected": tuple(f"definer_functions:function:clinic.{name}" for name in ("find", "clear")),
            "absent": tuple(f"definer_functions:function:clinic.{name}" for name in ("hours", "as_caller", "closed", "log")),
        }
    finally:
        server.execute("drop schema clinic cascade; drop role anon, clinic_service", database)

"""What PostgreSQL's predefined roles give on every object of a kind, whatever its access list says.

PostgreSQL manual, 21.5 "Predefined Roles"; in the source `pg_class_aclmask_ext` and `pg_namespace_aclmask_ext`.
"""

from __future__ import annotations

from collections.abc import Mapping

GIVEN: Mapping[str, Mapping[str, frozenset[str]]] = {
    "pg_read_all_data": {"relation": frozenset({"SELECT"}), "schema": frozenset({"USAGE"})},
    "pg_write_all_data": {"relation": frozenset({"INSERT", "UPDATE", "DELETE"}), "schema": frozenset({"USAGE"})},
    "pg_maintain": {"relation": frozenset({"MAINTAIN"})},
}
# The privilege that pg_maintain gives, and the role itself.
MAINTAIN_SINCE = 170_000

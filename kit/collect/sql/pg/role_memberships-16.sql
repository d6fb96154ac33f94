-- title = "Role memberships"
-- grain = "one row per role, member and grantor"
-- group = "access"
-- since = 16
-- cost = "one scan of pg_auth_members"
-- [columns]
-- role_name = {dtype = "string", class = "identifier"}
-- member_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- has_admin_option = {dtype = "boolean"}
-- inherits = {dtype = "boolean"}
-- can_set = {dtype = "boolean"}
select
  r.rolname::pg_catalog.text as role_name,
  m.rolname::pg_catalog.text as member_name,
  -- NULL where the grantor was dropped
  g.rolname::pg_catalog.text as grantor_name,
  a.admin_option as has_admin_option,
  a.inherit_option as inherits,
  a.set_option as can_set
from pg_catalog.pg_auth_members as a
join pg_catalog.pg_roles as r on r.oid = a.roleid
join pg_catalog.pg_roles as m on m.oid = a.member
left join pg_catalog.pg_roles as g on g.oid = a.grantor
order by r.rolname, m.rolname, g.rolname;

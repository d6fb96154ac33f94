-- title = "Changes in the audit log"
-- grain = "one row per change: one per binding delta of an IAM change, one per long-running operation"
-- cost = "one scan of the window's entries of cloudaudit_googleapis_com_activity"
-- [columns]
-- at = {dtype = "datetime64[us, UTC]", unit = "time of the request"}
-- entry_id = {dtype = "string"}
-- actor = {dtype = "string", class = "identifier"}
-- api = {dtype = "string"}
-- method = {dtype = "string"}
-- resource = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string", unit = "deploy, delete, job run, iam grant, iam revoke, iam policy, secret version, service account key, database user, restart, build, setting"}
-- summary = {dtype = "string"}
-- status_code = {dtype = "Int64", unit = "google.rpc.Code of a request that failed; NULL where it did not"}
-- status_message = {dtype = "string", mask = "message"}
-- role = {dtype = "string", class = "identifier"}
-- member = {dtype = "string", class = "identifier"}
with entries as (
  select
    timestamp as requested_at,
    insertId as entry_id,
    protopayload_auditlog.authenticationInfo.principalEmail as actor,
    protopayload_auditlog.serviceName as api,
    protopayload_auditlog.methodName as method,
    protopayload_auditlog.resourceName as resource,
    protopayload_auditlog.requestJson as request,
    protopayload_auditlog.status.code as status_code,
    protopayload_auditlog.status.message as status_message,
    protopayload_auditlog.servicedata_v1_iam.policyDelta.bindingDeltas as deltas,
    operation.producer as operation_producer,
    coalesce(operation.id, insertId) as operation_id,
    -- an insertId is unique only together with its time
    if(operation.id is null, timestamp, null) as single_at
  from cloudaudit_googleapis_com_activity
  where timestamp >= @since and timestamp < @until
),
requests as (
  -- A sink delivers an entry at least once; a long-running operation logs its start and its end, and only the
  -- end knows how it went.
  select
    * except (status_code, status_message),
    max(nullif(status_code, 0)) over (partition by operation_producer, operation_id, single_at, method) as status_code,
    max(nullif(status_message, '')) over (partition by operation_producer, operation_id, single_at, method) as status_message,
    regexp_extract(method, r'[^./]+$') as verb,
    regexp_extract(resource, r'[^/]+$') as resource_name,
    coalesce(
      json_value(request, '$.service.spec.template.spec.containers[0].image'),
      json_value(request, '$.service.template.containers[0].image')
    ) as image
  from entries
  where true
  qualify row_number() over (partition by operation_producer, operation_id, single_at, method order by requested_at, entry_id) = 1
)
select
  requests.requested_at as `at`,
  requests.entry_id,
  requests.actor,
  requests.api,
  requests.method,
  requests.resource,
  case
    when delta.action = 'ADD' then 'iam grant'
    when delta.action = 'REMOVE' then 'iam revoke'
    when lower(verb) = 'setiampolicy' then 'iam policy'
    when api = 'run.googleapis.com' and regexp_contains(verb, r'^(Create|Replace|Update)(Service|Job)$') then 'deploy'
    when api = 'run.googleapis.com' and verb = 'RunJob' then 'job run'
    when api = 'run.googleapis.com' and regexp_contains(verb, r'^Delete') then 'delete'
    when api = 'secretmanager.googleapis.com' and regexp_contains(verb, r'SecretVersion$') then 'secret version'
    when api = 'iam.googleapis.com' and regexp_contains(verb, r'ServiceAccountKey$') then 'service account key'
    when regexp_contains(method, r'^cloudsql\.users\.') then 'database user'
    when regexp_contains(method, r'^cloudsql\.instances\.(restart|failover|promoteReplica|restoreBackup)$') then 'restart'
    when api = 'cloudbuild.googleapis.com' and regexp_contains(verb, r'^(CreateBuild|RunBuildTrigger)$') then 'build'
    else 'setting'
  end as kind,
  case
    when delta.action = 'ADD' then delta.role || ' granted to ' || delta.member
    when delta.action = 'REMOVE' then delta.role || ' revoked from ' || delta.member
    when image is not null then verb || ' of ' || resource_name || ', image ' || image
    else verb || coalesce(' of ' || resource_name, '')
  end as summary,
  requests.status_code,
  requests.status_message,
  delta.role,
  delta.member
from requests
left join unnest(requests.deltas) as delta
order by requests.requested_at, requests.entry_id, delta.action, delta.role, delta.member

set role settlement;
create table settlement.settlement_commands (
  command_id uuid primary key default gen_random_uuid(),
  payload jsonb not null,
  created_at timestamptz not null default now()
);
create table settlement.webhook_subscriptions (
  subscription_id bigint generated always as identity primary key,
  url text not null,
  is_active boolean not null default true
);
reset role;
analyze settlement.settlement_commands, settlement.webhook_subscriptions;

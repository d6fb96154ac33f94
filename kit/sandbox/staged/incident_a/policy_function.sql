set role migrator;
create function app.is_mine(address text) returns boolean stable language sql as 'select address like ''0x%''';
revoke execute on function app.is_mine from public;
reset role;
alter table app.siwe_nonces enable row level security;
create policy own on app.siwe_nonces using (app.is_mine(address));

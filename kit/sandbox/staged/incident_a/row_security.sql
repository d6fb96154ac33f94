alter table app.siwe_nonces enable row level security;

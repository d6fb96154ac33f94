alter table app.sessions add column platform_id text;

-- Who works with the backend: the service as people know it, another that somebody made, who migrates, and bystanders.
create role interspace_dev login;
create role interspace_app login;
create role interspace_password login;
create role migrator login;
create role reporting login;
create role login_support login;
create role administrator login createrole;

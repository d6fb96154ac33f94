-- One name with a comma in it, instead of two names.
alter role interspace_dev set search_path = 'app, public';

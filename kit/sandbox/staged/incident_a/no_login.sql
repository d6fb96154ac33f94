alter role interspace_dev nologin;

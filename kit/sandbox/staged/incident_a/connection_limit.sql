alter role interspace_dev connection limit 0;

"""PostgreSQL servers of the kit's own: temporary, private and gone when the work is done."""

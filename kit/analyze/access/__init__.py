"""PostgreSQL's access rules, over frames: who may do what, by which gate it fails, and the smallest remedy."""

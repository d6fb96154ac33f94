"""Evidence: typed frames with their provenance, and the bundle that keeps them on disk."""

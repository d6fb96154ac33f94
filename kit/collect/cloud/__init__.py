"""Cloud exports: collected by read-only commands or made by hand, read by their shape, masked, made into frames."""

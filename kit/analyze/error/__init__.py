"""What the text of an error or a log line says: its kind, its names, its session."""

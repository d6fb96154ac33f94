"""The hard thinking, pure: frames in, records out; no I/O, no clock."""

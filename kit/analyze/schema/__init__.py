"""The schema that a team expects, from a file, a dump or a second target, held against the one that is there."""

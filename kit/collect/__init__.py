"""The only room that talks to the outside: databases, cloud exports, log files."""

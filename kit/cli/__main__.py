"""`python -m kit.cli` is the command `kit`."""

from kit.cli import main

main()

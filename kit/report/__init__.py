"""Reports: the runner, the pages, the index, and the gate before publication."""

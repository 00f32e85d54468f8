"""One file a command: `add_arguments` declares it, `execute` does it and returns the exit code."""

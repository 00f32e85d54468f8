"""The error of a command that cannot start."""


class UsageError(Exception):
    """The command cannot start; the message says everything that is wrong."""

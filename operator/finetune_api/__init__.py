"""The contract between operator, trainer and command line: what a job is, says and reports.

Depends on pydantic and the standard library only. Nothing here reads a clock, a file, the
network or the environment.
"""

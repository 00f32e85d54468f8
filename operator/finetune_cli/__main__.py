"""Parses the command line and starts one command. Imports a command only when it is asked for."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from finetune_cli.usage import UsageError

COMMANDS = {"run": "run a job on this machine, without a cluster"}

EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 the job failed, 2 usage."""
    parser = argparse.ArgumentParser(prog="finetune", description="Fine-tune models from one job.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"finetune_cli.commands.{name}")
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    arguments = parser.parse_args(argv)
    module = importlib.import_module(f"finetune_cli.commands.{arguments.command}")
    try:
        code: int = module.execute(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return code


if __name__ == "__main__":
    sys.exit(main())

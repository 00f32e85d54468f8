"""`finetune-trainer`: supervise, rank, prepare, storage-agent, run.

Each branch imports only what it needs: the supervisor must stay small, so torch and the storage
clients live in its children. A user's mistake is one sentence, never a stack trace.
"""

import argparse
import sys
from pathlib import Path

from finetune_api.errors import JobError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="finetune-trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("supervise", help="run one pod of the gang (PID 1 of a training pod)")
    commands.add_parser("rank", help="one rank; started by a supervisor")
    commands.add_parser("prepare", help="check and tokenise the dataset, make the plan")
    commands.add_parser("storage-agent", help="storage calls of a supervisor, over stdin/stdout")
    run = commands.add_parser("run", help="prepare and train on this machine, without a cluster")
    run.add_argument("jobconfig", type=Path, help="JobConfig as JSON")
    run.add_argument("--workdir", type=Path, help="where models, data and checkpoints lie")
    return parser


def _dispatch(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "supervise":
            from finetune_trainer.gang.signals import hold_requests

            hold_requests()
            from finetune_trainer.gang.supervisor import main as supervise

            return supervise()
        case "storage-agent":
            from finetune_trainer.storage.agent import main as agent

            return agent()
        case "rank":
            from finetune_trainer.rank import main as rank

            return rank()
        case "prepare":
            from finetune_trainer.prepare import main as prepare

            return prepare()
        case _:
            from finetune_trainer.laptop.run import main as run

            return run(arguments.jobconfig, arguments.workdir)


def main() -> int:
    """Run a subcommand; its return value is the exit code."""
    arguments = _parser().parse_args()
    try:
        return _dispatch(arguments)
    except JobError as error:
        failure = error.failure()
        print(f"finetune-trainer: {failure.sentence()}", file=sys.stderr)  # noqa: T201
        return failure.code


if __name__ == "__main__":
    sys.exit(main())

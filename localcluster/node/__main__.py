"""`python -m localcluster.node`: one node as a program of its own."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from localcluster.node.agent import Agent, run_until
from localcluster.node.api import Api
from localcluster.node.process_runner import ProcessRunner, kill_below
from localcluster.node.runner import Runner


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localcluster.node", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of the node's pods")
    parser.add_argument("--reap", action="store_true", help="end all containers there, and exit")
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--images", type=Path, help="JSON: image → path, env, entrypoint")
    parser.add_argument("--script", type=Path, help="JSON rules: play containers, run none")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--cpu", default="64")
    parser.add_argument("--memory", default="64Gi")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    return parser


def capacity(gpus: int, cpu: str, memory: str) -> dict[str, str]:
    """What a node tells the scheduler; none of it is enforced."""
    result = {"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "500Gi"}
    return result | ({"nvidia.com/gpu": str(gpus)} if gpus else {})


async def _run(arguments: argparse.Namespace) -> None:
    runner: Runner
    if arguments.script:
        from localcluster.node.scripted import FileScript, ScriptedRunner

        runner = ScriptedRunner(FileScript(arguments.script))
    else:
        runner = ProcessRunner(arguments.images)
    agent = Agent(
        arguments.name,
        api=Api(arguments.kubeconfig),
        runner=runner,
        state=arguments.state.resolve(),
        capacity=capacity(arguments.gpus, arguments.cpu, arguments.memory),
        labels=dict(label.split("=", 1) for label in arguments.label),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_until(agent, stop)


def main() -> None:
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    arguments = _parser().parse_args()
    if arguments.reap:
        kill_below(arguments.state.resolve())
    else:
        asyncio.run(_run(arguments))


if __name__ == "__main__":
    main()

"""`python -m localcluster.node`: one node as a program of its own."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from localcluster.node.agent import Agent, run_until
from localcluster.node.api import Api
from localcluster.node.process_runner import ProcessRunner, kill_below
from localcluster.node.registration import node_capacity
from localcluster.node.runner import Runner
from localcluster.node.scripted import FileScript, ScriptedRunner


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


async def _run(arguments: argparse.Namespace) -> None:
    api = Api(arguments.kubeconfig)
    script = FileScript(arguments.script) if arguments.script else None
    runner: Runner = ScriptedRunner(script) if script else ProcessRunner(arguments.images)
    agent = Agent(
        arguments.name,
        api=api,
        runner=runner,
        state=arguments.state.resolve(),
        capacity=node_capacity(arguments.gpus, arguments.cpu, arguments.memory),
        labels=dict(label.split("=", 1) for label in arguments.label),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    silence = asyncio.create_task(script.obey_silence(api)) if script else None
    await run_until(agent, stop)
    if silence:
        silence.cancel()


def main() -> None:
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    arguments = _parser().parse_args()
    if arguments.reap:
        kill_below(arguments.state.resolve())
    else:
        asyncio.run(_run(arguments))


if __name__ == "__main__":
    main()

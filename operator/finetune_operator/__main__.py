"""`finetune-operator`: reads flags and environment once, connects the parts, runs until SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from pydantic.alias_generators import to_camel

from finetune_api.job import Storage
from finetune_operator import logs
from finetune_operator.health import Health
from finetune_operator.kube import FINETUNEJOBS, ApiError, Kube
from finetune_operator.lease import Alone, Elector, Leadership, LeaseLostError
from finetune_operator.metrics import Metrics
from finetune_operator.serving import Serving
from finetune_operator.settings import Settings
from finetune_operator.workqueue import Key

log = logging.getLogger("finetune.main")

EXIT_LEASE_LOST = 3
"""Not an error of this process: it starts again and stands by."""

DURATIONS = ("progress_interval", "status_interval", "sweep_interval", "patience", "stall_seconds")


def parser() -> argparse.ArgumentParser:
    """The flags."""
    default = Settings()
    flags = argparse.ArgumentParser(prog="finetune-operator", description="Runs FineTuneJobs.")
    add = flags.add_argument
    add(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this namespace; repeatable; all namespaces without it",
    )
    add(
        "--kubeconfig",
        type=Path,
        default=os.environ.get("KUBECONFIG") or None,
        metavar="FILE",
        help="default: $KUBECONFIG, else the pod's service account",
    )
    add("--trainer-image-cpu", default=default.trainer_image_cpu, metavar="IMAGE")
    add("--trainer-image-cuda", default=default.trainer_image_cuda, metavar="IMAGE")
    add(
        "--image-pull-policy",
        default=default.image_pull_policy,
        choices=["Always", "IfNotPresent", "Never"],
    )
    add(
        "--http",
        default=f"{default.http_host}:{default.http_port}",
        metavar="HOST:PORT",
        help="where /metrics, /healthz and /readyz are served (default %(default)s)",
    )
    add(
        "--lease",
        type=_lease,
        default=default.lease,
        metavar="NAMESPACE/NAME",
        help="the Lease that lets one of several operators work; without it this one is alone",
    )
    for name in DURATIONS:
        add(
            f"--{name.replace('_', '-')}",
            type=float,
            default=getattr(default, name),
            metavar="SECONDS",
            help="default %(default)s",
        )
    for name in ("endpoint", "region", "secret_name", "ca_secret_name"):
        add(
            f"--storage-{name.replace('_', '-')}",
            metavar="TEXT",
            help=f"spec.storage.{to_camel(name)} of jobs that leave it out",
        )
    add("--workers", type=int, default=default.workers, help="default %(default)s")
    add("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return flags  # fmt: skip


def settings_from(flags: argparse.Namespace) -> Settings:
    """The flags as settings."""
    host, _, port = flags.http.rpartition(":")
    return Settings(
        namespaces=tuple(flags.namespace),
        trainer_image_cpu=flags.trainer_image_cpu,
        trainer_image_cuda=flags.trainer_image_cuda,
        image_pull_policy=flags.image_pull_policy,
        storage=Storage(
            endpoint=flags.storage_endpoint,
            region=flags.storage_region,
            secret_name=flags.storage_secret_name,
            ca_secret_name=flags.storage_ca_secret_name,
        ),
        http_host=host.strip("[]") or Settings.http_host,
        http_port=int(port),
        workers=flags.workers,
        lease=flags.lease,
        **{name: getattr(flags, name) for name in DURATIONS},
    )


def _lease(text: str) -> Key | None:
    """Where the Lease is; nothing for an empty word, so that a chart may always name the flag."""
    namespace, slash, name = text.partition("/")
    if not text:
        return None
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME")
    return Key(namespace, name)


async def run(settings: Settings, kubeconfig: Path | None) -> int:
    """Connect, stand by until this process leads, serve until told to stop; the exit code."""
    _leave_on_signals()
    host, metrics = socket.gethostname(), Metrics()
    kube = await Kube.connect(kubeconfig, metrics)
    leadership: Leadership = Alone(metrics)
    if settings.lease is not None:
        leadership = Elector(kube, settings.lease, f"{host}_{token_hex(4)}", metrics)
    serving = Serving(settings, kube, metrics, leadership, host)
    health = Health(metrics, serving)
    try:
        port = await health.start(settings.http_host, settings.http_port)
        log.info("started", extra={"port": port, "namespaces": ",".join(settings.namespaces)})
        await _wait_for_crd(kube)
        health.is_standby = True
        await leadership.acquire()
        health.is_standby = False
        await _serve_while_leading(serving, leadership)
    except asyncio.CancelledError:
        log.info("told to stop before it led")
    except LeaseLostError as lost:
        log.error("stops, because another operator may lead now", extra={"why": str(lost)})
        return EXIT_LEASE_LOST
    finally:
        await serving.stop()
        await leadership.release()
        await health.close()
        await kube.close()
        log.info("stopped")
    return 0


def _leave_on_signals() -> None:
    """A process that waits leaves when it is told to, also as a container's first one, which no
    signal ends by default. While it serves, kopf's own handlers do that."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _serve_while_leading(serving: Serving, leadership: Leadership) -> None:
    holding = asyncio.create_task(leadership.hold())
    holding.add_done_callback(lambda _: serving.halt())
    running = asyncio.create_task(serving.run())
    try:
        await asyncio.wait({holding, running}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, holding):
            task.cancel()
        results = await asyncio.gather(running, holding, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _wait_for_crd(kube: Kube) -> None:
    """kopf looks for the kinds once: wait until the API server serves ours."""
    is_told = False
    while True:
        with contextlib.suppress(ApiError):
            if await kube.serves(FINETUNEJOBS):
                return
        if not is_told:
            log.warning("waiting for the API server to serve finetunejobs.finetune.dev")
            is_told = True
        await asyncio.sleep(1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    flags = parser().parse_args(arguments)
    logs.configure(flags.log_level)
    sys.exit(asyncio.run(run(settings_from(flags), flags.kubeconfig)))


if __name__ == "__main__":
    main()

"""`finetune-operator`: reads flags and environment once, connects the parts, runs until SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from pydantic.alias_generators import to_camel

from finetune_api.job import Storage
from finetune_operator import handlers, logs
from finetune_operator.apply import Applier
from finetune_operator.cache import Cache
from finetune_operator.events import Recorder
from finetune_operator.health import Health
from finetune_operator.kube import FINETUNEJOBS, ApiError, Kube
from finetune_operator.metrics import Metrics
from finetune_operator.observe import Observer
from finetune_operator.progress_pull import Puller
from finetune_operator.reconcile import Reconciler
from finetune_operator.settings import Settings
from finetune_operator.workqueue import WorkQueue

log = logging.getLogger("finetune.main")


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
    for name in ("progress_interval", "status_interval", "patience", "stall_seconds"):
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
        progress_interval=flags.progress_interval,
        status_interval=flags.status_interval,
        patience=flags.patience,
        stall_seconds=flags.stall_seconds,
    )


async def run(settings: Settings, kubeconfig: Path | None) -> None:
    """Connect the parts, watch until told to stop, take everything down again."""
    metrics, queue, cache, ready = Metrics(), WorkQueue(), Cache(), asyncio.Event()
    kube = await Kube.connect(kubeconfig, metrics)
    puller = Puller(settings.progress_interval, metrics, queue.add)
    reconciler = Reconciler(
        settings=settings,
        queue=queue,
        cache=cache,
        observer=Observer(cache, kube, settings),
        applier=Applier(kube, cache, metrics, settings),
        recorder=Recorder(kube, socket.gethostname()),
        puller=puller,
        metrics=metrics,
    )
    workers = [asyncio.create_task(reconciler.work()) for _ in range(settings.workers)]
    is_stopping = False

    async def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        queue.close()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await puller.close()

    health = Health(
        metrics,
        queue,
        is_ready=ready.is_set,
        working=lambda: is_stopping or not any(worker.done() for worker in workers),
    )
    try:
        port = await health.start(settings.http_host, settings.http_port)
        log.info("started", extra={"port": port, "namespaces": ",".join(settings.namespaces)})
        await _wait_for_crd(kube)
        registry = handlers.registry(cache, queue, metrics, on_cleanup=stop)
        await handlers.watch(settings, registry, ready=ready)
    finally:
        await stop()
        await health.close()
        await kube.close()
        log.info("stopped")


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
    if flags.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(flags.kubeconfig)
    asyncio.run(run(settings_from(flags), flags.kubeconfig))


if __name__ == "__main__":
    main()

"""What runs only while this process leads: the watches, the workers and the sweep."""

import asyncio

from finetune_operator import handlers
from finetune_operator.apply import Applier
from finetune_operator.cache import CACHED, Cache
from finetune_operator.events import Recorder
from finetune_operator.kube import Kube
from finetune_operator.lease import Leadership
from finetune_operator.metrics import Metrics
from finetune_operator.observe import Observer
from finetune_operator.progress_pull import Puller
from finetune_operator.reconcile import Reconciler
from finetune_operator.settings import Settings
from finetune_operator.sweep import Kind, Sweeper
from finetune_operator.workqueue import WorkQueue


class Serving:
    """The parts of an operator that act, connected."""

    def __init__(
        self, settings: Settings, kube: Kube, metrics: Metrics, leadership: Leadership, host: str
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._queue = WorkQueue()
        self._cache = Cache()
        self._puller = Puller(settings.progress_interval, metrics, self._queue.add)
        self._reconciler = Reconciler(
            settings=settings,
            queue=self._queue,
            cache=self._cache,
            observer=Observer(self._cache, kube, settings),
            applier=Applier(kube, self._cache, metrics, settings, leadership.is_held),
            recorder=Recorder(kube, host),
            puller=self._puller,
            metrics=metrics,
        )
        self._kube = kube
        self._sweeper: Sweeper | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._listed = asyncio.Event()
        self._is_stopping = False

    @property
    def is_listed(self) -> bool:
        """Whether all kinds have been listed, so that jobs are worked on."""
        return self._listed.is_set()

    async def run(self) -> None:
        """Serve until the process is told to stop."""
        for resource in CACHED:
            self._metrics.expect_sweeps(resource.plural, Kind)
        self._sweeper = Sweeper(
            self._kube,
            self._cache,
            self._queue,
            self._metrics,
            namespaces=self._settings.namespaces,
            interval=self._settings.sweep_interval,
        )
        work = [self._reconciler.work() for _ in range(self._settings.workers)]
        self._tasks = [asyncio.create_task(part) for part in (*work, self._sweeper.work())]
        registry = handlers.registry(
            self._cache,
            self._queue,
            self._metrics,
            credentials=self._kube.credentials,
            on_cleanup=self.stop,
        )
        await handlers.watch(self._settings, registry, ready=self._listed)

    def halt(self) -> None:
        """Begin nothing more, at once."""
        self._is_stopping = True
        self._queue.close()
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Take everything down."""
        self.halt()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._puller.close()

    def oldest_age(self) -> float:
        """How long the longest waiting job has waited for a worker."""
        return self._queue.oldest_age()

    def problem(self) -> str:
        """Why the process should be restarted; empty when it should not."""
        if self._is_stopping:
            return ""
        if any(task.done() for task in self._tasks):
            return "a worker has ended"
        if self._sweeper is not None and self._sweeper.is_stuck():
            return "the sweep does not end"
        return ""

    def measure(self) -> None:
        """Bring the gauges up to date, before a scrape."""
        self._metrics.queue_depth.set(self._queue.depth())
        self._metrics.queue_age.set(self._queue.oldest_age())
        if self._sweeper is not None:
            self._metrics.sweep_age.set(self._sweeper.age())

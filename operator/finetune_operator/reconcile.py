"""One pass over one job, from the queue: look, decide, do, write, tell.

A pass never learns what event caused it. Whatever goes wrong in it, the next one starts from what
is true by then.
"""

import asyncio
import logging
from time import perf_counter, time

from finetune_api.job import FineTuneJob
from finetune_api.names import PORT_HTTP
from finetune_api.status import FineTuneJobStatus
from finetune_operator.apply import Applier, StaleError
from finetune_operator.cache import Cache, Manifest
from finetune_operator.children import child_name, is_controlled_by, pod_view
from finetune_operator.events import Recorder
from finetune_operator.kube import FINETUNEJOBS, JOBS, PODS, ApiError
from finetune_operator.metrics import JobSeries, Metrics
from finetune_operator.observe import Observer
from finetune_operator.plan.decide import decide
from finetune_operator.plan.validate import read_job, read_status
from finetune_operator.progress_pull import Puller, Target
from finetune_operator.settings import Settings
from finetune_operator.status.display import is_over
from finetune_operator.status.transitions import events
from finetune_operator.workqueue import Key, WorkQueue

log = logging.getLogger("finetune.reconcile")

HELD_BACK = 45.0
"""Longest pause between two tries of a creation that is refused, in seconds and before jitter."""


class Reconciler:
    """The workers and what a pass needs."""

    def __init__(
        self,
        *,
        settings: Settings,
        queue: WorkQueue,
        cache: Cache,
        observer: Observer,
        applier: Applier,
        recorder: Recorder,
        puller: Puller,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._cache = cache
        self._observer = observer
        self._applier = applier
        self._recorder = recorder
        self._puller = puller
        self._metrics = metrics

    async def reconcile(self, key: Key) -> float | None:
        """One pass. When to look again, if nothing happens before."""
        # 1. Who is it about?
        manifest = self._cache.get(FINETUNEJOBS, key)
        if manifest is None:
            self._forget(key)
            return None
        # 2. What does it want, and what did we last say?
        job, problems = read_job(manifest, self._settings.storage)
        before = read_status(manifest)
        # 3. What does its gang say?
        progress = self._puller.follow(key, self._target(key, manifest, before))
        # 4. What is there?
        now = time()
        observed = await self._observer.observe(key, manifest, progress, now)
        # 5. What is to be done?
        decision = decide(job, problems, before, observed, self._settings, now)
        # 6. Do it, in order; the first hindrance ends the doing.
        is_held = False
        for action in decision.actions:
            assert job is not None
            child, finding = await self._applier.apply(action, key, manifest, job, now)
            if finding is None:
                self._observer.created(key, child)
                continue
            self._observer.found(key, child, finding)
            if child not in observed.findings:
                self._queue.add(key)  # Decide again, knowing it, before anything is written.
                return None
            is_held = True
            break
        # 7. Write the status, if it differs.
        after = decision.status
        is_written = await self._applier.write_status(key, manifest, before, after)
        if is_written:
            self._observer.refreshed(key, now)
            self._log(key, manifest, after)
            # 8. Tell the transitions that were written.
            for event in events(before, after):
                await self._recorder.tell(manifest, event, now)
        # 9. Expose it.
        self._metrics.jobs.jobs[key] = series(job, after)
        # 10. When to look again?
        return self._next_look(key, decision.wake_after, is_held)

    async def work(self) -> None:
        """Take keys from the queue for ever."""
        while True:
            key = await self._queue.get()
            started = perf_counter()
            result = "ok"
            try:
                wake = await self.reconcile(key)
                if wake is not None:
                    self._queue.add_after(key, wake)
            except asyncio.CancelledError:
                raise
            except StaleError as stale:
                result = "stale"
                log.info("looks again", extra={"job": str(key), "why": str(stale)})
                self._queue.add_failed(key)
            except ApiError as error:
                result = "conflict" if error.is_conflict or error.is_missing else "error"
                delay = self._queue.add_failed(key, at_least=error.retry_after)
                level = logging.INFO if result == "conflict" else logging.WARNING
                details = {"job": str(key), "error": str(error), "retry_in": round(delay, 1)}
                log.log(level, "pass not finished", extra=details)
            except Exception:
                result = "error"
                delay = self._queue.add_failed(key)
                details = {"job": str(key), "retry_in": round(delay, 1)}
                log.exception("pass failed", extra=details)
            finally:
                self._queue.done(key)
                self._metrics.pass_ended(result, perf_counter() - started)

    def _next_look(self, key: Key, wake: float | None, is_held: bool) -> float | None:
        """A creation that was held back is tried again with the key's back-off, but often enough
        for a person who mends the reason to see it: no watch tells of a quota or a policy."""
        if is_held:
            self._queue.add_failed(key, at_most=HELD_BACK)
        else:
            self._queue.forget(key)
        return wake

    def _forget(self, key: Key) -> None:
        self._puller.forget(key)
        self._observer.forget(key)
        self._queue.forget(key)
        self._metrics.jobs.jobs.pop(key, None)

    def _target(self, key: Key, manifest: Manifest, status: FineTuneJobStatus) -> Target | None:
        """Index 0's living pod, if it is one of our train Job's."""
        train = self._cache.get(JOBS, Key(key.namespace, child_name("train", key.name)))
        is_ours = train is not None and is_controlled_by(train, manifest["metadata"]["uid"])
        if train is None or not is_ours or is_over(status.conditions):
            return None
        for document in self._cache.children(PODS, key):
            if not is_controlled_by(document, train["metadata"]["uid"]):
                continue
            pod = pod_view(document)
            if pod.index == 0 and pod.ip and not pod.has_ended:
                host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
                return Target(pod.uid, f"http://{host}:{PORT_HTTP}/progress")
        return None

    def _log(self, key: Key, manifest: Manifest, status: FineTuneJobStatus) -> None:
        display = status.display
        details = {
            "job": str(key),
            "generation": manifest["metadata"].get("generation"),
            "state": display.status if display else "",
            "reason": display.reason if display else "",
        }
        log.info("status written", extra=details)


def series(job: FineTuneJob | None, status: FineTuneJobStatus) -> JobSeries:
    """What metrics say about a job."""
    display = status.display
    return JobSeries(
        task=job.spec.task if job is not None else "",
        method=display.method if display else "",
        model=display.model if display else "",
        status=display.status if display else "",
        conditions={c.type: c.status == "True" for c in status.conditions if c.status != "Unknown"},
    )

"""Series about the operator (`finetune_operator_*`) and about jobs (`finetune_job_*`).

Operator counters never carry a job's name: such series would stay for ever. Job series are made
from a table at each scrape, so a deleted job leaves none behind.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_operator.workqueue import Key


@dataclass(frozen=True)
class JobSeries:
    """What is exposed of one job."""

    task: str
    method: str
    model: str
    status: str
    conditions: dict[str, bool] = field(default_factory=dict)


class JobCollector(Collector):
    """Series of the jobs that exist now."""

    def __init__(self) -> None:
        self.jobs: dict[Key, JobSeries] = {}

    def collect(self) -> Iterable[Metric]:
        """One info series a job, and one a condition that is known to hold or not."""
        info = GaugeMetricFamily(
            "finetune_job_info",
            "A job that exists; always 1.",
            labels=["namespace", "job", "task", "method", "model", "status"],
        )
        condition = GaugeMetricFamily(
            "finetune_job_condition",
            "1 if the condition is True, 0 if False; absent while Unknown.",
            labels=["namespace", "job", "type"],
        )
        for key, job in list(self.jobs.items()):
            info.add_metric([*key, job.task, job.method, job.model, job.status], 1)
            for kind, holds in job.conditions.items():
                condition.add_metric([*key, kind], float(holds))
        return [info, condition]


class Metrics:
    """All series of one operator process, on a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.jobs = JobCollector()
        self.registry.register(self.jobs)
        self._reconciles = Counter(
            "finetune_operator_reconciles_total", "Passes over a job, by result.",
            ["result"], registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "finetune_operator_reconcile_seconds", "Duration of a pass.",
            buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2, 10), registry=self.registry,
        )  # fmt: skip
        self._calls = Counter(
            "finetune_operator_api_requests_total", "API requests; code 0 is no answer.",
            ["verb", "resource", "code"], registry=self.registry,
        )  # fmt: skip
        self._call_seconds = Histogram(
            "finetune_operator_api_request_seconds", "Duration of API requests.",
            ["verb"], buckets=(0.005, 0.02, 0.05, 0.1, 0.5, 2, 10), registry=self.registry,
        )  # fmt: skip
        self._status_patches = Counter(
            "finetune_operator_status_patches_total", "Status patches that were accepted.",
            registry=self.registry,
        )  # fmt: skip
        self._watch_events = Counter(
            "finetune_operator_watch_events_total", "Objects seen by the watches.",
            ["resource", "type"], registry=self.registry,
        )  # fmt: skip
        self._pulls = Counter(
            "finetune_operator_progress_pulls_total", "Looks at a run's progress, by result.",
            ["result"], registry=self.registry,
        )  # fmt: skip
        self._sweeps = Counter(
            "finetune_operator_sweeps_total", "Comparisons of the cache with the API server.",
            ["result"], registry=self.registry,
        )  # fmt: skip
        self._differences = Counter(
            "finetune_operator_sweep_differences_total", "What watches had missed; 0 in health.",
            ["resource", "kind"], registry=self.registry,
        )  # fmt: skip
        self.sweep_age = Gauge(
            "finetune_operator_sweep_age_seconds", "Time since the last complete comparison.",
            registry=self.registry,
        )  # fmt: skip
        self.leader = Gauge(
            "finetune_operator_leader", "1 if this process leads, 0 if it stands by.",
            registry=self.registry,
        )  # fmt: skip
        self.queue_depth = Gauge(
            "finetune_operator_queue_depth", "Jobs that wait for a worker.", registry=self.registry
        )
        self.queue_age = Gauge(
            "finetune_operator_queue_oldest_seconds", "How long the longest waiting job waits.",
            registry=self.registry,
        )  # fmt: skip
        self.loop_lag = Gauge(
            "finetune_operator_loop_lag_seconds", "How late the event loop last was.",
            registry=self.registry,
        )  # fmt: skip

    def pass_ended(self, result: str, seconds: float) -> None:
        """Count a pass: `ok`, `conflict` or `error`."""
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def api_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self._calls.labels(verb, resource, str(code)).inc()
        self._call_seconds.labels(verb).observe(seconds)

    def status_patched(self) -> None:
        """Count an accepted status patch."""
        self._status_patches.inc()

    def watch_event(self, resource: str, kind: str) -> None:
        """Count an object that a watch delivered."""
        self._watch_events.labels(resource, kind).inc()

    def expect_sweeps(self, resource: str, kinds: Iterable[str]) -> None:
        """Show differences of these kinds as 0 until there is one."""
        for kind in kinds:
            self._differences.labels(resource, kind)

    def sweep_ended(self, result: str) -> None:
        """Count a sweep: `ok` or `error`."""
        self._sweeps.labels(result).inc()

    def sweep_difference(self, resource: str, kind: str) -> None:
        """Count something that a watch had missed."""
        self._differences.labels(resource, kind).inc()

    def progress_pulled(self, result: str) -> None:
        """Count a look at a run's progress: `ok`, `unreachable` or `unreadable`."""
        self._pulls.labels(result).inc()

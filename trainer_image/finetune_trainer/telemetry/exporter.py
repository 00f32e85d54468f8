"""Prometheus series of a training pod, read from the run's state at each scrape."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.gang.signals import resident_bytes
from finetune_trainer.gang.state import RunState

PREFIX = "finetune_training_"
LABELS = ("namespace", "job", "pod")
VALUES = {
    "loss": "Training loss of the last logged step",
    "learning_rate": "Learning rate of the last logged step",
    "grad_norm": "Gradient norm of the last logged step",
    "tokens_per_second": "Useful tokens a second over all ranks",
    "eval_loss": "Last validation loss",
}


class TrainingCollector:
    """Turns the state into series; keeps none of its own."""

    def __init__(self, config: JobConfig, state: RunState, pod: str) -> None:
        self._labels = (config.namespace, config.name, pod)
        self._state = state

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(PREFIX + name, text, labels=LABELS)
        family.add_metric(self._labels, value)
        return family

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]:
        """The series as of now."""
        state = self._state
        for name, text in VALUES.items():
            if name in state.metrics:
                yield self._gauge(name, text, state.metrics[name])
        yield self._gauge("step", "Optimizer steps done", state.step)
        yield self._gauge("total_steps", "Optimizer steps of the whole run", state.total_steps)
        yield self._gauge("epoch", "Passes over the training rows", float(state.epoch))
        yield self._step_seconds()
        yield self._gauge("checkpoint_step", "Step of the newest local save", state.local_step)
        yield self._gauge("checkpoint_bytes", "Bytes of this pod's last save", state.local_bytes)
        yield self._gauge("checkpoint_seconds", "Time of the last save", state.local_seconds)
        durable = state.durable.step if state.durable else 0
        yield self._gauge("durable_step", "Newest step that a resume can start from", durable)
        failing = state.upload_failing_since
        yield self._gauge(
            "upload_failing_seconds", "Since checkpoints could last be stored; 0 when they can",
            time.monotonic() - failing if failing is not None else 0,
        )  # fmt: skip
        yield self._gauge("pods", "Pods of the gang", state.pods)
        yield self._gauge("pods_joined", "Pods that have joined", state.pods_joined)
        yield self._gauge(
            "heartbeat_age_seconds", "Since any rank of this pod last moved",
            max(0.0, time.monotonic() - state.moved),
        )  # fmt: skip
        yield self._gauge(
            "supervisor_resident_bytes", "Memory of this pod's supervisor", resident_bytes()
        )
        yield self._stage()
        attempts = CounterMetricFamily(
            PREFIX + "attempts", "Attempts that ended, by class", labels=(*LABELS, "class")
        )
        counts: dict[str, int] = {}
        for record in state.ledger.records.values():
            if record.reason is not None:
                counts[str(record.reason)] = counts.get(str(record.reason), 0) + 1
        for reason, count in counts.items():
            attempts.add_metric((*self._labels, reason), count)
        yield attempts

    def _stage(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            PREFIX + "stage", "1 for the stage that the run is in", labels=(*LABELS, "stage")
        )
        for stage in Stage:
            family.add_metric((*self._labels, str(stage)), float(stage is self._state.stage))
        return family

    def _step_seconds(self) -> HistogramMetricFamily:
        seconds = self._state.step_seconds
        family = HistogramMetricFamily(
            PREFIX + "step_seconds", "Time of an optimizer step", labels=LABELS
        )
        family.add_metric(self._labels, buckets=seconds.buckets(), sum_value=seconds.total)
        return family


def training_registry(config: JobConfig, state: RunState, pod: str) -> CollectorRegistry:
    """A registry of these series alone."""
    registry = CollectorRegistry()
    registry.register(TrainingCollector(config, state, pod))
    return registry

"""What this pod knows about the run, gathered from events; told as a ProgressReport."""

import bisect
import itertools
import math
import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_api.exits import TERMINATION_LIMIT, Failure
from finetune_api.progress import (
    Artifacts,
    Attempt,
    BestStep,
    Checkpoint,
    EvaluationResult,
    MetricValue,
    ProgressReport,
    SeriesPoint,
    Stage,
)
from finetune_trainer.gang.ledger import Ledger, now_text

POINTS = 200
METRICS = 32


def thinned(points: list[SeriesPoint], limit: int = POINTS) -> list[SeriesPoint]:
    """At most ``limit`` points, evenly spread over the steps; the last stays, and the validation
    points up to half of the room."""
    if len(points) <= limit:
        return points
    kept = {p.step for p in points if p.eval_loss is not None and p.step != points[-1].step}
    kept = set(sorted(kept)[-limit // 2 :]) | {points[-1].step}
    first, last = points[0].step, points[-1].step
    spacing = (last - first) / (limit - len(kept) - 1)
    due = float(first)
    for point in points:
        if point.step >= due:
            kept.add(point.step)
            due = first + spacing * (int((point.step - first) / spacing) + 1)
    return [p for p in points if p.step in kept]


@dataclass
class StepSeconds:
    """A histogram of step times, and their mean of late: one slow step is no forecast."""

    bounds: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
    counts: list[int] = field(default_factory=lambda: [0] * 13)
    total: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def observe(self, seconds: float) -> None:
        """One step."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.total += seconds
        self.recent.append(seconds)

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, itertools.accumulate(self.counts), strict=True))


@dataclass
class RunState:
    """Mutable; written by the supervisor's event handlers only."""

    pods: int
    world_size: int
    stage: Stage = Stage.WAITING
    attempt: int = 0
    pods_joined: int = 0
    step: int = 0
    total_steps: int = 0
    epoch: str = "0"
    metrics: dict[str, float] = field(default_factory=dict)
    points: dict[int, SeriesPoint] = field(default_factory=dict)
    moved: float = field(default_factory=time.monotonic)
    local_step: int = 0
    local_bytes: int = 0
    local_seconds: float = 0.0
    durable: Checkpoint | None = None
    upload_failing_since: float | None = None
    sync_bytes: tuple[int, int] = (0, 0)
    ledger: Ledger = field(default_factory=Ledger)
    best: BestStep | None = None
    evaluation: list[EvaluationResult] = field(default_factory=list)
    forgetting: list[EvaluationResult] = field(default_factory=list)
    artifacts: Artifacts = field(default_factory=Artifacts)
    failure: Failure | None = None
    step_seconds: StepSeconds = field(default_factory=StepSeconds)
    recalled: ProgressReport | None = None
    """The report of a run that was finished before."""

    def on_metrics(self, event: Mapping[str, Any]) -> None:
        """Numbers of one step from rank 0."""
        self.step = int(event["step"])
        self.total_steps = int(event.get("totalSteps") or self.total_steps)
        self.epoch = str(event.get("epoch", self.epoch))[:32]
        values = {str(k)[:63]: float(v) for k, v in event.get("values", {}).items()}
        self.metrics.update(values)
        if math.isfinite(values.get("step_seconds", math.nan)):
            self.step_seconds.observe(values["step_seconds"])
            self.metrics["step_seconds"] = statistics.fmean(self.step_seconds.recent)
        old = self.points.get(self.step)
        loss = _text(values["loss"]) if "loss" in values else old.loss if old else None
        eval_loss = _text(values["eval_loss"]) if "eval_loss" in values else None
        if loss is None and self.points:
            loss = self.points[max(self.points)].loss
        if loss is not None:
            told = eval_loss or (old.eval_loss if old else None)
            self.points[self.step] = SeriesPoint(step=self.step, loss=loss, eval_loss=told)
        if len(self.points) > 4 * POINTS:
            self.points = {p.step: p for p in thinned(self.series(), 2 * POINTS)}

    def series(self) -> list[SeriesPoint]:
        """The curve in order."""
        return [self.points[step] for step in sorted(self.points)]

    def recall(self, stored: Mapping[str, Any], finished_at: str) -> None:
        """The run was finished before: what it came to is in its stored report, if that is
        readable."""
        self.stage = Stage.DONE
        try:
            self.recalled = ProgressReport.read(dict(stored)).model_copy(
                update={"stage": Stage.DONE, "finished_at": finished_at, "reported_at": now_text()}
            )
        except ValueError as error:
            print(f"its report cannot be read: {error}", flush=True)  # noqa: T201

    def restore(self, step: int, series: list[dict[str, Any]]) -> None:
        """Go back to ``step``: points above it will be computed again."""
        if not self.points:
            self.points = {int(p["step"]): SeriesPoint.model_validate(p) for p in series}
        self.points = {s: p for s, p in self.points.items() if s <= step}
        self.step = step

    def report(self) -> ProgressReport:
        """The report as of now."""
        if self.recalled is not None:
            return self.recalled
        return ProgressReport(
            stage=self.stage,
            attempt=self.attempt,
            pods_joined=self.pods_joined,
            pods=self.pods,
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            metrics=[MetricValue(name=k, value=_text(v)) for k, v in sorted(self.metrics.items())][
                :METRICS
            ],
            series=thinned(self.series()),
            heartbeat_age_seconds=round(max(0.0, time.monotonic() - self.moved), 1),
            reported_at=now_text(),
            checkpoint=self.durable,
            attempts=self.ledger.tail(),
            best=self.best,
            evaluation=self.evaluation,
            forgetting=self.forgetting,
            artifacts=self.artifacts,
            accounting=self.ledger.accounting(self.world_size),
            failure=self.failure,
        )


def _text(value: float) -> str:
    return f"{value:.6g}"


def termination_message(report: ProgressReport, limit: int = TERMINATION_LIMIT) -> str:
    """The report cut to what the kubelet keeps: the failure stays, detail goes first."""

    def short(attempt: Attempt, size: int) -> Attempt:
        return attempt.model_copy(update={"message": (attempt.message or "")[:size] or None})

    variants = [
        {"series": []},
        {"series": [], "attempts": [short(a, 160) for a in report.attempts[-5:]]},
        {"series": [], "attempts": [short(a, 80) for a in report.attempts[-2:]],
         "metrics": report.metrics[:8]},
        {"series": [], "attempts": [], "metrics": report.metrics[:4],
         "evaluation": report.evaluation[:4], "forgetting": report.forgetting[:2]},
        {"series": [], "attempts": [], "metrics": [], "evaluation": [], "forgetting": [],
         "artifacts": Artifacts()},
    ]  # fmt: skip
    text = ""
    for variant in variants:
        text = report.model_copy(update=variant).model_dump_json(by_alias=True, exclude_none=True)
        if len(text.encode()) <= limit:
            return text
    failure = report.failure
    cut = failure and failure.model_copy(
        update={"message": failure.message[:600], "remedy": failure.remedy[:200]}
    )
    last = report.model_copy(update={**variants[-1], "failure": cut, "checkpoint": None})
    return last.model_dump_json(by_alias=True, exclude_none=True)

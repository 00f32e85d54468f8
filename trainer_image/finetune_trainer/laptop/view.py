"""A run as lines for a person: stages, steps, checkpoints, restarts, and what came out.

Pure: progress reports in, lines out.
"""

from finetune_api.exits import FREE_CLASSES
from finetune_api.progress import ProgressReport, Stage

SHOW_SECONDS = 2.0
BEFORE = (Stage.WAITING, Stage.SYNC, Stage.BASELINE)
"""Stages in which the step is the one to go on from."""
_NAMES = {
    Stage.WAITING: "waiting for all pods",
    Stage.SYNC: "fetching model and data",
    Stage.BASELINE: "scoring the base model",
    Stage.TRAIN: "training",
    Stage.EVALUATE: "scoring the tuned model",
    Stage.EXPORT: "exporting the result",
    Stage.REPORT: "storing results",
    Stage.DONE: "done",
}


def _metric(report: ProgressReport, name: str) -> str | None:
    return next((m.value for m in report.metrics if m.name == name), None)


def step_line(report: ProgressReport) -> str:
    """One line about where training is."""
    width = len(str(report.total_steps))
    parts = [f"  step {report.step:>{width}} of {report.total_steps}"]
    if loss := _metric(report, "loss"):
        parts.append(f"loss {float(loss):.4f}")
    if loss := _metric(report, "eval_loss"):
        parts.append(f"validation {float(loss):.4f}")
    if rate := _metric(report, "learning_rate"):
        parts.append(f"lr {float(rate):.1e}")
    if speed := _metric(report, "tokens_per_second"):
        parts.append(f"{float(speed):,.0f} tokens/s")
    return "  ".join(parts)


class View:
    """Remembers what was said, so that each thing is said once."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._step = -1
        self._stepped = 0.0
        self._durable = 0
        self._attempts = 0

    def lines(self, report: ProgressReport, now: float) -> list[str]:
        """What is new in a report."""
        lines = []
        ended = [a for a in report.attempts if a.end is not None and a.number > self._attempts]
        for attempt in ended:
            self._attempts = attempt.number
            if attempt.message:
                free = "" if attempt.reason in FREE_CLASSES else ", one retry spent"
                lines.append(f"attempt {attempt.number} ended: {attempt.message}{free}")
        if report.stage is not self._stage:
            self._stage = report.stage
            lines.append(_NAMES.get(report.stage, str(report.stage)))
        last = report.step == report.total_steps or report.best is not None
        due = now - self._stepped >= SHOW_SECONDS or last
        moving = report.step and report.step != self._step and report.stage not in BEFORE
        if report.total_steps and moving and due:
            self._step, self._stepped = report.step, now
            lines.append(step_line(report))
        if report.checkpoint is not None and report.checkpoint.step > self._durable:
            self._durable = report.checkpoint.step
            size = report.checkpoint.bytes / 1e6
            if report.stage in BEFORE:
                lines.append(f"going on from step {self._durable}")
            else:
                lines.append(f"  checkpoint of step {self._durable} stored ({size:,.1f} MB)")
        return lines


def summary(report: ProgressReport, code: int) -> list[str]:
    """The last lines of a run."""
    lines = [
        f"{of}{row.metric}: base {row.base}, tuned {row.tuned} "
        f"(difference {row.interval}, {row.rows} rows)"
        for of, rows in (("", report.evaluation), ("general set, ", report.forgetting))
        for row in rows
    ]
    if report.best is not None:
        lines.insert(0, f"best step {report.best.step}: validation loss {report.best.loss}")
    if report.finished_at:
        lines.insert(0, f"this run finished at {report.finished_at}: nothing to do")
    results = report.artifacts.to_wire()
    lines += [f"{name}: {uri}" for name, uri in results.items()]
    if code and report.failure is not None:
        lines.append(report.failure.sentence())
    return lines

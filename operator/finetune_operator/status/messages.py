"""Sentences of conditions and events: what, which object, numbers with units, next step.

No sentence holds a duration that grows while nothing happens: each refresh would be a write.
"""

from finetune_api.progress import (
    Checkpoint,
    DataSummary,
    EvaluationResult,
    MetricValue,
    ProgressReport,
)
from finetune_api.status import Progress


def data_ready(data: DataSummary) -> str:
    """`48,120 rows (212 dropped: 190 duplicates, 22 empty), 31.4 M tokens, p95 812; report …`."""
    dropped = {reason: count for reason, count in data.dropped.items() if count}
    parts = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    lost = f" ({sum(dropped.values()):,} dropped: {parts})" if dropped else ""
    report = f"; report {data.report}" if data.report else ""
    tokens = f"{amount(data.tokens)} tokens"
    return f"{data.rows:,} rows{lost}, {tokens}, p95 {data.length_p95:,}{report}"


def training(report: ProgressReport) -> str:
    """`step 1240 of 2000, loss 1.043, 8,410 tokens/s, last report 6s ago`."""
    parts = [f"step {report.step} of {report.total_steps}"]
    loss = metric(report.metrics, "loss")
    if loss is not None:
        parts.append(f"loss {number(loss)}")
    speed = finite(metric(report.metrics, "tokens_per_second"))
    if speed is not None:
        parts.append(f"{speed:,.0f} tokens/s")
    parts.append(f"last report {duration(report.heartbeat_age_seconds)} ago")
    return ", ".join(parts)


def trained(progress: Progress) -> str:
    """`120 of 200 steps trained, step 90 kept (validation loss 0.412)`."""
    stopped = f"{progress.step} of " if 0 < progress.step < progress.total_steps else ""
    best = progress.best
    kept = f", step {best.step} kept (validation loss {number(best.loss)})" if best else ""
    return f"{stopped}{progress.total_steps} steps trained{kept}"


def checkpoint(saved: Checkpoint) -> str:
    """`step 1200, 3.1 GiB, saved 2026-11-22T11:04:18Z, verified`."""
    return f"step {saved.step}, {size(saved.bytes)}, saved {saved.saved_at}, verified"


def comparison(result: EvaluationResult) -> str:
    """`41.3% -> 63.9%`."""
    return f"{score(result.base)} -> {score(result.tuned)}"


def evaluated(results: list[EvaluationResult]) -> str:
    """`exact match 41.3% -> 63.9% on 500 rows`."""
    return "; ".join(
        f"{r.metric.replace('_', ' ')} {comparison(r)} on {r.rows:,} rows" for r in results
    )


def compared(results: list[EvaluationResult], forgetting: list[EvaluationResult]) -> str:
    """`exact match 41.3% -> 63.9% on 500 rows; of the general set: perplexity 8.1 -> 8.3 …`."""
    told = evaluated(results)
    return f"{told}; of the general set: {evaluated(forgetting)}" if forgetting else told


def pods_ready(ready: int, wanted: int) -> str:
    """`7 of 8 pods ready`."""
    return f"{ready} of {wanted} {plural('pod', wanted)} ready"


def plural(word: str, count: int) -> str:
    """The word, with an s unless there is one."""
    return word if count == 1 else f"{word}s"


def metric(values: list[MetricValue], name: str) -> str | None:
    """The text of a metric."""
    return next((value.value for value in values if value.name == name), None)


def finite(text: str | None) -> float | None:
    """A metric's text as a number; None when it is absent, not a number or not finite."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < float("inf") else None


def number(text: str) -> str:
    """A loss for people: three decimals, more when it is tiny, `nan` as it is."""
    value = finite(text)
    if value is None:
        return text
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2e}"


def score(text: str) -> str:
    """A score for people: shares as per cent, everything else as it is."""
    value = finite(text)
    return f"{value:.1%}" if value is not None and 0 <= value <= 1 else text


def amount(count: int) -> str:
    """`31.4 M`, `812`."""
    for limit, unit in ((1e9, " G"), (1e6, " M")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return f"{count:,}"


def size(count: int) -> str:
    """`3.1 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """`45s`, `47m`, `1h19m`, `2d3h`."""
    total = max(0, round(seconds))
    if total < 90:
        return f"{total}s"
    minutes = round(total / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24}h"

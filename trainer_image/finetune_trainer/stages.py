"""The stages of a rank beside training: baseline, evaluate, export."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.progress import Stage
from finetune_trainer import zero
from finetune_trainer.evaluate import compare, probe
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.model.export import export
from finetune_trainer.model.load import Classifier
from finetune_trainer.train import Session

BASELINE_VERSION = 1


def stop_requested(session: Session) -> bool:
    """Has this pod been asked to stop? Asked between batches of long passes."""
    return session.places.stop_request.exists()


def baseline(
    session: Session, classifier: Classifier, parts: dict[str, Rows]
) -> tuple[probe.Probe, NDArray[np.int64]]:
    """The probe (copied into the head by the caller) and the base's predictions of test rows.

    Kept in baseline/ and reused when it was made from the same data and model.
    """
    session.channel.stage(Stage.BASELINE)
    folder = session.places.baseline
    kept = _read(folder, session.job.fingerprint) if session.gang.is_main else None
    kept = session.gang.from_main(kept)
    if kept is None:
        kept = _measure(session, classifier, parts)
        if session.gang.is_main:
            _write(folder, session.job.fingerprint, kept)
            session.channel.artifact("baseline", folder)
    return probe.Probe(kept["weight"], kept["bias"]), kept["predicted"]


def _measure(session: Session, classifier: Classifier, parts: dict[str, Rows]) -> dict[str, Any]:
    """Features of all ranks, a probe by rank 0; the base's score is the better of two views."""
    gang, seed = session.gang, session.job.spec.training.seed
    options: dict[str, Any] = {
        "beat": lambda: session.channel.heartbeat(0),
        "stop": lambda: stop_requested(session),
        "autocast": session.autocast,
    }
    train = parts["train"]
    if len(train) > probe.MAX_ROWS:
        drawn = np.random.default_rng([seed, 4]).permutation(len(train))[: probe.MAX_ROWS]
        train = train.some(np.sort(drawn))
    used = {"train": train, "validation": parts["validation"], "test": parts["test"]}
    with zero.for_passes(session, classifier.model) as model:
        views = {
            name: probe.features(model, classifier.head, rows, gang, **options)
            for name, rows in used.items()
        }
    result = None
    if gang.is_main:
        result = _fit(classifier, used, views, lambda: session.channel.heartbeat(0))
    made: dict[str, Any] = gang.from_main(result)
    return made


def _fit(classifier: Classifier, used: dict[str, Rows], views: Any, beat: Any) -> dict[str, Any]:
    classes = classifier.model.config.num_labels
    has_bias = classifier.model.get_submodule(classifier.head).bias is not None
    labels = {name: rows.labels for name, rows in used.items()}
    scores, probes, predicted = {}, {}, {}
    for number, view in enumerate(("head", "mean")):
        probes[view] = probe.fit(
            views["train"][number], labels["train"],
            views["validation"][number], labels["validation"],
            classes=classes, intercept=has_bias or view == "mean",
            beat=beat,
        )  # fmt: skip
        predicted[view] = probes[view].predict(views["test"][number])
        scores[view] = compare.accuracy(labels["test"], predicted[view])
    better = max(scores, key=lambda view: scores[view])
    return {
        "weight": probes["head"].weight, "bias": probes["head"].bias,
        "predicted": predicted[better], "scores": scores, "better": better,
    }  # fmt: skip


def _write(folder: Path, fingerprint: str | None, made: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "probe.npz", weight=made["weight"], bias=made["bias"], predicted=made["predicted"]
    )
    document = {
        "version": BASELINE_VERSION, "fingerprint": fingerprint,
        "accuracy": made["scores"], "better": made["better"],
    }  # fmt: skip
    # Last: a folder without it is not a baseline.
    (folder / "baseline.json").write_text(json.dumps(document, indent=1))


def _read(folder: Path, fingerprint: str | None) -> dict[str, Any] | None:
    try:
        document = json.loads((folder / "baseline.json").read_text())
        arrays = np.load(folder / "probe.npz")
        if (document["version"], document["fingerprint"]) != (BASELINE_VERSION, fingerprint):
            return None
        return {name: arrays[name] for name in ("weight", "bias", "predicted")}
    except (OSError, ValueError, KeyError):
        return None


def evaluate(session: Session, model: Any, test: Rows, base: NDArray[np.int64]) -> None:
    """Tuned against base on the test rows; rank 0 tells and keeps every row's prediction."""
    session.channel.stage(Stage.EVALUATE)
    step = session.plan.steps
    scores = forward(
        model, test, session.gang, logits, autocast=session.autocast,
        beat=lambda: session.channel.heartbeat(step), stop=lambda: stop_requested(session),
    )  # fmt: skip
    if not session.gang.is_main:
        return
    tuned = scores.argmax(axis=1)
    seed = session.job.spec.training.seed
    result = compare.compare(test.labels, base, tuned, seed=seed)
    session.channel.evaluation(result.results)
    folder = session.places.report
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "predictions.npz", truth=test.labels, base=base, tuned=tuned, tuned_logits=scores
    )
    document = {
        "results": [entry.to_wire() for entry in result.results],
        "wins": result.wins, "ties": result.ties, "losses": result.losses,
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(document, indent=1))


def export_result(session: Session, model: Any, tokenizer: Any, labels: list[str]) -> None:
    """Rank 0 writes the adapter or the model and hands it to the supervisor."""
    session.channel.stage(Stage.EXPORT)
    full = session.job.spec.method.full is not None
    state = zero.whole_state(session, model, trained=not full)
    if session.gang.is_main:
        name = "model" if full else "adapter"
        folder = session.places.output / name
        export(model, tokenizer, labels, folder, state)
        session.channel.artifact(name, folder)
    session.gang.barrier()

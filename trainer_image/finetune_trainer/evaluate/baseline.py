"""The base's measurements, kept in baseline/ and used again by later attempts on the same data.

Rank 0 measures or reads them, and every rank gets them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.progress import Stage
from finetune_trainer import zero
from finetune_trainer.session import Session

VERSION = 2
Arrays = dict[str, NDArray[Any]]


def measured(
    session: Session,
    measure: Callable[[], tuple[Arrays, Mapping[str, Any]]],
    *,
    name: str = "baseline",
) -> Arrays:
    """The arrays that ``measure`` makes (on all ranks together), or made before under this name.

    ``measure`` also gives facts for people; both of its results count on rank 0 alone.
    """
    session.channel.stage(Stage.BASELINE)
    gang, folder, fingerprint = session.gang, session.places.baseline, session.job.fingerprint
    kept = gang.from_main(_read(folder, name, fingerprint) if gang.is_main else None)
    if kept is None:
        kept, facts = measure()
        if gang.is_main:
            _write(folder, name, fingerprint, kept, facts)
            session.channel.artifact("baseline", folder)
        kept = gang.from_main(kept)
    arrays: Arrays = kept
    return arrays


def passed(
    session: Session,
    model: Any,
    answer: Callable[[Any], Sequence[Any] | NDArray[Any]],
    called: str,
    *,
    name: str = "baseline",
) -> NDArray[Any]:
    """What ``answer`` makes of the base ``model``, one entry a row, kept as the array ``called``;
    before anything is trained."""

    def measure() -> tuple[Arrays, Mapping[str, Any]]:
        with zero.for_passes(session, model) as ready:
            found = np.asarray(answer(ready))
        return {called: found}, {"rows": len(found)}

    return measured(session, measure, name=name)[called]


def _write(
    folder: Path, name: str, fingerprint: str | None, arrays: Arrays, facts: Mapping[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **arrays)
    document = {"version": VERSION, "fingerprint": fingerprint, **facts}
    # Last: a folder without it is not a baseline.
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1))


def _read(folder: Path, name: str, fingerprint: str | None) -> Arrays | None:
    try:
        document = json.loads((folder / f"{name}.json").read_text())
        if (document["version"], document["fingerprint"]) != (VERSION, fingerprint):
            return None
        with np.load(folder / f"{name}.npz") as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError):
        return None

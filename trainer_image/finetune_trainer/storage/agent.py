"""The storage agent: a supervisor's storage calls in a child process.

It keeps boto3, obstore and their buffers out of the supervisor, and a transfer never delays a
heartbeat. JSON lines: `{"id", "op", "args"}` in; `{"id", "result" | "error" | "progress"}` out.
It ends when its input closes.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from finetune_api.errors import JobError
from finetune_api.exits import ExitClass
from finetune_trainer.config import credentials_folder, hub_token_folder, load_config, storage_ca
from finetune_trainer.storage import checkpoints
from finetune_trainer.storage.faults import DamagedObjectError, RefusedError, UnreachableError
from finetune_trainer.storage.objects import ObjectStore, open_store
from finetune_trainer.storage.plans import newest_plan
from finetune_trainer.storage.transfer import Progress, upload

CALLS_AT_ONCE = 6
PROGRESS_SECONDS = 0.5


class Calls:
    """What the supervisor can ask for; a method an operation, its arguments by name."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def read_json(self, progress: Progress, uri: str) -> Any:
        """A JSON object or null."""
        return self.store.read_json(uri)

    def write_json(
        self, progress: Progress, uri: str, document: dict[str, Any], if_absent: bool = False
    ) -> Any:
        """Whether it was written."""
        return self.store.write_json(uri, document, if_absent=if_absent)

    def list(self, progress: Progress, uri: str) -> Any:
        """Relative names below a folder."""
        return [o.key_relative for o in self.store.list(uri, required=False)]

    def newest_plan(self, progress: Progress, uri: str) -> Any:
        """Number and content of a run's newest plan."""
        return newest_plan(self.store, uri)

    def read_documents(self, progress: Progress, uri: str) -> Any:
        """All JSON objects directly below a folder."""
        return checkpoints.read_documents(self.store, uri)

    def upload_folder(self, progress: Progress, source: str, uri: str) -> Any:
        """Upload a result, manifest last."""
        return checkpoints.upload_folder(self.store, Path(source), uri)

    def upload(self, progress: Progress, source: str, uri: str) -> Any:
        """Upload a folder or file without a manifest."""
        return sum(r.size for r in upload(self.store, Path(source), uri, on_progress=progress))

    def upload_part(
        self, progress: Progress, source: str, uri: str, pod: int, attempt: int, step: int
    ) -> Any:
        """Upload this pod's part of a step."""
        return checkpoints.upload_part(
            self.store, Path(source), uri, pod=pod, attempt=attempt, step=step
        )

    def commit(
        self,
        progress: Progress,
        uri: str,
        pods: int,
        attempt: int,
        step: int,
        facts: dict[str, Any],
    ) -> Any:
        """Write a step's manifest."""
        return checkpoints.commit(
            self.store, uri, pods=pods, attempt=attempt, step=step, facts=facts
        )

    def fetch_folder(self, progress: Progress, uri: str, destination: str) -> Any:
        """Fetch a manifested folder."""
        return checkpoints.fetch_folder(self.store, uri, Path(destination), on_progress=progress)

    def fetch_model(self, progress: Progress, uri: str, destination: str) -> Any:
        """Fetch the base model."""
        return checkpoints.fetch_model(self.store, uri, Path(destination), on_progress=progress)

    def fetch_checkpoint(
        self, progress: Progress, uri: str, destination: str, first_rank: int, ranks: int,
        world_size: int, local: str,
    ) -> Any:  # fmt: skip
        """Fetch what this pod needs of a step."""
        return checkpoints.fetch_checkpoint(
            self.store, uri, Path(destination), ranks=range(first_rank, first_rank + ranks),
            world_size=world_size, local=Path(local), on_progress=progress,
        )  # fmt: skip

    def delete_step(self, progress: Progress, uri: str) -> Any:
        """Remove a step, its manifest first."""
        checkpoints.delete_step(self.store, uri)

    def abort_stale_uploads(self, progress: Progress, uri: str) -> Any:
        """Abort unfinished uploads of this run."""
        return self.store.abort_stale_uploads(uri)


def error_wire(error: BaseException) -> dict[str, Any]:
    """An error as it travels to the supervisor."""
    if isinstance(error, JobError):
        kind = "damaged" if isinstance(error, DamagedObjectError) else ""
        kind = "unreachable" if isinstance(error, UnreachableError) else kind
        kind = "refused" if isinstance(error, RefusedError) else kind
        return {**error.failure().to_wire(), "kind": kind}
    traceback.print_exception(error)
    text = f"{type(error).__name__}: {error}"[:1000]
    return {"class": str(ExitClass.INTERNAL_ERROR), "message": f"storage agent: {text}", "kind": ""}


def main() -> int:
    """Answer calls until the input ends."""
    config = load_config()
    store = open_store(config.spec.storage, credentials_folder(), storage_ca(), hub_token_folder())
    store.proven = True  # prepare has used it
    calls = Calls(store)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not break the protocol
    lock = threading.Lock()

    def answer(document: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(document) + "\n")
            out.flush()

    def progress_of(number: int) -> Progress:
        last = 0.0

        def tell(moved: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > PROGRESS_SECONDS:
                last = time.monotonic()
                answer({"id": number, "progress": [moved, total]})

        return tell

    def serve(request: dict[str, Any]) -> None:
        number = request["id"]
        try:
            call: Callable[..., Any] = getattr(calls, request["op"])
            answer({"id": number, "result": call(progress_of(number), **request["args"])})
        except BrokenPipeError:
            os._exit(0)
        except BaseException as error:
            answer({"id": number, "error": error_wire(error)})

    pool = ThreadPoolExecutor(max_workers=CALLS_AT_ONCE)
    for line in sys.stdin:
        pool.submit(serve, json.loads(line))
    os._exit(0)  # unfinished transfers serve nobody any more

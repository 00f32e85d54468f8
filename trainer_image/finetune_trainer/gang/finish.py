"""The end of a run that went well: artifacts, report, and final.json as the very last object."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from finetune_api.errors import JobError
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import Objective
from finetune_api.progress import Artifacts, Stage
from finetune_trainer.gang.ledger import LedgerBook, now_text
from finetune_trainer.gang.overfitting import overfitting
from finetune_trainer.gang.pod import Pod
from finetune_trainer.gang.state import RunState
from finetune_trainer.storage.uris import join

FINAL = "final.json"


def final_uri(output: str) -> str:
    """The object whose existence means that the run is complete."""
    return join(output, FINAL)


class Finish:
    """Collects artifacts while the run goes on and stores everything at its end."""

    def __init__(self, config: JobConfig, pod: Pod, state: RunState, book: LedgerBook) -> None:
        self._config = config
        self._pod = pod
        self._state = state
        self._book = book
        self._artifacts: dict[str, Path] = {}
        self._baseline: asyncio.Task[Any] | None = None

    def on_artifact(self, name: str, path: str) -> None:
        """A folder of results; the baseline is stored at once, later attempts reuse it, and again
        when there is more of it."""
        if name == "baseline":
            self._baseline = asyncio.create_task(self._store_baseline(path, self._baseline))
            self._baseline.add_done_callback(lambda task: task.cancelled() or task.exception())
        else:
            self._artifacts[name] = Path(path)

    async def _store_baseline(self, path: str, before: asyncio.Task[Any] | None) -> None:
        """One after the other: the last one's manifest names all files."""
        if before is not None:
            await asyncio.wait([before])
        uri = join(self._config.spec.output.uri, "baseline", str(self._config.fingerprint))
        await self._pod.agent.call("upload_folder", source=path, uri=uri + "/")

    async def run(self) -> None:
        """Store it all; raises what storage says."""
        agent, output = self._pod.agent, self._config.spec.output.uri
        self._state.stage = Stage.REPORT
        if self._baseline is not None:
            try:
                await self._baseline
            except JobError as error:  # a cache: the run is complete without it
                print(f"the baseline was not stored: {error}", flush=True)  # noqa: T201
        stored: dict[str, str] = {}
        for name, path in sorted(self._artifacts.items()):
            await self._book.fence()
            stored[name] = join(output, name) + "/"
            await agent.insist("upload_folder", source=str(path), uri=stored[name])
        self._state.artifacts = Artifacts(
            adapter=stored.get("adapter"),
            model=stored.get("model"),
            merged=stored.get("merged"),
            report=join(output, "report", "report.json"),
        )
        self._state.stage = Stage.DONE
        await self.store_report()
        logs = self._pod.places.logs
        if any(logs.iterdir()):
            await agent.insist("upload", source=str(logs), uri=join(output, "logs") + "/")
        await self._book.fence()
        durable = self._state.durable
        document = {
            "apiVersion": "1.0",
            "finishedAt": now_text(),
            "attempt": self._state.attempt,
            "step": self._state.step,
            "checkpointStep": durable.step if durable else None,
            "artifacts": self._state.artifacts.to_wire(),
        }
        await agent.insist("write_json", uri=final_uri(output), document=document)

    async def store_report(self) -> None:
        """The report alone, as of now."""
        self._write_report()
        uri = join(self._config.spec.output.uri, "report") + "/"
        await self._pod.agent.insist("upload", source=str(self._pod.places.report), uri=uri)

    def _write_report(self) -> None:
        """The final report: what ranks wrote into report.json, and over it what was gathered."""
        places = self._pod.places
        path = places.report / "report.json"
        own = _read(path)
        rewarded = self._config.spec.objective is Objective.GRPO
        document = {
            **own,
            **self._state.report().to_wire(),
            # What GRPO minimises and what its validation tells are not the same.
            "overfitting": None if rewarded else overfitting(self._state.series()),
            "config": self._config.to_wire(),
            "rowsWon": {
                of: {kind: found[kind] for kind in ("wins", "ties", "losses")}
                for of in ("evaluation", "forgetting")
                if (found := _read(places.report / f"{of}.json"))
            },
            "data": own.get("data") or _read(places.prepared / "data-report.json"),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, sort_keys=True))
        summary = places.prepared / "data-report.json"
        if summary.is_file():
            shutil.copyfile(summary, places.report / "data-report.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

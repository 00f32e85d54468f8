"""Old checkpoints leave the bucket: index 0 alone deletes, while nobody has replaced it."""

import asyncio
import math

from finetune_api.checkpointing import Checkpointing
from finetune_api.errors import JobError
from finetune_trainer.gang.agent_client import StorageAgent
from finetune_trainer.gang.ledger import LedgerBook
from finetune_trainer.storage.manifest import MANIFEST, Candidate, Listing
from finetune_trainer.storage.retention import superfluous
from finetune_trainer.storage.uris import join


class Retention:
    """Deletes what a run's settings do not keep."""

    def __init__(
        self, agent: StorageAgent, book: LedgerBook, folder: str, asked: Checkpointing
    ) -> None:
        self._agent = agent
        self._book = book
        self._folder = folder
        self._asked = asked
        self._losses: dict[Candidate, float] = {}
        self._one_at_a_time = asyncio.Lock()

    async def sweep(self, *, at_the_end: bool = False) -> None:
        """Delete what is too much. What fails is left to the next time. ``at_the_end``: nothing
        is on its way any more, so that unfinished steps of this attempt go as well."""
        async with self._one_at_a_time:
            try:
                await self._sweep(self._book.own + at_the_end)
            except JobError as error:
                print(f"old checkpoints stay for now: {error}", flush=True)  # noqa: T201

    async def _sweep(self, live: int) -> None:
        listing = Listing.of(await self._agent.call("list", uri=self._folder))
        if self._asked.keep_best:
            for candidate in listing.manifested - self._losses.keys():
                self._losses[candidate] = await self._loss(candidate)
        losses = {c: loss for c, loss in self._losses.items() if not math.isnan(loss)}
        old = superfluous(
            listing, self._book.ledger.from_steps(), losses,
            keep_last=self._asked.keep_last, keep_best=self._asked.keep_best, live=live,
        )  # fmt: skip
        if old:
            await self._book.fence()
        for candidate in old:
            await self._agent.call("delete_step", uri=join(self._folder, candidate.folder))

    async def _loss(self, candidate: Candidate) -> float:
        uri = join(self._folder, candidate.folder, MANIFEST)
        manifest = await self._agent.call("read_json", uri=uri) or {}
        return float(manifest.get("evalLoss", "nan"))

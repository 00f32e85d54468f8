"""What is asked before something is destroyed."""

from typing import Any

import pytest

from builders import NOW, SETTINGS, a_job, manifest  # isort: skip
from finetune_operator.apply import Applier, StaleError
from finetune_operator.cache import Cache
from finetune_operator.kube import FINETUNEJOBS, Resource
from finetune_operator.metrics import Metrics
from finetune_operator.plan.actions import DeleteJob
from finetune_operator.workqueue import Key

KEY = Key("team", "tickets")
OWNER = {"kind": "FineTuneJob", "name": "tickets", "uid": "uid-job", "controller": True}
TRAIN = {
    "metadata": {
        "namespace": "team",
        "name": "tickets-train",
        "uid": "uid-train",
        "resourceVersion": "9",
        "ownerReferences": [OWNER],
    }
}


class Server:
    """Holds the job and its train Job; remembers what it was told to delete."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, str]] = []

    async def get(self, resource: Resource, *_: str) -> dict[str, Any]:
        return manifest() if resource == FINETUNEJOBS else TRAIN

    async def delete(self, _: Resource, __: str, name: str, *, uid: str) -> dict[str, Any]:
        self.deleted.append((name, uid))
        return {}


@pytest.mark.parametrize("leads", [True, False])
async def test_only_a_leader_deletes(leads: bool) -> None:
    async def is_held() -> bool:
        return leads

    server = Server()
    applier = Applier(server, Cache(), Metrics(), SETTINGS, is_held)  # type: ignore[arg-type]
    action = DeleteJob("tickets-train", "uid-train", "suspended")
    if leads:
        await applier.apply(action, KEY, manifest(), a_job(), NOW)
        assert server.deleted == [("tickets-train", "uid-train")]
        return
    with pytest.raises(StaleError, match="does not lead"):
        await applier.apply(action, KEY, manifest(), a_job(), NOW)
    assert server.deleted == []

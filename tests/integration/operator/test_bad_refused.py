"""What the API server refuses at the door, as kubectl shows it. Nothing is stored."""

import json
from typing import Any

import pytest
from world import World

from tests.bad_input.book import Book

SECTION = "Refused by the API server"

GOOD: dict[str, Any] = {"method": {"lora": {"rank": 8}}}
REFUSED: dict[str, dict[str, Any]] = {
    "a field that does not exist": {"method": {"lora": {"rnak": 8}}},
    "a field in the wrong block": {"learningRate": 2e-4},
    "two methods": {"method": {"lora": {}, "full": {}}},
    "no method": {"method": {}},
    "a word that is not one of the known": {"task": "TextKlassification"},
    "a number out of its bounds": {"method": {"lora": {"rank": 0}}},
    "a number written as text": {"method": {"lora": {"rank": "8"}}},
    "both a length in epochs and one in steps": {"training": {"epochs": 3, "maxSteps": 100}},
    "held-out rows from a file and as a share": {
        "dataset": {
            "train": {"uri": "s3://corpus/train.jsonl"},
            "test": {"uri": "s3://corpus/test.jsonl", "fraction": 0.1},
        }
    },
    "held-out shares that leave nothing": {
        "dataset": {
            "train": {"uri": "s3://corpus/train.jsonl"},
            "test": {"fraction": 0.5},
            "validation": {"fraction": 0.5},
        }
    },
    "results inside the base model": {"output": {"uri": "s3://models/bert-tiny/mine/"}},
    "a folder without its slash": {"model": {"uri": "s3://models/bert-tiny"}},
    "an address of an unknown kind": {"model": {"uri": "gs://models/bert-tiny/"}},
    "DeepSpeed settings beside DDP": {"distribution": {"strategy": "DDP", "deepspeed": {}}},
    "a quantity with a blank": {"resources": {"memory": "16 Gi"}},
    "a name of a Secret in capitals": {"storage": {"secretName": "S3_Credentials"}},
    "a label of a node with a blank": {"scheduling": {"nodeSelector": {"gpu type": "h200"}}},
    "a toleration without a key": {"scheduling": {"tolerations": [{"effect": "NoSchedule"}]}},
    "a checkpoint of the run's own folder": {
        "output": {"uri": "s3://models/tickets/"},
        "checkpointing": {"resumeFrom": "s3://models/tickets/checkpoints/a0001/step-00000010/"},
    },
    "two mistakes": {"method": {}, "training": {"epochs": 3, "maxSteps": 100}},
}
BAD_NAMES = {
    "a name of 41 characters": "n" * 41,
    "a name with capitals": "Tickets",
    "a name with a dot": "tickets.v2",
    "a name that begins with a digit": "2nd-try",
}


def apply(world: World, manifest: dict[str, Any]) -> str:
    """What kubectl prints, on one line."""
    words = ("apply", "-n", world.namespace, "-f", "-")
    said = world.cluster.kubectl(*words, text=json.dumps(manifest), check=False)
    return " ".join(said.split())


@pytest.mark.parametrize("case", REFUSED)
def test_a_specification_is_refused(refusing: World, book: Book, case: str) -> None:
    said = apply(refusing, refusing.manifest(**REFUSED[case]))
    assert refusing.cluster.kubectl("get", "ftj", "-n", refusing.namespace, "-o", "name") == ""
    book.tell(case, "refused by `kubectl apply`", said)


@pytest.mark.parametrize("case", BAD_NAMES)
def test_a_name_is_refused(refusing: World, book: Book, case: str) -> None:
    said = apply(refusing, refusing.manifest(BAD_NAMES[case]))
    assert refusing.cluster.kubectl("get", "ftj", "-n", refusing.namespace, "-o", "name") == ""
    book.tell(case, "refused by `kubectl apply`", said)


EDITS: dict[str, dict[str, Any]] = {
    "the learning rate of a running job": {"training": {"learningRate": 1e-4}},
    "the nodes of a running job": {"resources": {"nodes": 3, "gpusPerNode": 1}},
}


def test_an_edit_of_a_running_job_is_refused_and_a_good_one_works(world: World, book: Book) -> None:
    apply(world, world.manifest())
    world.wait_reason("PodsReady", "AllReady")
    before = world.get()["spec"], world.jobs()
    for case, change in EDITS.items():
        book.tell(case, "refused by `kubectl apply`", apply(world, world.manifest(**change)))
    assert (world.get()["spec"], world.jobs()) == before
    assert world.status()["display"]["status"] != "Invalid"

    world.change(suspend=True)
    world.wait_word("Suspended")
    world.change(resources={"nodes": 3})
    world.change(suspend=False)
    world.wait(
        lambda: world.condition("PodsReady").get("message") == "3 of 3 pods ready",
        "the gang of three",
        seconds=40,
    )

"""Storage that cannot be used: which bucket, at which endpoint, with which Secret, what to do."""

import json

import pytest

from tests.bad_input.book import Book, seen
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.conftest import World, job_name

SECTION = "Storage"
AWAY = "StorageUnreachable"


@pytest.mark.parametrize("title", cases.STORAGE)
def test_a_bad_storage_is_told(world: World, book: Book, title: str) -> None:
    world.told(book, title)


def test_a_storage_that_was_away_and_comes_back_lets_the_run_go_on(
    world: World, book: Book
) -> None:
    """Waits with the Job's back-off, and says so; nothing needs to be applied again."""
    world.apply(world.job("late", {"storage": cases.at("late")(world.servers)}))
    state, sentence = seen(world.wait("late", "DataReady", AWAY), "DataReady")
    assert world.servers.late in sentence
    assert sentence in world.kubectl("describe", "ftj", "late")
    before_it_trains = json.dumps({"spec": {"suspend": True}})
    world.kubectl("patch", "ftj", "late", "--type=merge", "-p", before_it_trains)
    world.servers.start_late()
    world.wait("late", "DataReady", "True")
    book.tell("storage that is away (waits; goes on when it is back)", state, sentence)


def test_a_private_authority_is_trusted_once_its_certificate_is_named(world: World) -> None:
    status = world.wait("private", "DataReady", "True")
    assert status["data"]["rows"] == len(cases.ROWS)


@pytest.mark.parametrize("title", cases.WAITING)
def test_a_storage_that_stays_away_ends_the_run_after_four_tries(
    world: World, book: Book, title: str
) -> None:
    status = world.wait(title, "Succeeded", "False")
    name = job_name(title)
    world.told(book, title)
    pods = json.loads(world.kubectl("get", "pods", "-l", f"finetune.dev/job={name}", "-o", "json"))
    assert len(pods["items"]) == 4
    events = world.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}")
    assert AWAY in events
    assert status["display"]["reason"] == AWAY


def test_datasets_models_and_the_other_runs_folder_are_untouched(world: World) -> None:
    after = world.objects()
    assert {key: after.get(key) for key in world.before} == world.before

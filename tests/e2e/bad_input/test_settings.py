"""Settings that do not fit gang, model or bucket; and values that look like something else."""

import json

import pytest

from tests.bad_input.book import Book
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.conftest import World, job_name

SECTION = "Settings"


@pytest.mark.parametrize("title", cases.SETTINGS)
def test_a_bad_setting_is_told(world: World, book: Book, title: str) -> None:
    world.told(book, title)


def test_a_corrected_job_may_use_the_folder_and_the_same_job_continues_in_it(world: World) -> None:
    title = "column that is not there"
    world.wait(title, "Succeeded", "False")
    change = cases.train("column.jsonl", columns={"text": "body"}) | {"suspend": True}
    for expected in (False, True):
        world.kubectl("delete", "ftj", job_name(title), "--wait")
        world.apply(world.job(title, change))
        world.wait(title, "DataReady", "True")
        log = world.kubectl("logs", f"job/{job_name(title)}-prepare")
        assert ("is used again" in log) is expected


def test_dollars_and_parentheses_are_not_expanded(world: World) -> None:
    column, key = "$(HOME) $$ $(X)", "$(HOME)/$$rows.jsonl"
    rows = cases.lines(*({column: row["text"], "label": row["label"]} for row in cases.ROWS))
    world.site.cluster.s3.client().put_object(Bucket="datasets", Key=f"bad/{key}", Body=rows)
    title = "dollars"
    change = cases.train(key, columns={"text": column}) | {"suspend": True}
    world.apply(world.job(title, change))
    status = world.wait(title, "DataReady", "True")
    assert status["data"]["rows"] == len(cases.ROWS)
    report = status["data"]["report"].partition("s3://models/")[2]
    body = world.site.cluster.s3.client().get_object(Bucket="models", Key=report)["Body"].read()
    assert json.loads(body)["files"][0]["rows"] == len(cases.ROWS)

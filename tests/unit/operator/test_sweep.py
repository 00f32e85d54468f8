"""The sweep: what the cache and a list disagree about, and who is believed."""

import asyncio
from typing import Any

import pytest

from virtual_time import in_virtual_time  # isort: skip
from finetune_api.names import LABEL_JOB
from finetune_operator.cache import Cache
from finetune_operator.kube import FINETUNEJOBS, JOBS, ApiError, Resource
from finetune_operator.metrics import Metrics
from finetune_operator.sweep import Kind, Listing, Sweeper, differences
from finetune_operator.workqueue import Key, Priority, WorkQueue

KEY = Key("team", "tickets")


def job(
    version: int, *, uid: str = "u", name: str = "tickets-train", namespace: str = "team"
) -> dict[str, Any]:
    metadata = {
        "namespace": namespace,
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {LABEL_JOB: "tickets"},
    }
    return {"metadata": metadata}


def listing(version: int, *items: dict[str, Any]) -> Listing:
    by_name = {Key(i["metadata"]["namespace"], i["metadata"]["name"]): i for i in items}
    return Listing(version, by_name)


@pytest.mark.parametrize(
    ("known", "listed", "kind"),
    [
        (job(10), listing(20), Kind.GHOST),
        (job(30), listing(20), None),
        (None, listing(20, job(10)), Kind.UNKNOWN),
        (job(10), listing(20, job(15)), Kind.STALE),
        (job(10), listing(20, job(10)), None),
        (job(18), listing(20, job(15)), None),
        (job(10), listing(20, job(15, uid="other")), Kind.STALE),
    ],
    ids=["gone", "younger than the list", "new", "older", "same", "newer", "made again"],
)
def test_the_cache_is_wrong_only_where_it_is_behind(
    known: dict[str, Any] | None, listed: Listing, kind: Kind | None
) -> None:
    cache = Cache()
    if known is not None:
        cache.put(JOBS, known)
    found = [difference.kind for difference in differences(cache, JOBS, "", listed)]
    assert found == ([kind] if kind else [])


def test_what_was_seen_deleted_is_no_difference_to_an_older_list() -> None:
    cache = Cache()
    cache.put(JOBS, job(10))
    cache.remove(JOBS, job(25))
    assert differences(cache, JOBS, "", listing(20, job(10))) == []


def test_other_namespaces_are_not_missed_in_the_list_of_one() -> None:
    cache = Cache()
    cache.put(JOBS, job(10, namespace="other"))
    assert differences(cache, JOBS, "team", listing(20)) == []


class Server:
    """Answers lists and reads from what a test put there."""

    def __init__(self, version: int, *jobs: dict[str, Any]) -> None:
        self.version = version
        self.jobs = list(jobs)
        self.page = 2
        self.failures: list[ApiError] = []
        self.asked: list[tuple[Resource, str, str]] = []

    async def metadata_page(
        self, resource: Resource, namespace: str, selector: str, continuation: str
    ) -> dict[str, Any]:
        self.asked.append((resource, namespace, continuation))
        if continuation and self.failures:
            raise self.failures.pop(0)
        start = int(continuation or 0)
        items = self.jobs if resource == JOBS else []
        page = items[start : start + self.page]
        more = str(start + self.page) if items[start + self.page :] else ""
        assert selector == ("" if resource == FINETUNEJOBS else LABEL_JOB)
        return {
            "metadata": {"resourceVersion": str(self.version), "continue": more},
            "items": page,
        }

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        for found in self.jobs if resource == JOBS else []:
            if (found["metadata"]["namespace"], found["metadata"]["name"]) == (namespace, name):
                return found
        raise ApiError(404, "NotFound", "gone")


class Site:
    """A sweeper with its parts."""

    def __init__(self, server: Server, *namespaces: str) -> None:
        self.cache, self.queue, self.metrics = Cache(), WorkQueue(), Metrics()
        self.sweeper = Sweeper(
            server,  # type: ignore[arg-type]
            self.cache,
            self.queue,
            self.metrics,
            namespaces=namespaces,
            interval=300.0,
        )

    def counted(self, name: str = "finetune_operator_sweep_differences_total") -> dict[str, float]:
        return {
            "/".join(sample.labels.values()): sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name
        }

    def names(self) -> list[str]:
        return [known["metadata"]["name"] for known in self.cache.objects(JOBS, "")]


def test_a_ghost_goes_and_its_job_is_looked_at_after_what_has_changed() -> None:
    async def story() -> None:
        site = Site(Server(50))
        site.cache.put(JOBS, job(10))
        await site.sweeper.sweep()
        assert site.names() == []
        assert list(site.cache.children(JOBS, KEY)) == []
        assert site.counted() == {"jobs/ghost": 1}
        changed = Key("team", "changed")
        site.queue.add(changed, Priority.CHANGE)
        assert [await site.queue.get(), await site.queue.get()] == [changed, KEY]
        site.cache.put(JOBS, job(10))
        assert site.names() == [], "a late event does not bring it back"

    in_virtual_time(story())


def test_what_is_alive_is_kept_although_the_list_does_not_show_it() -> None:
    async def story() -> None:
        server = Server(50)
        site = Site(server)
        site.cache.put(JOBS, job(10))
        hidden = job(10)
        sweeping = asyncio.create_task(site.sweeper.sweep())
        await asyncio.sleep(1)
        server.jobs.append(hidden)
        await sweeping
        assert site.names() == ["tickets-train"]
        assert (site.counted(), site.queue.depth()) == ({}, 0)

    in_virtual_time(story())


def test_unknown_and_older_ones_are_read_and_their_jobs_looked_at() -> None:
    async def story() -> None:
        server = Server(50, job(12), job(30, name="other", uid="o"))
        site = Site(server)
        site.cache.put(JOBS, job(10))
        await site.sweeper.sweep()
        assert sorted(site.names()) == ["other", "tickets-train"]
        found = site.cache.get(JOBS, Key("team", "tickets-train"))
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "12"
        assert site.counted() == {"jobs/unknown": 1, "jobs/stale": 1}
        assert site.queue.depth() == 1
        await site.sweeper.sweep()
        assert sum(site.counted().values()) == 2

    in_virtual_time(story())


def test_a_watch_that_is_a_little_late_has_missed_nothing() -> None:
    async def story() -> None:
        site = Site(Server(50, job(12)))
        sweeping = asyncio.create_task(site.sweeper.sweep())
        await asyncio.sleep(3)
        site.cache.put(JOBS, job(12))
        await sweeping
        assert (site.counted(), site.queue.depth()) == ({}, 0)

    in_virtual_time(story())


def test_a_list_whose_snapshot_is_gone_begins_anew() -> None:
    async def story() -> None:
        server = Server(50, *(job(12, name=f"j{n}", uid=f"u{n}") for n in range(5)))
        server.failures = [ApiError(410, "Expired", "too old")]
        site = Site(server)
        await site.sweeper.sweep()
        pages = [page for resource, _, page in server.asked if resource == JOBS]
        assert pages == ["", "2", "", "2", "4"]
        assert len(site.names()) == 5

    in_virtual_time(story())


def test_served_namespaces_are_listed_one_by_one() -> None:
    async def story() -> None:
        server = Server(50)
        await Site(server, "a", "b").sweeper.sweep()
        assert [place for resource, place, _ in server.asked if resource == JOBS] == ["a", "b"]

    in_virtual_time(story())


def test_a_server_that_is_down_makes_a_sweep_late_and_not_stuck() -> None:
    async def story() -> None:
        server = Server(50, *(job(12, name=f"j{n}", uid=f"u{n}") for n in range(5)))
        server.failures = [ApiError(0, "Unreachable", "down")] * 10
        site = Site(server)
        working = asyncio.create_task(site.sweeper.work())
        await asyncio.sleep(2500)
        assert site.sweeper.age() == pytest.approx(2500)
        assert not site.sweeper.is_stuck()
        assert site.counted("finetune_operator_sweeps_total")["error"] >= 7
        server.failures = []
        await asyncio.sleep(700)
        assert site.sweeper.age() < 350
        working.cancel()

    in_virtual_time(story())

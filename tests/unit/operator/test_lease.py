"""The Lease: who may take it, and when its holder must let go. Nobody's wall clock matters."""

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtual_time import in_virtual_time  # isort: skip
from finetune_operator.kube import ApiError
from finetune_operator.lease import (
    DURATION,
    Elector,
    LeaseLostError,
    Sighting,
    claimed,
    holder,
    may_take,
    released,
    seen,
)
from finetune_operator.metrics import Metrics
from finetune_operator.workqueue import Key

PLACE = Key("system", "operator")
WALL = datetime(2027, 1, 15, 8, tzinfo=UTC)


def lease(**spec: Any) -> dict[str, Any]:
    metadata = {"namespace": PLACE.namespace, "name": PLACE.name, "labels": {"theirs": "kept"}}
    return {"metadata": metadata, "spec": {"holderIdentity": "a", **spec}}


@pytest.mark.parametrize(
    ("sighting", "now", "may"),
    [
        (None, 0.0, True),
        (Sighting(lease(holderIdentity="", leaseDurationSeconds=1), 100.0), 100.0, True),
        (Sighting(lease(holderIdentity="me", leaseDurationSeconds=15), 100.0), 100.0, True),
        (Sighting(lease(leaseDurationSeconds=15), 100.0), 114.9, False),
        (Sighting(lease(leaseDurationSeconds=15), 100.0), 115.0, True),
        (Sighting(lease(leaseDurationSeconds=40), 100.0), 139.9, False),
        (Sighting(lease(), 100.0), 114.9, False),
    ],
    ids=["absent", "released", "mine", "fresh", "void", "as long as it says", "says nothing"],
)
def test_a_lease_is_taken_only_when_nobody_can_hold_it(
    sighting: Sighting | None, now: float, may: bool
) -> None:
    assert may_take(sighting, "me", now) is may


def test_only_what_a_lease_says_makes_it_new() -> None:
    first = seen(None, lease(renewTime="1"), 10.0)
    labelled = {**lease(renewTime="1"), "metadata": {"labels": {"new": "one"}}}
    assert seen(first, labelled, 20.0) == Sighting(labelled, 10.0)
    assert seen(first, lease(renewTime="2"), 20.0).since == 20.0


@pytest.mark.parametrize("skew", [-3600, -60, 60, 3600])
def test_a_clock_that_is_wrong_makes_no_difference(skew: int) -> None:
    written = claimed(lease(), "other", WALL + timedelta(seconds=skew))
    assert not may_take(seen(None, written, 50.0), "me", 50.0 + DURATION - 0.1)
    assert may_take(seen(None, written, 50.0), "me", 50.0 + DURATION)


def test_a_takeover_is_counted_and_a_renewal_is_not() -> None:
    fresh = claimed({"metadata": {}}, "me", WALL)
    assert fresh["spec"]["leaseTransitions"] == 0
    taken = claimed(lease(leaseTransitions=4, acquireTime="then", strategy="s"), "me", WALL)
    assert taken["spec"]["leaseTransitions"] == 5
    assert (
        taken["spec"]["acquireTime"] == taken["spec"]["renewTime"] == "2027-01-15T08:00:00.000000Z"
    )
    assert (taken["spec"]["strategy"], taken["metadata"]["labels"]) == ("s", {"theirs": "kept"})
    renewed = claimed(taken, "me", WALL + timedelta(seconds=2))
    assert renewed["spec"] == {**taken["spec"], "renewTime": "2027-01-15T08:00:02.000000Z"}
    left = released(renewed, WALL)
    assert (holder(left), left["spec"]["leaseDurationSeconds"]) == ("", 1)
    assert left["spec"]["leaseTransitions"] == 5


class Server:
    """One Lease as the API server keeps it, and how well each process reaches it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def store(self, document: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(document)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    def steal(self, identity: str) -> None:
        assert self.lease is not None
        self.store(claimed(self.lease, identity, WALL))


class Line:
    """The way of one process to the server: it takes time, before or after the request is done."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before: Callable[[float], float] = lambda _: 0.01
        self.after: Callable[[float], float] = lambda _: 0.01

    async def get(self, *_: object) -> dict[str, Any]:
        return await self._through(lambda: copy.deepcopy(self._existing()))

    async def create(self, _: object, body: dict[str, Any]) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            if self.server.lease is not None:
                raise ApiError(409, "AlreadyExists", "it exists")
            return self.server.store(body)

        return await self._through(make)

    async def replace(self, _: object, body: dict[str, Any]) -> dict[str, Any]:
        def write() -> dict[str, Any]:
            now = self._existing()["metadata"]["resourceVersion"]
            if body["metadata"]["resourceVersion"] != now:
                raise ApiError(409, "Conflict", "it has changed")
            return self.server.store(body)

        return await self._through(write)

    async def _through(self, done: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        await asyncio.sleep(self.before(clock()))
        try:
            return done()
        finally:
            await asyncio.sleep(self.after(clock()))

    def _existing(self) -> dict[str, Any]:
        if self.server.lease is None:
            raise ApiError(404, "NotFound", "no such lease")
        return self.server.lease


class Process:
    """One operator, as far as the Lease goes."""

    def __init__(self, server: Server, name: str) -> None:
        self.line = Line(server)
        self.elector = Elector(self.line, PLACE, name, Metrics())  # type: ignore[arg-type]
        self.leads = False
        self.lost = ""
        self.led_from = self.led_until = 0.0
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self.elector.acquire()
        self.leads, self.led_from = True, clock()
        try:
            await self.elector.hold()
        except LeaseLostError as lost:
            self.lost = str(lost)
        finally:
            self.leads, self.led_until = False, clock()

    async def dies(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def leaves(self) -> None:
        await self.dies()
        await self.elector.release()


def clock() -> float:
    return asyncio.get_running_loop().time()


def test_a_dead_leader_is_followed_when_its_lease_is_void() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(0.5)
        second = Process(server, "b")
        await asyncio.sleep(60)
        assert (first.leads, second.leads) == (True, False)
        await first.dies()
        died = clock()
        await asyncio.sleep(30)
        assert second.leads
        assert DURATION - 2.1 <= second.led_from - died <= DURATION + 2.1
        await second.dies()

    in_virtual_time(story())


def test_a_leader_that_leaves_is_followed_at_once() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(0.5)
        second = Process(server, "b")
        await asyncio.sleep(10)
        await first.leaves()
        left = clock()
        await asyncio.sleep(2.1)
        assert second.leads
        assert second.led_from - left <= 2.1
        assert not first.lost
        await second.dies()

    in_virtual_time(story())


def test_a_leader_that_leaves_while_it_renews_is_followed_at_once_too() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(0.5)
        second = Process(server, "b")
        first.line.after = lambda _: 1.0
        await asyncio.sleep(2.0)
        assert server.version == 2, "it is done, and the answer is on its way"
        await first.dies()
        first.line.after = lambda _: 0.01
        await first.elector.release()
        await asyncio.sleep(2.1)
        assert second.leads
        await second.dies()

    in_virtual_time(story())


def test_a_stolen_lease_is_noticed_and_nothing_is_destroyed_before() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(5)
        assert await first.elector.is_held()
        server.steal("thief")
        assert not await first.elector.is_held()
        await asyncio.sleep(2.1)
        assert not first.leads
        assert first.lost == "the lease system/operator is held by thief"
        await first.elector.release()
        assert server.lease is not None
        assert holder(server.lease) == "thief"

    in_virtual_time(story())


@pytest.mark.parametrize(("seconds", "leads"), [(9.9, True), (10.1, False)])
@pytest.mark.parametrize("is_done_first", [False, True], ids=["request late", "answer late"])
def test_a_renewal_may_take_ten_seconds(seconds: float, leads: bool, is_done_first: bool) -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(0.5)
        due = first.led_from - 0.02 + 2.0  # It renews 2 s after it sent the last one.
        silent_until = due + seconds

        def silence(now: float) -> float:
            return max(0.0, silent_until - now) if now >= due else 0.01

        if is_done_first:
            first.line.after = silence
        else:
            first.line.before = silence
        await asyncio.sleep(30)
        assert first.leads is leads
        assert bool(first.lost) is not leads
        if first.lost:
            assert first.led_until - due <= 10.01
        await first.dies()

    in_virtual_time(story())


def test_an_answer_that_was_lost_is_no_loss() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(1)
        cut = clock() + 1.5
        first.line.after = lambda now: 60.0 if now < cut else 0.01
        await asyncio.sleep(40)
        assert first.leads
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 0
        await first.dies()

    in_virtual_time(story())


def test_a_lease_that_was_deleted_is_made_anew_by_its_holder() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(0.5)
        second = Process(server, "b")
        await asyncio.sleep(5)
        for _ in range(3):
            server.lease = None
            await asyncio.sleep(5)
        assert (first.leads, second.leads) == (True, False)
        assert not first.lost
        await first.dies()
        server.lease = None
        await asyncio.sleep(20)
        assert second.leads
        await second.dies()

    in_virtual_time(story())


def test_a_process_that_was_stopped_for_long_lets_go_before_it_writes() -> None:
    async def story() -> None:
        server = Server()
        first = Process(server, "a")
        await asyncio.sleep(1)
        version = server.version
        loop: Any = asyncio.get_running_loop()
        loop._selector.moment += 40.0
        assert not await first.elector.is_held()
        await asyncio.sleep(0.1)
        assert first.lost
        assert server.version == version

    in_virtual_time(story())


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["before", "after"]),
        st.floats(0, 120),
        st.floats(0.1, 40),
    ),
    max_size=8,
)


@settings(max_examples=30)
@given(FAULTS)
def test_whoever_is_cut_off_for_however_long_there_is_never_more_than_one_leader(
    faults: list[tuple[str, str, float, float]],
) -> None:
    async def story() -> None:
        server, start = Server(), clock()
        processes = {name: Process(server, name) for name in "abc"}

        def delay(name: str, side: str) -> Callable[[float], float]:
            mine = [(start + at, length) for n, s, at, length in faults if (n, s) == (name, side)]
            return lambda now: max(
                [0.01, *(at + length - now for at, length in mine if at <= now < at + length)]
            )

        for name, process in processes.items():
            process.line.before = delay(name, "before")
            process.line.after = delay(name, "after")
        while clock() < start + 200:
            await asyncio.sleep(0.2)
            assert sum(process.leads for process in processes.values()) <= 1
        assert any(process.leads for process in processes.values()) or all(
            process.lost for process in processes.values()
        )
        for process in processes.values():
            await process.dies()

    in_virtual_time(story())

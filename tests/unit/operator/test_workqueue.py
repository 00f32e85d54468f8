"""The queue: one worker a key, no lost change, back-off per key."""

import asyncio

import pytest

from finetune_operator.workqueue import Key, Priority, WorkQueue

A, B = Key("team", "a"), Key("team", "b")


def queue(**options: float) -> WorkQueue:
    return WorkQueue(jitter=lambda: 0.5, **options)


async def is_idle(waiting: WorkQueue) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting.get(), 0.02)
    return True


async def test_a_key_that_waits_is_there_once() -> None:
    waiting = queue()
    waiting.add(A)
    waiting.add(A)
    assert await waiting.get() == A
    waiting.done(A)
    assert await is_idle(waiting)


async def test_a_change_during_processing_is_processed_afterwards_and_never_beside_it() -> None:
    waiting = queue()
    waiting.add(A)
    assert await waiting.get() == A
    waiting.add(A)
    assert await is_idle(waiting)
    waiting.done(A)
    assert await waiting.get() == A


async def test_a_change_goes_before_a_sweep() -> None:
    waiting = queue()
    waiting.add(A, Priority.SWEEP)
    waiting.add(B)
    assert [await waiting.get(), await waiting.get()] == [B, A]


async def test_a_swept_key_that_changes_is_moved_up_and_there_once() -> None:
    waiting = queue()
    waiting.add(A, Priority.SWEEP)
    waiting.add(B, Priority.SWEEP)
    waiting.add(B)
    assert [await waiting.get(), await waiting.get()] == [B, A]
    waiting.done(A)
    waiting.done(B)
    assert await is_idle(waiting)


async def test_the_earlier_of_two_wake_ups_wins() -> None:
    waiting = queue()
    waiting.add_after(A, 60)
    waiting.add_after(A, 0.01)
    waiting.add_after(A, 60)
    assert await asyncio.wait_for(waiting.get(), 1) == A


async def test_a_look_drops_the_pending_wake_up() -> None:
    waiting = queue()
    waiting.add_after(A, 0.01)
    waiting.add(A)
    assert await waiting.get() == A
    waiting.done(A)
    assert await is_idle(waiting)


async def test_back_off_doubles_up_to_the_cap_and_starts_anew_when_well() -> None:
    waiting = queue(base=0.2, cap=300)
    delays = [waiting.add_failed(A) for _ in range(14)]
    assert delays[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert delays[-1] == pytest.approx(300)
    waiting.forget(A)
    assert waiting.add_failed(A) == pytest.approx(0.2)
    assert waiting.add_failed(B, at_least=20) == 20
    assert max(waiting.add_failed(B, at_most=45) for _ in range(14)) == 45
    waiting.close()


async def test_back_off_is_jittered() -> None:
    waiting = WorkQueue(base=1.0)
    delays = {round(waiting.add_failed(Key("team", str(i))), 6) for i in range(20)}
    assert len(delays) > 10
    assert all(0.75 <= delay <= 1.25 for delay in delays)
    waiting.close()


async def test_the_oldest_age_is_that_of_the_longest_waiting_key() -> None:
    waiting = queue()
    assert waiting.oldest_age() == 0
    waiting.add(A)
    await asyncio.sleep(0.03)
    waiting.add(B)
    assert waiting.oldest_age() >= 0.02
    assert waiting.depth() == 2
    await waiting.get()
    assert waiting.oldest_age() < 0.02


async def test_many_workers_share_the_keys_and_no_key_is_processed_twice_at_once() -> None:
    waiting, active, seen = queue(), set(), 0

    async def work() -> None:
        nonlocal seen
        while True:
            key = await waiting.get()
            assert key not in active
            active.add(key)
            await asyncio.sleep(0.001)
            active.discard(key)
            seen += 1
            waiting.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    keys = [Key("team", str(number % 20)) for number in range(200)]
    for key in keys:
        waiting.add(key)
        await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    assert waiting.depth() == 0
    assert seen >= 20
    assert not any(worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()

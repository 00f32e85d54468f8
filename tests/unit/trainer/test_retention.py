"""What leaves the bucket, and what never does; as properties."""

from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.storage.manifest import Candidate, Listing, resume_order
from finetune_trainer.storage.retention import superfluous

candidates = st.builds(Candidate, step=st.integers(1, 12), attempt=st.integers(0, 4))
some = st.sets(candidates, max_size=12)
starts = st.dictionaries(st.integers(1, 4), st.integers(0, 12))
losses = st.dictionaries(candidates, st.floats(0, 9))
listings = st.builds(
    lambda manifested, quarantined, pinned, more: Listing(
        manifested, quarantined, pinned, manifested | quarantined | pinned | more
    ),
    some, some, some, some,
)  # fmt: skip


@given(listings, starts, losses, st.integers(1, 4), st.integers(0, 3), st.integers(0, 5))
def test_what_a_run_can_need_stays(
    listing: Listing, begun: dict[int, int], told: dict[Candidate, float],
    last: int, best: int, live: int,
) -> None:  # fmt: skip
    gone = superfluous(listing, begun, told, keep_last=last, keep_best=best, live=live)
    usable = resume_order(listing, begun)
    assert not set(gone) & {*usable[:last], *listing.pinned, *listing.quarantined}
    assert set(gone) <= listing.begun
    left = Listing(listing.manifested - set(gone), listing.quarantined)
    assert resume_order(left, begun)[:last] == usable[:last]
    for candidate in set(gone) - listing.manifested:
        assert candidate.attempt < live
    scored = sorted((told[c], c) for c in usable if c in told)
    assert not set(gone) & {c for _, c in scored[:best]}
    free = [c for c in usable if c not in listing.pinned and c not in gone]
    assert len(free) <= last + best


@given(listings, starts)
def test_nothing_goes_while_there_is_nothing_to_go_on_from(
    listing: Listing, begun: dict[int, int]
) -> None:
    listing.manifested.clear()
    assert superfluous(listing, begun, {}, keep_last=1, keep_best=0, live=9) == []


def test_newest_best_and_pinned_of_a_plain_run() -> None:
    steps = [Candidate(step, 1) for step in range(1, 9)]
    keys = [f"{c.folder}MANIFEST.json" for c in steps]
    keys += [f"{steps[0].folder}PINNED", "a0001/step-00000009/x.pt", "a0000/step-00000001/x.pt"]
    told = {c: abs(c.step - 4.5) for c in steps}
    gone = superfluous(Listing.of(keys), {1: 0}, told, keep_last=2, keep_best=2, live=1)
    assert [(c.attempt, c.step) for c in gone] == [(0, 1), (1, 2), (1, 3), (1, 6)]

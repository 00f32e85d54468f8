"""Which checkpoint a run goes on from, and what makes one; as properties."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.storage.manifest import (
    MANIFEST,
    QUARANTINE,
    Candidate,
    FileRecord,
    Listing,
    PartsDisagreeError,
    file_list,
    hash_folder,
    merge_parts,
    needed_by,
    part,
    resume_order,
)

SHA = "a" * 64
candidates = st.builds(Candidate, step=st.integers(1, 30), attempt=st.integers(1, 6))
from_steps = st.dictionaries(st.integers(1, 6), st.integers(0, 30))


@given(st.sets(candidates), st.sets(candidates), from_steps)
def test_the_chosen_step_lies_on_no_abandoned_branch(
    manifested: set[Candidate], quarantined: set[Candidate], starts: dict[int, int]
) -> None:
    order = resume_order(Listing(manifested, quarantined), starts)
    assert order == sorted(order, reverse=True)
    for candidate in order:
        assert candidate in manifested - quarantined
        later = [step for attempt, step in starts.items() if attempt > candidate.attempt]
        assert all(candidate.step <= step for step in later)
    for left_out in manifested - quarantined - set(order):
        assert any(
            left_out.step > step for attempt, step in starts.items() if attempt > left_out.attempt
        )


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3)), min_size=1, max_size=6))
def test_an_honest_history_resumes_from_its_newest_step(history: list[tuple[int, int]]) -> None:
    """Attempts that each start from the best step, save some and lose the rest."""
    starts: dict[int, int] = {}
    manifested: set[Candidate] = set()
    for attempt, (steps, saved) in enumerate(history, 1):
        order = resume_order(Listing(manifested), starts)
        begin = order[0].step if order else 0
        starts[attempt] = begin
        manifested |= {Candidate(begin + i, attempt) for i in range(1, min(steps, saved) + 1)}
    order = resume_order(Listing(manifested), starts)
    assert not manifested or order[0].step == max(c.step for c in manifested)


def test_a_zombies_later_step_is_ignored() -> None:
    """Attempt 1 goes on after attempt 2 began at step 8: its step 12 is of an abandoned branch."""
    listing = Listing({Candidate(8, 1), Candidate(12, 1), Candidate(10, 2)})
    assert resume_order(listing, {1: 0, 2: 8}) == [Candidate(10, 2), Candidate(8, 1)]


def test_a_listing_takes_manifests_only() -> None:
    listing = Listing.of(
        [
            f"a0001/step-00000004/{MANIFEST}",
            "a0001/step-00000008/PART-0.json",  # a part alone is no checkpoint
            "a0001/step-00000008/model.pt",
            f"a0002/step-00000009/{MANIFEST}",
            f"a0002/step-00000009/{QUARANTINE}",
            f"a0002/step-00000010/nested/{MANIFEST}",
            "notes.txt",
        ]
    )
    assert resume_order(listing, {}) == [Candidate(4, 1)]


records = st.builds(
    FileRecord, path=st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8),
    size=st.integers(0, 10**12), sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)  # fmt: skip


@given(st.lists(st.lists(records, min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_manifest_names_every_file_of_every_part_or_refuses(
    files: list[list[FileRecord]],
) -> None:
    parts = {i: part(i, 3, 7, f) for i, f in enumerate(files)}
    everything = {r for f in files for r in f}
    try:
        merged = merge_parts(parts, pods=len(files), attempt=3, step=7, facts={"worldSize": 2})
    except PartsDisagreeError:
        assert len({r.path for r in everything}) < len(everything)
        return
    assert set(file_list(merged)) == everything
    assert merged["bytes"] == sum(r.size for r in everything)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({0: part(0, 1, 4, [FileRecord("a", 1, SHA)])}, "parts of pods [1] are missing"),
        (
            {
                0: part(0, 1, 4, [FileRecord("a", 1, SHA)]),
                1: part(1, 1, 8, [FileRecord("b", 1, SHA)]),
            },
            "another checkpoint",
        ),
        (
            {
                0: part(0, 1, 4, [FileRecord("a", 1, SHA)]),
                1: part(1, 1, 4, [FileRecord("a", 2, SHA)]),
            },
            "pods differ about a",
        ),
    ],
)
def test_parts_that_make_no_checkpoint(parts: dict[int, dict[str, object]], says: str) -> None:
    with pytest.raises(PartsDisagreeError, match=says.replace("[", r"\[").replace("]", r"\]")):
        merge_parts(parts, pods=2, attempt=1, step=4, facts={})


@pytest.mark.parametrize("document", [{}, {"files": []}, {"files": [{"path": "a"}]}, {"files": 3}])
def test_what_is_no_manifest(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a manifest"):
        file_list(document)


@pytest.mark.parametrize(
    ("path", "by_pod_1"),
    [
        ("trainer_state.json", True),
        ("global_step4/mp_rank_00_model_states.pt", True),
        ("rng_state_0.pth", False),
        ("rng_state_2.pth", True),
        ("rng_state_12.pth", False),
        ("global_step4/zero_pp_rank_3_mp_rank_00_optim_states.pt", True),
        ("global_step4/zero_pp_rank_1_mp_rank_00_optim_states.pt", False),
        ("global_step4/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt", False),
    ],
)
def test_a_pod_fetches_shared_files_and_its_own_ranks(path: str, by_pod_1: bool) -> None:
    assert needed_by(path, range(2, 4)) is by_pod_1


def test_a_changed_byte_changes_the_record(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    before = hash_folder(tmp_path)
    (tmp_path / "a").write_bytes(b"abd")
    assert hash_folder(tmp_path) != before

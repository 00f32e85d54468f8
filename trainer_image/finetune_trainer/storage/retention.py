"""Which checkpoints of a run leave its bucket. Decided here, without any input or output."""

from collections.abc import Mapping

from finetune_trainer.storage.manifest import Candidate, Listing, resume_order


def superfluous(
    listing: Listing,
    from_steps: Mapping[int, int],
    losses: Mapping[Candidate, float],
    *,
    keep_last: int,
    keep_best: int,
    live: int,
) -> list[Candidate]:
    """Steps to delete, oldest first.

    Of the steps that a run could go on from, the newest ``keep_last`` and the ``keep_best`` of the
    lowest loss stay; so does what is pinned, and what is quarantined, for whoever looks for the
    cause. Steps on an abandoned branch go. Of steps without a manifest only those of attempts
    before ``live`` go: nobody will ever complete them.
    """
    usable = resume_order(listing, from_steps)
    if not usable:
        return []
    told = sorted((c for c in usable if c in losses), key=lambda c: (losses[c], c))
    kept = {*usable[:keep_last], *told[:keep_best], *listing.pinned, *listing.quarantined}
    unfinished = {c for c in listing.begun - listing.manifested if c.attempt < live}
    return sorted((listing.manifested | unfinished) - kept)

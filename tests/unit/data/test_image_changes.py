"""Changed images: each setting changes what it says, and the same draws give the same image."""

import numpy as np
import pytest

from finetune_api.augmentation import ImageAugmentation
from finetune_trainer.data.image_changes import changed
from finetune_trainer.visits import ChangingRows, Visits

PIXELS = np.random.default_rng(0).integers(60, 180, (12, 10, 3), dtype=np.uint8)
SETTINGS = {
    "flip": True, "rotate": 30.0, "crop": 0.4, "brightness": 0.5, "contrast": 0.5,
}  # fmt: skip


def versions(**settings):
    asked = ImageAugmentation(**settings)
    return [changed(PIXELS, asked, np.random.default_rng([1, row])) for row in range(12)]


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_images_by_seed_alone(name):
    first, again = (versions(**{name: SETTINGS[name]}) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert all(one.shape == PIXELS.shape and one.dtype == np.uint8 for one in first)
    differing = sum(not np.array_equal(one, PIXELS) for one in first)
    assert 2 < differing < 10 if name == "flip" else differing >= 11
    assert len({one.tobytes() for one in first}) >= (2 if name == "flip" else 11)


def test_amounts_are_what_they_say():
    assert {one.tobytes() for one in versions(flip=True)} == {
        PIXELS.tobytes(), PIXELS[:, ::-1].tobytes()
    }  # fmt: skip
    means = np.array([one.mean() for one in versions(brightness=0.2)]) / PIXELS.mean()
    assert 0.79 < means.min() < 0.95
    assert 1.05 < means.max() < 1.21
    spreads = np.array([one.std() for one in versions(contrast=0.2)]) / PIXELS.std()
    assert 0.78 < spreads.min() < 0.95
    assert 1.05 < spreads.max() < 1.22


def test_one_more_setting_leaves_the_other_draws():
    both = versions(flip=True, brightness=0.5)
    for one, mirrored in zip(both, versions(flip=True), strict=True):
        dark = one.mean(axis=(1, 2)) / mirrored.mean(axis=(1, 2))
        np.testing.assert_allclose(dark, dark[0], rtol=0.02)


def test_rows_change_from_visit_to_visit_and_not_by_who_takes_them():
    visits = list(Visits([2, 0, 2, 1, 2]))
    assert visits == [(2, 0), (0, 0), (2, 1), (1, 0), (2, 2)]
    rows = ChangingRows([10, 20, 30], lambda row, rng: row + rng.random(), seed=7)
    seen = [rows[visit] for visit in visits]
    assert len(set(seen)) == 5
    assert [rows[visit] for visit in reversed(visits)] == seen[::-1]
    assert ChangingRows([10, 20, 30], lambda row, rng: row + rng.random(), 8)[2, 0] != seen[0]
    assert len(Visits([1, 2, 3])) == len(rows) == 3

"""Changed recordings: each setting changes what it says, and the same draws give the same sound."""

import numpy as np
import pytest

from finetune_api.augmentation import AudioAugmentation
from finetune_trainer.data.sound_changes import changed

RATE, LONGEST = 4000, 5000
TIME = np.arange(RATE) / RATE
WAVE = (0.3 * np.sin(2 * np.pi * 400 * TIME)).astype(np.float32)
SETTINGS = {"noise": {"lowest": 10, "highest": 30}, "speed": {"slowest": 0.8, "fastest": 1.25}}


def versions(longest=LONGEST, fits=lambda count: True, **settings):
    asked = AudioAugmentation.model_validate(settings)
    return [changed(WAVE, asked, np.random.default_rng([1, n]), longest, fits) for n in range(40)]


def pitch(wave):
    return np.abs(np.fft.rfft(wave)).argmax() * RATE / len(wave)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_recordings_by_seed_alone(name):
    first, again = (versions(**{name: SETTINGS[name]}) for _ in range(2))
    assert [one.tobytes() for one in first] == [one.tobytes() for one in again]
    assert len({one.tobytes() for one in first}) == 40
    assert all(one.dtype == np.float32 and np.abs(one).max() <= 1 for one in first)


def test_noise_is_as_many_decibels_below_the_sound_as_it_says():
    ratios = [
        10 * np.log10(np.mean(WAVE**2) / np.mean((one - WAVE) ** 2))
        for one in versions(noise=SETTINGS["noise"])
    ]
    assert 9.5 < min(ratios) < 12
    assert 28 < max(ratios) < 30.5


def test_speed_changes_length_and_pitch_alike():
    played = versions(speed=SETTINGS["speed"])
    lengths = [len(one) for one in played]
    assert RATE / 1.25 - 1 <= min(lengths) < RATE / 1.15
    assert RATE / 0.87 < max(lengths) <= RATE / 0.8 + 1
    for one in played:
        assert pitch(one) == pytest.approx(400 * RATE / len(one), abs=2)


def test_a_recording_stays_within_the_longest_and_holds_its_text():
    assert max(len(one) for one in versions(longest=4200, speed=SETTINGS["speed"])) == 4200
    short = versions(fits=lambda count: count >= 3900, speed=SETTINGS["speed"])
    assert min(len(one) for one in short) >= 3900
    assert sum(one is WAVE for one in short) > 5


def test_one_more_setting_leaves_the_other_draws():
    both, alone = versions(**SETTINGS), versions(speed=SETTINGS["speed"])
    assert [len(one) for one in both] == [len(one) for one in alone]

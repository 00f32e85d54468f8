"""Recordings: what is read, and each thing that is refused, with its place."""

import io
import json

import numpy as np
import pytest
import soundfile

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data import sounds
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TRAIN

RATE = 8000


def recording(pitch=440.0, seconds=0.1, kind="WAV", channels=1, subtype=None):
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.repeat(0.5 * np.sin(2 * np.pi * pitch * time)[:, None], channels, axis=1)
    sink = io.BytesIO()
    soundfile.write(sink, wave, RATE, format=kind, subtype=subtype)
    return sink.getvalue()


GOOD = {f"{'ab'[n % 2]}/{n}.wav": recording(200.0 + 10 * n) for n in range(6)}


def gather(path, name):
    dataset = Dataset(train=TrainSource(uri="s3://data/x"))
    gatherer = Gatherer(dataset, (Layout.AUDIO_LABELS,), path.parent / "contents.arrow")
    return gatherer.gather([DataFile(path, name, TRAIN)])


def refused(folder, files):
    for name, data in (GOOD | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    rows = [{"audio": name, "label": name[0]} for name in (*GOOD, *files)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for path, name in ((folder, "sounds/"), (folder / "rows.jsonl", "rows.jsonl")):
        with pytest.raises(DataError) as caught:
            gather(path, name)
        found.append(caught.value.failure().sentence())
    return found


BAD = {
    "cut off": (recording()[:700], "is a damaged or cut off recording", "328 samples are there"),
    "cut off flac": (
        recording(kind="FLAC", seconds=1.0)[:500], "is a damaged or cut off recording", "decoder",
    ),
    "no bytes": (b"", "is a file of no bytes", ""),
    "a page": (
        b"<!DOCTYPE html><html>", "is no recording that can be read",
        "its first bytes are b'<!DOCTYPE ht'",
    ),
    "no length": (recording(seconds=0), "is a recording of no length", ""),
    "silent": (recording(pitch=0.0), "is silent", "0.1 s"),
    "no numbers": (None, "holds samples that are no numbers", ""),
    "too long": (None, "is a recording of more than 30 minutes", "31 minutes"),
}  # fmt: skip


def data_of(name):
    sink = io.BytesIO()
    if name == "no numbers":
        soundfile.write(sink, [0.1, float("nan")], RATE, format="WAV", subtype="FLOAT")
    elif name == "too long":
        soundfile.write(sink, np.zeros(31 * 60 * 100, np.int16), 100, format="WAV")
    else:
        return BAD[name][0]
    return sink.getvalue()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_is_told_with_its_place(tmp_path, name):
    _, rule, value = BAD[name]
    of_folder, of_table = refused(tmp_path, {"b/bad.wav": data_of(name)})
    assert of_folder.startswith("1 problem in the dataset: b/bad.wav")
    assert "rows.jsonl:7 (b/bad.wav" in of_table
    for sentence in (of_folder, of_table):
        assert rule in sentence
        assert value in sentence


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF", "MP3"])
def test_any_format_becomes_one_channel_at_the_models_rate(kind):
    data = recording(seconds=0.5, kind=kind, channels=2)
    assert sounds.is_sound(data, "audio", lambda **told: pytest.fail(str(told)))
    wave = sounds.samples(data, 16000)
    assert wave.dtype == np.float32
    assert wave.shape == (8000,)
    loudest = np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave)
    assert loudest == pytest.approx(440, abs=4)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.05)


def test_a_rate_that_fits_leaves_samples_as_they_are():
    wave = sounds.samples(recording(), RATE)
    read, _ = soundfile.read(io.BytesIO(recording()), dtype="float32")
    np.testing.assert_array_equal(wave, read)

"""Makes the dataset: orders spoken by espeak-ng in several voices, at several speeds and pitches.

espeak-ng must be installed (`apt-get install espeak-ng`).
"""

import argparse
import itertools
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = ("one", "two", "three", "four", "five", "six")
COLOURS = ("red", "green", "blue", "white")
THINGS = ("lamp", "chair", "table", "shelf", "door")
VOICES = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4")
TIMES = 6
"""How often each order is spoken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the Parquet file to write")
    output = parser.parse_args().output
    if shutil.which("espeak-ng") is None:
        parser.error("espeak-ng is not installed: apt-get install espeak-ng")
    output.parent.mkdir(parents=True, exist_ok=True)
    chooser = random.Random(7)
    orders = [" ".join(words) for words in itertools.product(NUMBERS, COLOURS, THINGS)] * TIMES
    chooser.shuffle(orders)
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "order.wav"
        rows = []
        for text in orders:
            speak(text, wave, chooser)
            rows.append({"audio": {"bytes": wave.read_bytes(), "path": None}, "text": text})
    pq.write_table(pa.Table.from_pylist(rows), output)
    print(f"{output}: {len(rows)} spoken orders")


def speak(text: str, wave: Path, chooser: random.Random) -> None:
    """With a voice, a speed in words a minute and a pitch by chance."""
    command = [
        "espeak-ng", "-v", chooser.choice(VOICES), "-s", str(chooser.randint(150, 200)),
        "-p", str(chooser.randint(30, 70)), "-w", str(wave), text,
    ]  # fmt: skip
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

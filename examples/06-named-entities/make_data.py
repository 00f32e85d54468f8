"""Makes the dataset: sentences with the places of persons and towns."""

import argparse
import json
import random
from pathlib import Path

ROWS = 600
FIRST = ("Ada", "Bo", "Cleo", "Dov", "Edda", "Finn", "Gro", "Hal", "Ines", "Juno")
SECOND = ("Berg", "Stone", "Lund", "Okoro", "Silva", "Tanaka", "Weiss", "Moreau")
TOWNS = ("Oslo", "Lima", "Kyoto", "New Orleans", "Graz", "Porto Novo", "Turin", "Accra")
SENTENCES = (
    "{PERSON} moved to {TOWN} last spring.",
    "In {TOWN}, {PERSON} met {PERSON}.",
    "Please send the parcel of {PERSON} back to {TOWN}!",
    "The train from {TOWN} to {TOWN} is late.",
    "Nobody knew what to say.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for _ in range(ROWS):
            file.write(json.dumps(row(chooser)) + "\n")
    print(f"{output}: {ROWS} sentences with their names")


def row(chooser: random.Random) -> dict[str, object]:
    """A sentence and its spans."""
    text, spans = "", []
    for number, part in enumerate(chooser.choice(SENTENCES).replace("}", "{").split("{")):
        if number % 2:
            names = TOWNS if part == "TOWN" else [f"{a} {b}" for a in FIRST for b in SECOND]
            name = chooser.choice(names)
            spans.append({"start": len(text), "end": len(text) + len(name), "label": part})
            text += name
        else:
            text += part
    return {"text": text, "spans": spans}


if __name__ == "__main__":
    main()

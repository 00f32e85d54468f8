"""Makes the dataset: sentences with the places of persons and towns."""

import argparse
import json
import random
from pathlib import Path

ROWS = 600
NAMES = (
    "Florence", "Austin", "Victoria", "Paris", "Sydney", "Lima", "Chelsea", "Madison", "Phoenix",
    "Savannah", "Sofia", "Carolina", "Dallas", "Lincoln", "Jackson", "Adelaide",
)  # fmt: skip
"""Names of persons and of towns: what is meant, the sentence says."""
SENTENCES = (
    "{PERSON} moved to {TOWN} last spring.",
    "{TOWN} lies north of {TOWN}, and {PERSON} has never been there.",
    "When {PERSON} and {PERSON} married, {TOWN} was covered in snow.",
    "Please send the parcel of {PERSON} back to {TOWN}!",
    "The mayor of {TOWN} thanked {PERSON} and {PERSON}.",
    "{TOWN} beat {TOWN} at home, and {PERSON} was pleased.",
    "Nobody knew what to say to {PERSON}.",
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
            name = chooser.choice(NAMES)
            spans.append({"start": len(text), "end": len(text) + len(name), "label": part})
            text += name
        else:
            text += part
    return {"text": text, "spans": spans}


if __name__ == "__main__":
    main()

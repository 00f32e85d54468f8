"""Makes the dataset: short English phrases and their French."""

import argparse
import json
import random
from pathlib import Path

from phrases import phrase

ROWS = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    pairs = dict(phrase(chooser) for _ in range(ROWS))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for english, french in pairs.items():
            file.write(json.dumps({"source": english, "target": french}) + "\n")
    print(f"{output}: {len(pairs)} phrases")


if __name__ == "__main__":
    main()

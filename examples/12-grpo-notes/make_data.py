"""Makes the dataset: orders in words, as prompts without answers."""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "02-sft-json"))
from orders import SENTENCES, Order

ROWS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for _ in range(ROWS):
            prompt = f"{Order.drawn(chooser).sentence(chooser.choice(SENTENCES))}\n"
            file.write(json.dumps({"prompt": prompt}) + "\n")
    print(f"{output}: {ROWS} prompts")


if __name__ == "__main__":
    main()

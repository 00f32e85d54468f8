"""Makes the dataset: orders in words as prompts, the same orders in JSON as completions."""

import argparse
import json
import random
from pathlib import Path

from orders import SENTENCES, Order

ROWS = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    orders = {Order.drawn(chooser): None for _ in range(ROWS)}
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for order in orders:
            prompt = f"{order.sentence(chooser.choice(SENTENCES))}\n"
            file.write(json.dumps({"prompt": prompt, "completion": order.json()}) + "\n")
    print(f"{output}: {len(orders)} orders in words and in JSON")


if __name__ == "__main__":
    main()

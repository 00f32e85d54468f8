"""Makes the dataset: orders in words with one order in JSON each, judged right or wrong."""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "02-sft-json"))
from orders import SENTENCES, Order

ROWS = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    orders = list(dict.fromkeys(Order.drawn(chooser) for _ in range(ROWS)))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for order, other in zip(orders, orders[1:] + orders[:1], strict=True):
            right = chooser.randrange(3) == 0
            prompt = f"{order.sentence(chooser.choice(SENTENCES))}\n"
            answer = (order if right else other).json()
            file.write(json.dumps({"prompt": prompt, "completion": answer, "label": right}) + "\n")
    print(f"{output}: {len(orders)} judged answers")


if __name__ == "__main__":
    main()

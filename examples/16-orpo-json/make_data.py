"""Makes the dataset: the preferences of the example of DPO."""

import runpy
from pathlib import Path


def main() -> None:
    other = Path(__file__).resolve().parents[1] / "04-dpo-json" / "make_data.py"
    runpy.run_path(str(other), run_name="__main__")


if __name__ == "__main__":
    main()

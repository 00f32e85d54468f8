"""Makes the dataset: scikit-learn's handwritten digits as PNG images in a Parquet file."""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

BRIGHTEST = 16
"""The digits' own scale."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the Parquet file to write")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    rows = [
        {"image": {"bytes": png(pixels), "path": None}, "label": str(digit)}
        for pixels, digit in zip(digits.images, digits.target, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), output)
    print(f"{output}: {len(rows)} images of digits")


def png(pixels: np.ndarray) -> bytes:
    """A picture of 8 x 8 grey pixels."""
    sink = io.BytesIO()
    grey = (pixels * 255 / BRIGHTEST).astype(np.uint8)
    Image.fromarray(grey).save(sink, "PNG")
    return sink.getvalue()


if __name__ == "__main__":
    main()

"""Images by three layouts: the same rows, and each thing that is refused, with its place."""

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from finetune_api.dataset import Checks, Columns, Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.job import Storage
from finetune_api.learning import Layout
from finetune_trainer.data import images, media
from finetune_trainer.data.checks import RowChecks
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.named_files import fetch_named
from finetune_trainer.data.rows import assign
from finetune_trainer.data.split import TRAIN
from finetune_trainer.storage.objects import ObjectStore

NAMES = [f"{'ab'[number % 2]}/{number}.png" for number in range(8)]


def picture(number, kind="PNG", size=(6, 5), mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(sink, kind)
    return sink.getvalue()


PICTURES = [picture(number) for number in range(8)]


def written(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def gather(path, name, **settings):
    dataset = Dataset(train=TrainSource(uri="s3://data/x"), **settings)
    gatherer = Gatherer(dataset, (Layout.IMAGE_LABELS,), path.parent / "contents.arrow")
    return gatherer.gather([DataFile(path, name, TRAIN)])


def folder_of(tmp_path, files):
    return gather(written(tmp_path / "pets", files), "pets/")


def table_of(tmp_path, rows, files, name="rows.jsonl", **settings):
    tmp_path.mkdir(parents=True, exist_ok=True)
    written(tmp_path, files)
    path = tmp_path / name
    if name.endswith("jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith("csv"):
        path.write_text("image,label\n" + "".join(f"{r['image']},{r['label']}\n" for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return gather(path, name, **settings)


def refused(call, *arguments, **options):
    with pytest.raises(DataError) as caught:
        call(*arguments, **options)
    return caught.value.failure().sentence()


GOOD = dict(zip(NAMES, PICTURES, strict=True))
ROWS = [{"image": name, "label": name[0]} for name in NAMES]


def seen(gathered):
    """Bytes and class of every row."""
    with pa.memory_map(str(gathered.arrow)) as source:
        addresses = pa.ipc.open_file(source).read_all().column(0).to_pylist()
    labels = [gathered.labels[number] for number in gathered.label_ids]
    return sorted(zip(map(media.read, addresses), labels, strict=True))


def test_three_layouts_give_the_same_rows(tmp_path):
    wanted = sorted(zip(PICTURES, [name[0] for name in NAMES], strict=True))
    assert seen(folder_of(tmp_path / "1", GOOD)) == wanted
    for name in ("rows.jsonl", "rows.csv", "paths.parquet"):
        assert seen(table_of(tmp_path / name, ROWS, GOOD, name)) == wanted, name
    plain = [{"image": data, "label": name[0]} for name, data in GOOD.items()]
    structs = [{**row, "image": {"bytes": row["image"], "path": None}} for row in plain]
    for number, rows in enumerate((plain, structs)):
        assert seen(table_of(tmp_path / f"p{number}", rows, {}, "rows.parquet")) == wanted


def test_a_folder_says_what_it_is(tmp_path):
    found = folder_of(tmp_path, {**GOOD, "a/.hidden.png": b"", "a/notes.txt": b"x"})
    assert found.files == [{
        "name": "pets/", "part": "train", "bytes": sum(map(len, PICTURES)) + 1,
        "format": "ImageFolder", "reason": "a folder of files for each class", "rows": 8,
    }]  # fmt: skip
    assert found.labels == ["a", "b"]


def test_equal_bytes_are_one_row_whatever_their_names(tmp_path):
    found = folder_of(tmp_path, {**GOOD, "a/again.png": PICTURES[0], "b/9.png": PICTURES[2]})
    checks = RowChecks(found, Checks(), tmp_path)
    _, dropped = assign(found, Dataset(train=TrainSource(uri="s3://data/x")), 1, checks)
    assert dropped["duplicate"] == 1
    assert (tmp_path / "media.bin").exists() is False


DAMAGED = {
    "cut off": (
        PICTURES[0][:60], "is a damaged or cut off image", "copy the image again, or remove the row"
    ),
    "no bytes": (b"", "is a file of no bytes", "copy the file again"),
    "a page": (
        b"<!DOCTYPE html><html>", "is no image that can be read",
        "save the image as PNG or JPEG",
    ),
    "sixteen bits": (
        picture(0, mode="I;16"), "has more than 8 bits a colour",
        "save the image with 8 bits a colour",
    ),
    "a bomb": (
        None, "is an image of more than 100 million pixels",
        "make the image smaller: models see a few hundred pixels a side",
    ),
}  # fmt: skip
VALUES = {
    "cut off": "image file is truncated", "a page": "its first bytes are b'<!DOCTYPE ht'",
    "sixteen bits": "mode I;16", "a bomb": "10001 x 10000 pixels", "no bytes": "",
}  # fmt: skip


def damaged(name):
    if name != "a bomb":
        return DAMAGED[name][0]
    sink = io.BytesIO()
    Image.new("1", (10001, 10000)).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_image_is_told_with_its_place(tmp_path, name):
    _, rule, fix = DAMAGED[name]
    value = VALUES[name]
    sentence = refused(folder_of, tmp_path / "f", {**GOOD, "b/bad.png": damaged(name)})
    where = f"b/bad.png ({value}" if value else "b/bad.png: "
    assert where in sentence
    assert f"{rule}; {fix}" in sentence
    bad = [*ROWS, {"image": "x/bad.png", "label": "a"}]
    sentence = refused(table_of, tmp_path / "t", bad, {**GOOD, "x/bad.png": damaged(name)})
    told = f"x/bad.png: {value}" if value else "x/bad.png"
    assert f"rows.jsonl:9 ({told}" in sentence
    assert f"field 'image' {rule}; {fix}" in sentence
    inside = [{"image": data, "label": "ab"[n % 2]} for n, data in enumerate(PICTURES)]
    inside.append({"image": damaged(name), "label": "a"})
    sentence = refused(table_of, tmp_path / "p", inside, {}, "rows.parquet")
    assert "rows.parquet row 9" in sentence
    assert f"field 'image' {rule}; {fix}" in sentence


BAD_PATHS = {
    "missing": ("a/99.png", "names an image that is not there (a/99.png)"),
    "above": ("../secret.png", "is no path below the data file's folder (../secret.png)"),
    "absolute": ("/etc/passwd", "is no path below the data file's folder (/etc/passwd)"),
    "address": ("https://x/y.png", "is no path below the data file's folder (https://x/y.png)"),
    "number": (5, "must be the path of an image (5)"),
    "nothing": (None, "must be the path of an image (null)"),
}  # fmt: skip


def test_bad_paths_are_told_all_at_once(tmp_path):
    rows = [*ROWS, *({"image": path, "label": "a"} for path, _ in BAD_PATHS.values())]
    sentence = refused(table_of, tmp_path, rows, GOOD)
    assert "6 problems in the dataset" in sentence
    for path, told in BAD_PATHS.values():
        rule, _, value = told.partition(" (")
        line = [row["image"] for row in rows].index(path) + 1
        assert rule in sentence
        assert f"rows.jsonl:{line} ({value}" in sentence


def test_what_a_folder_or_a_column_lacks_is_told(tmp_path):
    sentence = refused(folder_of, tmp_path / "1", {**GOOD, "stray.png": PICTURES[0]})
    assert "stray.png: stands in no folder of a class; move it into a folder" in sentence
    sentence = refused(folder_of, tmp_path / "2", {**GOOD, "c/1.png": picture(99)})
    assert "c/1.png ('c'): field 'label' is a class with a single row" in sentence
    sentence = refused(
        table_of, tmp_path / "3", [{"file_name": r["image"], "label": r["label"]} for r in ROWS],
        GOOD,
    )  # fmt: skip
    assert "field 'image' is missing" in sentence
    assert "set dataset.columns.image: file_name" in sentence
    sentence = refused(table_of, tmp_path / "4", [{"image": 1, "label": "a"}], {}, "rows.parquet")
    assert "field 'image' must be bytes, the struct {bytes, path}, or a path" in sentence
    sentence = refused(folder_of, tmp_path / "5", {"notes.txt": b"x"})
    assert "pets/: holds no rows" in sentence


def test_another_column_may_hold_the_image(tmp_path):
    rows = [{"file": row["image"], "label": row["label"]} for row in ROWS]
    assert table_of(tmp_path, rows, GOOD, columns=Columns(image="file")).rows == 8


def test_pixels_are_as_the_camera_was_held():
    sink = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("L", (4, 2)).save(sink, "JPEG", exif=turned)
    found = images.pixels(sink.getvalue())
    assert (found.size, found.mode) == ((2, 4), "RGB")


def test_only_the_files_that_rows_name_are_fetched(tmp_path):
    written(tmp_path / "store", {**GOOD, "a/unnamed.png": PICTURES[0]})
    rows = tmp_path / "store" / "rows.jsonl"
    named = [NAMES[0], NAMES[1], "a/gone.png", "../rows.jsonl"]
    rows.write_text("".join(json.dumps({"image": name}) + "\n" for name in named))
    (tmp_path / "here").mkdir()
    copy = tmp_path / "here" / "rows.jsonl"
    copy.write_bytes(rows.read_bytes())
    store, file = ObjectStore(Storage()), DataFile(copy, "rows.jsonl", TRAIN)
    for uri in (f"file://{rows}", f"file://{tmp_path}/store/"):
        records = fetch_named(store, uri, file, "Auto", "image")
        assert sorted(record.path for record in records) == sorted(NAMES[:2])
    assert (tmp_path / "here" / NAMES[0]).read_bytes() == PICTURES[0]


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (NAMES[:2], NAMES[:2]),
        ([{"bytes": None, "path": name} for name in NAMES[:2]], NAMES[:2]),
        ([{"bytes": data, "path": NAMES[0]} for data in PICTURES[:2]], []),
        (PICTURES[:2], []),
        (None, []),
    ],
)
def test_parquet_names_files_where_it_does_not_hold_them(tmp_path, column, wanted):
    written(tmp_path / "store", GOOD)
    (tmp_path / "here").mkdir()
    table = pa.table({"label": ["a", "b"]} | ({"image": column} if column else {}))
    for place in ("store", "here"):
        pq.write_table(table, tmp_path / place / "rows.parquet")
    file = DataFile(tmp_path / "here" / "rows.parquet", "rows.parquet", TRAIN)
    uri = f"file://{tmp_path}/store/rows.parquet"
    records = fetch_named(ObjectStore(Storage()), uri, file, "Auto", "image")
    assert sorted(record.path for record in records) == wanted


def test_rows_of_text_import_no_library_of_media():
    code = (
        "import sys, finetune_trainer.data.rows, finetune_trainer.data.sources\n"
        "print({'PIL', 'soundfile', 'soxr', 'jiwer', 'torch', 'torchvision'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"

"""Arrow, JSON and plain text: what is detected, what is read, and how much memory it takes."""

import io
import json
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.dataset import Dataset, DatasetFormat, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data import json_document, plain_text
from finetune_trainer.data.arrow import ArrowRows
from finetune_trainer.data.detect import NAMES, TEXT_NAMES, detect, is_data_name
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.json_document import JsonRows
from finetune_trainer.data.split import TRAIN

ROWS = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(8)]


def gather(folder, content, name, layout=Layout.LABELS, **settings):
    path = folder / name
    path.write_bytes(content)
    dataset = Dataset(train=TrainSource(uri="s3://b/x"), **settings)
    gatherer = Gatherer(dataset, (layout,), folder / "contents.arrow")
    return gatherer.gather([DataFile(path, name, TRAIN)])


def contents(found):
    with pa.OSFile(str(found.arrow), "rb") as source:
        return pa.ipc.open_file(source).read_all().column(0).to_pylist()


def arrow_file(table, writer=pa.ipc.new_file):
    sink = io.BytesIO()
    with writer(sink, table.schema) as file:
        file.write_table(table)
    return sink.getvalue()


TABLE = pa.Table.from_pylist(ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
DETECTED = {
    "file.bin": (arrow_file(TABLE), "Arrow", "its first bytes are ARROW1"),
    "stream.bin": (
        arrow_file(TABLE, pa.ipc.new_stream), "Arrow",
        "its first bytes are those of an Arrow stream",
    ),
    "array.txt.json": (json.dumps(ROWS).encode(), "JSON", "it starts with ["),
    "mark.jsonl": (b"\xef\xbb\xbf" + json.dumps(ROWS).encode(), "JSON", "it starts with ["),
    "object.json": (
        json.dumps({"rows": ROWS}).encode(), "JSON", "it is one object with a list of rows",
    ),
    "pretty.json": (
        json.dumps({"n": 8, "rows": ROWS}, indent=1).encode(), "JSON",
        "its first line holds no whole object",
    ),
    "lines.json": (JSONL, "JSONL", "its first line starts with {"),
    "long-lines.json": (
        b"".join(json.dumps(row | {"more": "x" * 90_000}).encode() + b"\n" for row in ROWS),
        "JSONL", "it has several long lines, the first starts with {",
    ),
    "long-object.json": (
        json.dumps({"rows": [row | {"more": "x" * 90_000} for row in ROWS]}).encode() + b"\n\n",
        "JSON", "its first line holds no whole object",
    ),
    "tabs.tsv": (b"text\tlabel\n" + b"x\ta\ny\ta\nz\tb\nu\tb\n", "CSV",
                 "header row with delimiter '\\t'"),
}  # fmt: skip


@pytest.mark.parametrize("name", DETECTED)
def test_content_tells_the_format(tmp_path, name):
    content, kind, reason = DETECTED[name]
    found = gather(tmp_path, content, name)
    assert found.rows >= 4
    assert (found.files[0]["format"], found.files[0]["reason"]) == (kind, reason)


def test_the_users_word_goes_before_the_content(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(JSONL)
    assert detect(path, DatasetFormat.AUTO).format is DatasetFormat.TEXT
    for asked in (DatasetFormat.JSON, DatasetFormat.JSONL, DatasetFormat.LINES):
        found = detect(path, asked)
        assert (found.format, found.reason) == (asked, "as asked for")


def test_what_datasets_saves_beside_its_rows_is_no_data():
    names = ["data-00000-of-00001.arrow", "state.json", "dataset_info.json", "x/dataset_dict.json",
             "notes.txt", "rows.json"]  # fmt: skip
    assert [n for n in names if is_data_name(n, NAMES)] == [names[0], "rows.json"]
    assert [n for n in names if is_data_name(n, TEXT_NAMES)] == ["notes.txt"]


def test_a_folder_that_datasets_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    assert gather(tmp_path, file.read_bytes(), "rows.arrow").rows == 8


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=6)


@given(RECORDS, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_document_reads_back_in_pieces_of_any_size(
    tmp_path_factory, rows, piece, indent, escaped, named
):
    path = tmp_path_factory.getbasetemp() / "document.json"
    document = {"ids": [1, 2], "rows": rows, "end": {"rows": 1}} if named and rows[0] else rows
    text = json.dumps(document, indent=indent, ensure_ascii=escaped)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    told = []
    before, json_document.PIECE = json_document.PIECE, piece
    try:
        found = list(JsonRows(path, lambda *place, **what: told.append(what)).records())
    finally:
        json_document.PIECE = before
    if not told or escaped:
        assert found == list(enumerate(rows, 1))
        assert not told


def test_a_large_document_is_never_held_whole(tmp_path):
    path = tmp_path / "rows.json"
    with path.open("w") as file:
        file.write('{"rows": [')
        file.writelines(f'{"," * (n > 0)}{{"text": "{"x" * 1000}"}}' for n in range(20_000))
        file.write("]}")
    tracemalloc.start()
    assert sum(1 for _ in JsonRows(path, pytest.fail).records()) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20 < path.stat().st_size


def test_a_large_arrow_batch_becomes_values_a_slice_at_a_time(tmp_path):
    path = tmp_path / "rows.arrow"
    table = pa.table({"text": [f"{n} " + "x" * 200_000 for n in range(200)]})
    path.write_bytes(arrow_file(table))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    for _ in ArrowRows.open(path, pytest.fail).records({"text": "text"}):
        assert pa.total_allocated_bytes() - before < 2**20, "the file is mapped"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20 < path.stat().st_size


@pytest.mark.parametrize("writer", [pa.ipc.new_file, pa.ipc.new_stream])
def test_a_cut_off_arrow_file_is_one_sentence(tmp_path, writer):
    whole = arrow_file(pa.Table.from_pylist(ROWS * 40), writer)
    for size in range(len(whole) // 7, len(whole) - 9, len(whole) // 7):
        with pytest.raises(DataError, match=r"^1 problem .*(cut off Arrow|from here on)"):
            gather(tmp_path, whole[:size], "rows.arrow")


def test_offsets_that_lie_are_refused(tmp_path):
    whole = arrow_file(TABLE)
    offsets = pa.array([0, 5, 10], pa.int32()).buffers()[1].to_pybytes()[:12]
    assert whole.count(offsets) == 1
    with pytest.raises(DataError, match="cannot be read from here on"):
        gather(
            tmp_path, whole.replace(offsets, b"\0\0\0\0\xff\xff\xff\x7f\x0a\0\0\0"), "rows.arrow"
        )


def test_lines_and_files_of_plain_text(tmp_path):
    content = "\ufeffOne.\r\n\r\n  Two\u2028 and. \nThree.".encode()
    lines = gather(tmp_path, content, "a.txt", Layout.TEXT, format="Lines")
    assert contents(lines) == ["One.", "  Two\u2028 and. ", "Three."]
    whole = gather(tmp_path, content, "a.txt", Layout.TEXT)
    assert contents(whole) == ["One.\r\n\r\n  Two\u2028 and. \nThree."]


def test_a_huge_file_is_no_document(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_text, "LARGEST", 2**20)
    with pytest.raises(DataError) as caught:
        gather(tmp_path, b"some text\n" * 200_000, "a.txt", Layout.TEXT)
    assert caught.value.failure().sentence() == (
        "1 problem in the dataset: a.txt (2 MiB): is too large for one document; set "
        "dataset.format: Lines when every line is a document, or split the file"
    )

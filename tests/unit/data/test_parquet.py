"""Parquet files: the same rows as JSONL and CSV give, and every fault told with its place."""

import base64
import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.dataset import Check, Checks, Columns, Dataset, DatasetFormat, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data.checks import RowChecks
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.parquet import ParquetRows
from finetune_trainer.data.rows import assign
from finetune_trainer.data.split import TRAIN

ROWS = 12
UNCHECKED = Checks(duplicates=Check.OFF, leakage=Check.OFF, pii=Check.OFF)
TEXTS = [f"row {n}" for n in range(ROWS)]
LABELS = ["ab"[n % 2] for n in range(ROWS)]


def parquet(columns, **options):
    sink = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(writer, schema, batches, **options):
    sink = io.BytesIO()
    with writer(sink, schema, **options) as file:
        for batch in batches:
            file.write_batch(batch)
    return sink.getvalue()


def gather(folder, content, name="rows.parquet", columns=None, asked=DatasetFormat.AUTO):
    path = folder / name
    path.write_bytes(content)
    return gatherer(folder, columns, asked).gather([DataFile(path, name, TRAIN)])


def gatherer(folder, columns=None, asked=DatasetFormat.AUTO, layouts=(Layout.LABELS,)):
    dataset = Dataset(train=TrainSource(uri="s3://b/x"), columns=columns or Columns(), format=asked)
    return Gatherer(dataset, layouts, folder / "texts.arrow")


def refused(folder, content, **options):
    with pytest.raises(DataError) as caught:
        gather(folder, content, **options)
    return caught.value.failure().sentence()


def texts(found):
    with pa.memory_map(str(found.arrow)) as source:
        return pa.ipc.open_file(source).read_all().column(0).to_pylist()


COLUMN_TYPES = {
    "strings": (pa.array(TEXTS), pa.array(LABELS)),
    "large strings": (pa.array(TEXTS, pa.large_string()), pa.array(LABELS, pa.large_string())),
    "string views": (pa.array(TEXTS, pa.string_view()), pa.array(LABELS, pa.string_view())),
    "dictionaries": (pa.array(TEXTS).dictionary_encode(), pa.array(LABELS).dictionary_encode()),
    "several chunks": (pa.chunked_array([TEXTS[:5], TEXTS[5:]]), pa.array(LABELS)),
}


@pytest.mark.parametrize("kind", COLUMN_TYPES)
def test_text_in_any_encoding_is_read(tmp_path, kind):
    text, label = COLUMN_TYPES[kind]
    others = {"vector": [[1.0, 2.0]] * ROWS, "id": list(range(ROWS))}
    content = parquet({"label": label, **others, "text": text}, row_group_size=5)
    found = gather(tmp_path, content)
    assert texts(found) == TEXTS
    assert found.label_ids.tolist() == [n % 2 for n in range(ROWS)]
    assert found.files[0]["format"] == "Parquet"
    assert found.files[0]["reason"] == "its first bytes are PAR1"
    assert found.files[0]["rows"] == ROWS


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64()])
def test_whole_numbers_are_classes(tmp_path, kind):
    content = parquet({"text": TEXTS, "label": pa.array([n % 3 for n in range(ROWS)], kind)})
    assert gather(tmp_path, content, asked=DatasetFormat.PARQUET).labels == ["0", "1", "2"]


def test_rows_are_numbered_over_batches_and_row_groups(tmp_path):
    # Long texts make batches of a few rows, so the number must go on from batch to batch.
    long = [f"{n} " + "x" * 900_000 for n in range(11)]
    content = parquet({"text": [*long, ""], "label": LABELS}, row_group_size=7, compression="zstd")
    assert "rows.parquet row 12: field 'text' is empty" in refused(tmp_path, content)


def test_a_large_row_group_is_never_held_whole(tmp_path):
    path = tmp_path / "rows.parquet"
    pages = {"compression": "none", "use_dictionary": False, "write_batch_size": 5}
    path.write_bytes(parquet({"text": [f"{n} " + "x" * 400_000 for n in range(200)]}, **pages))
    before = pa.total_allocated_bytes()
    file = ParquetRows.open(path, pytest.fail)
    held = [pa.total_allocated_bytes() - before for _ in file.records({"text": "text"})]
    assert len(held) == 200
    assert max(held) < 20 * 2**20


BAD = {
    "missing column": (
        {"body": TEXTS, "label": LABELS},
        ["rows.parquet (columns seen: body, label): field 'text' is missing",
         "set dataset.columns.text: body"],
    ),
    "null text": (
        {"text": [*TEXTS[:-1], None], "label": LABELS},
        ["rows.parquet row 12 (null): field 'text' must be text"],
    ),
    "null label": (
        {"text": TEXTS, "label": [None, *LABELS[1:]]},
        ["rows.parquet row 1 (null): field 'label' has no value", "give every row its class"],
    ),
    "a column of nulls": (
        {"text": TEXTS, "label": pa.nulls(ROWS)},
        ["field 'label' has no value (null)", "and 9 more: field 'label' has no value"],
    ),
    "text of numbers": (
        {"text": list(range(ROWS)), "label": LABELS},
        ["rows.parquet (the column is int64): field 'text' must be text"],
    ),
    "label of fractions": (
        {"text": TEXTS, "label": [1.0, None] * 6},
        ["(the column is double): field 'label' must be text or a whole number",
         "cast the column to whole numbers or text"],
    ),
    "label of booleans": (
        {"text": TEXTS, "label": [True, False] * 6},
        ["(the column is bool): field 'label' must be text or a whole number"],
    ),
    "label in a struct": (
        {"text": TEXTS, "label": [{"name": "a"}, {"name": "b"}] * 6},
        ["(the column is struct<name: string>): field 'label'", "nested columns are not read"],
    ),
    "text in a struct": (
        {"text": [{"body": "x"}] * ROWS, "label": LABELS},
        ["(the column is struct<body: string>): field 'text'", "nested columns are not read"],
    ),
    "text of bytes": (
        {"text": [t.encode() for t in TEXTS], "label": LABELS},
        ["(the column is binary): field 'text' must be text", "as string, not as binary"],
    ),
    "no rows": (
        {"text": pa.array([], pa.string()), "label": pa.array([], pa.string())},
        ["rows.parquet: holds no rows"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_columns_and_rows_are_refused(tmp_path, name):
    columns, expected = BAD[name]
    sentence = refused(tmp_path, parquet(columns))
    for part in expected:
        assert part in sentence, sentence


def test_both_wrong_columns_are_told_at_once(tmp_path):
    sentence = refused(tmp_path, parquet({"text": [1.5] * ROWS, "label": [1.0] * ROWS}))
    assert sentence.startswith("2 problems")


def test_a_column_that_stands_twice_is_refused(tmp_path):
    names = ["text", "text", "label"]
    table = pa.Table.from_arrays([pa.array(TEXTS)] * 2 + [pa.array(LABELS)], names)
    assert "field 'text' stands twice" in refused(tmp_path, parquet(table))


def test_a_text_that_is_not_utf8_is_told_with_its_row(tmp_path):
    content = parquet({"text": TEXTS, "label": LABELS}, compression="none", use_dictionary=False)
    spoilt = content.replace(b"row 7", b"ro\xe9 7")
    sentence = refused(tmp_path, spoilt)
    assert "rows.parquet row 8 (byte 0xe9): field 'text' is not UTF-8" in sentence


SOUND = parquet({"text": [f"text {n}" for n in range(500)], "label": ["a", "b"] * 250},
                write_page_checksum=True, compression="none", data_page_size=512)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SOUND[:-9], "is a damaged or cut off Parquet file"),
        (SOUND[: len(SOUND) // 2], "is a damaged or cut off Parquet file"),
        (b"PAR1", "is a damaged or cut off Parquet file"),
        (b"PAR1....PAR1", "is a damaged or cut off Parquet file"),
        (SOUND[:-40] + b"\xff" * 30 + SOUND[-10:], "is a damaged or cut off Parquet file"),
        (SOUND.replace(b"text 499", b"text 498"), "from here on"),
    ],
    ids=["end", "half", "magic", "footer size", "footer", "page"],
)
def test_damage_is_one_sentence(tmp_path, content, expected):
    assert gather(tmp_path, SOUND).rows == 500
    sentence = refused(tmp_path, content)
    assert expected in sentence
    assert sentence.startswith("1 problem in the dataset: rows.parquet")
    assert len(sentence) < 400


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_encryption_is_named(tmp_path, plaintext_footer):
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):
        def __init__(self, _):
            super().__init__()

        def wrap_key(self, key, _):
            return base64.b64encode(key)

    properties = encryption.CryptoFactory(Keys).file_encryption_properties(
        encryption.KmsConnectionConfig(),
        encryption.EncryptionConfiguration(
            footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plaintext_footer
        ),
    )
    content = parquet({"text": TEXTS, "label": LABELS}, encryption_properties=properties)
    assert "is an encrypted Parquet file" in refused(tmp_path, content)


def test_the_formats_name_is_held_against_the_content(tmp_path):
    content = parquet({"text": TEXTS, "label": LABELS})
    assert gather(tmp_path, content, name="rows.csv").rows == ROWS
    sentence = refused(tmp_path, content, asked=DatasetFormat.JSONL)
    assert "is a Parquet file, and dataset.format is JSONL" in sentence
    sentence = refused(tmp_path, b'{"text": "x", "label": "a"}', asked=DatasetFormat.PARQUET)
    assert "is no Parquet file, as dataset.format says" in sentence
    assert "holds no rows" in refused(tmp_path, b"", asked=DatasetFormat.PARQUET)


def test_files_of_several_formats_are_one_dataset(tmp_path):
    lines = [json.dumps({"text": f"x{n}", "label": "a"}) + "\n" for n in range(4)]
    content = {
        "a.parquet": parquet({"text": TEXTS, "label": LABELS}),
        "b.jsonl": "".join(lines).encode(),
        "c.csv": b"text,label\ny,b\nz,b\n",
    }
    files = []
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
        files.append(DataFile(tmp_path / name, name, TRAIN))
    found = gatherer(tmp_path).gather(files)
    assert [file["format"] for file in found.files] == ["Parquet", "JSONL", "CSV"]
    assert found.rows == ROWS + 6


TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def conversations(folder, column):
    path = folder / "rows.parquet"
    # A label column of a type that no class could have is none of this layout's business.
    path.write_bytes(parquet({"label": [1.5] * len(column), "messages": column}))
    layouts = (Layout.PROMPT_COMPLETION, Layout.MESSAGES)
    return gatherer(folder, layouts=layouts).gather([DataFile(path, path.name, TRAIN)])


def test_conversations_are_nested_lists(tmp_path):
    other = [TURNS[0], {"role": "assistant", "content": "yes"}]
    found = conversations(tmp_path, [TURNS, other])
    assert found.layout is Layout.MESSAGES
    assert [json.loads(text)[1]["content"] for text in texts(found)] == ["hello", "yes"]


def test_a_bad_turn_and_a_bad_type_are_told(tmp_path):
    with pytest.raises(DataError, match=r"rows.parquet row 2 .*'messages\[0\].role'"):
        conversations(tmp_path, [TURNS, [{"role": "bot", "content": "x"}]])
    with pytest.raises(
        DataError, match=r"\(the column is string\): field 'messages' must be a list"
    ):
        conversations(tmp_path, ["user: hi"])


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ANY_ROWS = st.lists(
    st.tuples(ANY_TEXT, st.sampled_from(["a", " a", "b", "ü", "7", "07"])), min_size=1, max_size=30
)


@given(ANY_ROWS, st.integers(0, 99), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_the_same_rows_in_any_format_give_the_same_data(tmp_path_factory, rows, seed, group):
    # Enough sound rows around them for a split; the drawn ones may be blank, strange or doubled.
    rows = [*rows, *[(f"sound {n}", "ab"[n % 2]) for n in range(40)]]
    rows = [(text if text.strip() else f"blank {n}", label) for n, (text, label) in enumerate(rows)]
    rows += [(f"more {n}", label) for n in range(4) for label in ("ü", "7", "07")]
    random.Random(seed).shuffle(rows)
    columns = {"text": [r[0] for r in rows], "label": [r[1] for r in rows]}
    cells = io.StringIO(newline="")
    csv.writer(cells, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    lines = [json.dumps({"label": label, "text": text}) + "\n" for text, label in rows]
    written = {
        "rows.jsonl": "".join(lines).encode(),
        "rows.csv": cells.getvalue().encode(),
        "rows.parquet": parquet(columns, row_group_size=group),
    }
    table = pa.table(columns)
    batches = table.to_batches(max_chunksize=group)
    document = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lz4 = pa.ipc.IpcWriteOptions(compression="lz4")
    written |= {
        "rows.arrow": arrow(pa.ipc.new_file, table.schema, batches),
        "stream.arrow": arrow(pa.ipc.new_stream, table.schema, batches),
        "compressed.feather": arrow(pa.ipc.new_file, table.schema, batches, options=lz4),
        "array.json": json.dumps(document, ensure_ascii=False, indent=seed % 3 or None).encode(),
        "object.json": json.dumps({"version": 1, "ids": [1], "rows": document}).encode(),
    }
    results = []
    for name, content in written.items():
        found = gather(tmp_path_factory.mktemp("format"), content, name=name)
        dataset = Dataset(train=TrainSource(uri="s3://b/x"))
        parts, dropped = assign(
            found, dataset, seed, RowChecks(found, UNCHECKED, found.arrow.parent)
        )
        results.append(
            (texts(found), found.asked.tolist(), found.whole.tolist(), found.label_ids.tolist(),
             found.labels, parts.tolist(), dropped)
        )  # fmt: skip
    assert all(result == results[0] for result in results)

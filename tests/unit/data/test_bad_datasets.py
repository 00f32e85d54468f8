"""Every bad dataset with its whole sentence: docs/bad-data.md, written by `pytest --write-book`.

The tables of the other test modules are collected here, and completed for each format and layout.
"""

import gzip
import io
import json
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from finetune_api.dataset import Dataset, DatasetFormat, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Layout, Objective, Task
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TEST, TRAIN
from tests.bad_input.book import NOT_FOR_PEOPLE
from tests.unit.data import (
    test_bad_data,
    test_bad_pairs,
    test_conversations,
    test_images,
    test_label_studio,
    test_labels,
    test_parquet,
    test_questions,
    test_sounds,
    test_spans,
)

PAGE = test_bad_data.__file__.rpartition("/tests/")[0] + "/docs/bad-data.md"
LEAST, LONGEST = 60, 1500
CLASSES, SFT, NER = Task.TEXT_CLASSIFICATION, Objective.SFT, Task.TOKEN_CLASSIFICATION
GOOD = test_bad_data.GOOD
LABELS = {"text": [row["text"] for row in GOOD], "label": [row["label"] for row in GOOD]}


@dataclass(frozen=True)
class Case:
    """A dataset that is refused: its training file, what is to be learnt, settings of the job, and
    files beside the training file, or in it when it is a folder."""

    content: bytes
    learnt: Task | Objective
    name: str = "rows.jsonl"
    test: bytes | None = None
    settings: dict = field(default_factory=dict)
    beside: dict = field(default_factory=dict)

    def sentence(self, folder):
        """What the user is told."""
        files = [DataFile(folder / self.name, self.name, TRAIN)]
        is_folder = self.name.endswith("/")
        test_images.written(files[0].path if is_folder else folder, self.beside)
        if not is_folder:
            files[0].path.write_bytes(self.content)
        if self.test is not None:
            files.append(DataFile(folder / "test.jsonl", "test.jsonl", TEST))
            files[1].path.write_bytes(self.test)
        dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **self.settings)
        gatherer = Gatherer(dataset, LAYOUTS[self.learnt], folder / "contents.arrow")
        with pytest.raises(DataError) as caught:
            gatherer.gather(files)
        return caught.value.failure().sentence()


def lines(*rows):
    return "".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows).encode()


def document(value, **options):
    return json.dumps(value, **options).encode()


def arrow(columns, writer=pa.ipc.new_file):
    sink = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    with writer(sink, table.schema) as file:
        file.write_table(table)
    return sink.getvalue()


def of_bytes(table, learnt, name="rows.jsonl"):
    return {what: Case(content, learnt, name) for what, (content, *_) in table.items()}


def of_rows(table, learnt, good):
    return {what: Case(lines(*good, row), learnt) for what, (row, *_) in table.items()}


def as_document(content, learnt=CLASSES, **settings):
    return Case(content, learnt, "rows.json", settings=settings)


def as_arrow(columns, **settings):
    return Case(arrow(columns), CLASSES, "rows.arrow", settings=settings)


def as_text(content, name="corpus.txt", learnt=Objective.PRETRAIN, **settings):
    return Case(content, learnt, name, settings=settings)


def as_tasks(tasks, learnt=CLASSES, **settings):
    return Case(document(tasks), learnt, "export.json", settings=settings)


ARROW_TABLE = arrow(LABELS)
ARROW_FILES = {
    "missing column": as_arrow({"body": LABELS["text"], "label": LABELS["label"]}),
    "text of numbers": as_arrow({"text": [1] * 8, "label": [0.5, None] * 4}),
    "nested column": as_arrow({"text": [{"body": "x"}] * 8, "label": LABELS["label"]}),
    "text of bytes": as_arrow({"text": [b"x"] * 8, "label": LABELS["label"]}),
    "null text": as_arrow({"text": [*LABELS["text"][:-1], None], "label": LABELS["label"]}),
    "column twice": as_arrow(
        pa.Table.from_arrays([pa.array(LABELS["text"])] * 3, ["text", "text", "label"])
    ),
    "not UTF-8": Case(ARROW_TABLE.replace(b"row 3", b"ro\xe9 3"), CLASSES, "rows.arrow"),
    "no rows": as_arrow({name: pa.array([], pa.string()) for name in LABELS}),
    "cut off": Case(ARROW_TABLE[:-20], CLASSES, "rows.arrow"),
    "stream cut off": Case(arrow(LABELS, pa.ipc.new_stream)[:-60], CLASSES, "rows.arrow"),
    "magic alone": Case(b"ARROW1\0\0", CLASSES, "rows.arrow"),
    "Feather of version 1": Case(b"FEA1" + bytes(40), CLASSES, "rows.feather"),
    "no Arrow file": Case(b"hello", CLASSES, "rows.arrow", settings={"format": "Arrow"}),
    "another format was asked for": Case(
        ARROW_TABLE, CLASSES, "rows.arrow", settings={"format": "Parquet"}
    ),
}
DOCUMENTS = {
    "broken": as_document(b'[{"text": "x", "label": "a"},\n {"text": nope}]'),
    "cut off": as_document(document(GOOD)[:-30]),
    "cut off after a row": as_document(document(GOOD, indent=1)[:-3]),
    "goes on after its end": as_document(document(GOOD) + document(GOOD)),
    "a quote that is not closed": as_document(b'[{"text": "x, "label": "a"}]'),
    "nested without end": as_document(b"[" * 100_000),
    "array of texts": as_document(document(["x", "y"])),
    "object without a list": as_document(document({"text": "x"}, indent=1)),
    "two lists of rows": as_document(document({"train": GOOD, "test": GOOD})),
    "column twice in a row": as_document(b'[{"text": "x", "label": "a", "text": "y"}]'),
    "not UTF-8": as_document(b'[{"text": "caf\xe9", "label": "a"}]'),
    "missing column": as_document(document([{"body": "x", "label": "a"}] * 3)),
    "empty text and no label": as_document(
        document([*GOOD, {"text": "", "label": "a"}, {"text": "x", "label": None}])
    ),
    "half a surrogate": as_document(b'[{"text": "\\ud800", "label": "a"}]'),
    "empty array": as_document(b"[]"),
    "empty file": as_document(b""),
    "lines read as one document": as_document(lines(*GOOD), format="JSON"),
}
TEXTS = {
    "not UTF-8": as_text("Grüße\nan alle".encode("latin-1")),
    "UTF-16": as_text("hello".encode("utf-16")),
    "empty file": as_text(b" \n\n"),
    "text for a task with labels": as_text(b"a text\n", learnt=CLASSES),
    "lines without text": as_text(b"\xef\xbb\xbf\n \n", format="Lines"),
    "gzip": as_text(gzip.compress(b"hello", mtime=0), "corpus.txt.gz"),
    "zstd": as_text(b"\x28\xb5\x2f\xfd" + bytes(9), "corpus.txt.zst"),
    "ZIP archive": as_text(b"PK\x03\x04" + bytes(9), "corpus.zip"),
}
MORE_CSV = {
    "tabs where commas were meant": Case(b"text\tlabel\nx,a\ty\tb\n", CLASSES, "rows.tsv"),
    "UTF-16 from a spreadsheet": Case("text;label\n".encode("utf-16"), CLASSES, "rows.csv"),
    "no header row": Case(b"good film,pos\nbad film,neg\n", CLASSES, "rows.csv"),
}
PROMPT = {"prompt": "2+2?", "completion": "4"}
PROMPTS = {
    "missing columns": Case(lines({"instruction": "x", "output": "y"}), SFT),
    "empty prompt": Case(lines(PROMPT, PROMPT | {"prompt": " "}), SFT),
    "empty completion": Case(lines(PROMPT, PROMPT | {"completion": ""}), SFT),
    "completion that is a list": Case(lines(PROMPT, PROMPT | {"completion": ["4"]}), SFT),
    "null": Case(lines(PROMPT, {"prompt": None, "completion": None}), SFT),
}


def turns(*pairs):
    return {"messages": [dict(zip(("role", "content"), pair, strict=True)) for pair in pairs]}


TURNS = turns(("user", "hi"), ("assistant", "hello"))
MESSAGES = {
    "no list": Case(lines(TURNS, {"messages": "hi"}), SFT),
    "empty list": Case(lines(TURNS, {"messages": []}), SFT),
    "message without a role": Case(lines(TURNS, {"messages": [{"content": "hi"}]}), SFT),
    "ShareGPT's names": Case(lines(TURNS, {"messages": [{"from": "human", "value": "x"}]}), SFT),
    "unknown role": Case(lines(TURNS, turns(("USER", "hi"), ("bot", "hello"))), SFT),
    "two users in a row": Case(lines(TURNS, turns(("user", "a"), ("user", "b"))), SFT),
    "no answer at the end": Case(lines(TURNS, turns(("system", "be kind"), ("user", "b"))), SFT),
    "system message alone": Case(lines(TURNS, turns(("system", "be kind"))), SFT),
    "empty content": Case(lines(TURNS, turns(("user", ""), ("assistant", "x"))), SFT),
    "content in parts": Case(
        lines(TURNS, turns(("user", [{"type": "text", "text": "hi"}]), ("assistant", "x"))), SFT
    ),
    "another layout in the middle": Case(lines(TURNS, PROMPT), SFT),
}
ALONE = {"layout": "Prompt"}
PROMPTS_ALONE = {
    "missing column": Case(lines({"question": "x"}), Objective.GRPO, settings=ALONE),
    "empty": Case(lines(PROMPT, {"prompt": ""}), Objective.GRPO, settings=ALONE),
    "a number": Case(lines(PROMPT, {"prompt": 5}), Objective.GRPO, settings=ALONE),
    "a conversation": Case(
        lines(PROMPT, {"prompt": [{"role": "user", "content": "x"}]}), Objective.GRPO,
        settings=ALONE,
    ),
}  # fmt: skip
JUDGED = {"prompt": "2+2?", "completion": "4", "label": True}
OTHERS = [JUDGED, JUDGED | {"label": False}] * 2
JUDGEMENTS = {
    "a judgement in words": Case(lines(*OTHERS, JUDGED | {"label": "good"}), Objective.KTO),
    "no judgement": Case(lines(*OTHERS, JUDGED | {"label": None}), Objective.KTO),
    "the same for all": Case(lines(*[JUDGED] * 4), Objective.KTO),
    "a lonely one": Case(lines(*[JUDGED] * 4, JUDGED | {"label": False}), Objective.KTO),
}
SPOKEN = test_conversations.PAIR
SPOKEN_PAIRS = {
    "no second conversation": Case(lines(SPOKEN, {"chosen": SPOKEN["chosen"]}), Objective.DPO),
    "a text": Case(lines(SPOKEN, SPOKEN | {"rejected": "bad"}), Objective.DPO),
    "another question": Case(
        lines(SPOKEN, SPOKEN | {"rejected": test_conversations.said("other", "bad")}), Objective.DPO
    ),
    "twice the same": Case(lines(SPOKEN, SPOKEN | {"rejected": SPOKEN["chosen"]}), Objective.DPO),
}
SPOKEN_JUDGEMENTS = {
    "no message": Case(
        lines(*test_conversations.JUDGED, {"messages": [], "label": True}), Objective.KTO
    ),
    "a judgement in numbers": Case(
        lines(*test_conversations.JUDGED, test_conversations.JUDGED[0] | {"label": 3}),
        Objective.KTO,
    ),
}
task, annotation, result = (
    test_label_studio.task, test_label_studio.annotation, test_label_studio.result,
)  # fmt: skip
CHOSEN = test_label_studio.classified()
SPAN = {"start": 0, "end": 3, "text": "Ada"}


def span(**value):
    marked = annotation(result("ner", "labels", **SPAN | value))
    return as_tasks([task(1, {"text": "Ada Lovelace"}, marked)], NER)


LABEL_STUDIO = {
    "annotators that disagree": as_tasks(
        [*CHOSEN, task(9, {"text": "x"}, *map(test_label_studio.chosen, "ab"))]
    ),
    "nobody annotated anything": as_tasks([task(n, {"text": "x"}) for n in range(3)]),
    "all were skipped": as_tasks(
        [task(1, {"text": "x"}, annotation() | {"was_cancelled": True})]
    ),
    "predictions only": as_tasks([task(1, {"text": "x"}, predictions=[{"result": []}])]),
    "annotations by number": as_tasks([task(1, {"text": "x"}) | {"annotations": [4, 5]}]),
    "no choice was made": as_tasks([*CHOSEN, task(9, {"text": "x"}, annotation())]),
    "several choices among single ones": as_tasks(
        [*CHOSEN, task(9, {"text": "x"}, test_label_studio.chosen("a", "b"))]
    ),
    "two controls that fit": as_tasks(
        [task(1, {"text": "x"}, annotation(
            result("tone", "choices", choices=["a"]), result("topic", "choices", choices=["b"]),
        ))]
    ),
    "overlapping spans": span(labels=["PER", "LOC"]),
    "span that ends inside a word": span(end=7, text="Ada Lov", labels=["PER"]),
    "span of another text": span(text="Bob", labels=["PER"]),
    "span of HTML": span(start="/div[1]/text()[1]", labels=["PER"]),
    "rewritten answer that is empty": as_tasks(
        [task(1, {"prompt": "x"}, annotation(result("reply", "textarea", text=[""])))], SFT
    ),
    "left and right are not named": as_tasks(
        [task(1, {"prompt": "x", "one": "a", "two": "b"},
              annotation(result("pw", "pairwise", selected="left")))], Objective.DPO,
    ),
    "conversation without an answer": as_tasks(
        [task(1, {"messages": [{"role": "user", "content": "hi"}]}, annotation())], SFT
    ),
}  # fmt: skip

IMAGES, SOUNDS = test_images.GOOD, test_sounds.GOOD
TOO_LARGE = ("a bomb", "too long")
"""Told by tests of their own: making them takes seconds."""


def as_folder(learnt, files, **more):
    return Case(b"", learnt, "things/", beside={**files, **more})


def naming(learnt, good, row, **files):
    """A table that names files, with one bad row at its end."""
    column = "image" if learnt is Task.IMAGE_CLASSIFICATION else "audio"
    answer = "text" if learnt is Task.SPEECH_RECOGNITION else "label"
    rows = [{column: name, answer: name[0]} for name in good]
    return Case(lines(*rows, row), learnt, beside={**good, **files})


PICTURED, HEARD, SPOKEN = (
    Task.IMAGE_CLASSIFICATION, Task.AUDIO_CLASSIFICATION, Task.SPEECH_RECOGNITION,
)  # fmt: skip
IMAGE_FOLDERS = {
    what: as_folder(PICTURED, IMAGES, **{"b/bad.png": test_images.damaged(what)})
    for what in test_images.DAMAGED if what not in TOO_LARGE
} | {
    "image outside of the classes": as_folder(
        PICTURED, IMAGES, **{"stray.png": test_images.PICTURES[0]}
    ),
    "class with one image": as_folder(PICTURED, IMAGES, **{"c/1.png": test_images.picture(99)}),
    "no image at all": as_folder(PICTURED, {"notes.txt": b"x"}),
}  # fmt: skip
IMAGE_ROWS = {
    f"path: {what}": naming(PICTURED, IMAGES, {"image": path, "label": "a"})
    for what, (path, _) in test_images.BAD_PATHS.items()
} | {
    "cut off image": naming(
        PICTURED, IMAGES, {"image": "x/bad.png", "label": "a"},
        **{"x/bad.png": test_images.DAMAGED["cut off"][0]},
    ),
    "other columns": Case(
        lines(*[{"file_name": name, "label": name[0]} for name in IMAGES]), PICTURED,
        beside=IMAGES,
    ),
    "column of numbers": Case(
        test_parquet.parquet({"image": [1, 2], "label": ["a", "b"]}), PICTURED, "rows.parquet"
    ),
}  # fmt: skip
SOUND_FOLDERS = {
    what: as_folder(HEARD, SOUNDS, **{"b/bad.wav": test_sounds.data_of(what)})
    for what in test_sounds.BAD if what not in TOO_LARGE
}  # fmt: skip
SOUND_ROWS = {
    "recording that is not there": naming(HEARD, SOUNDS, {"audio": "a/99.wav", "label": "a"}),
    "no label": naming(HEARD, SOUNDS, {"audio": "a/0.wav", "label": ""}),
}
TRANSCRIPTS = {
    "no text": naming(SPOKEN, SOUNDS, {"audio": "a/0.wav", "text": " "}),
    "text that is a number": naming(SPOKEN, SOUNDS, {"audio": "a/0.wav", "text": 5}),
    "recording that is not there": naming(SPOKEN, SOUNDS, {"audio": "a/99.wav", "text": "hi"}),
    "path out of the folder": naming(SPOKEN, SOUNDS, {"audio": "../1.wav", "text": "hi"}),
    "silent recording": naming(
        SPOKEN, SOUNDS, {"audio": "a/x.wav", "text": "hi"},
        **{"a/x.wav": test_sounds.data_of("silent")},
    ),
    "missing columns": Case(lines({"path": "a/0.wav", "sentence": "hi"}), SPOKEN, beside=SOUNDS),
}  # fmt: skip

SECTIONS: dict[str, dict[str, Case]] = {
    "JSONL": of_bytes(
        {what: case for what, case in test_bad_data.JSONL.items() if what != "neither"}, CLASSES
    ) | {"none of the formats": Case(b"hello\nworld\n", CLASSES, "rows")},
    "CSV": of_bytes(test_bad_data.CSV, CLASSES, "rows.csv") | MORE_CSV,
    "Parquet": {
        what: Case(test_parquet.parquet(columns), CLASSES, "rows.parquet")
        for what, (columns, _) in test_parquet.BAD.items()
    } | {
        "cut off": Case(test_parquet.SOUND[:-9], CLASSES, "rows.parquet"),
        "no Parquet file": Case(
            b"hello", CLASSES, "rows.parquet", settings={"format": "Parquet"}
        ),
    },
    "Arrow": ARROW_FILES,
    "JSON": DOCUMENTS,
    "Text": TEXTS,
    "LabelStudio": LABEL_STUDIO,
    "ImageFolder": IMAGE_FOLDERS,
    "AudioFolder": SOUND_FOLDERS,
    "Labels": {
        what: Case(lines(*rows), CLASSES, settings=settings)
        for what, (rows, settings, _) in test_labels.BAD.items()
    } | {
        "class that only the test file has": Case(
            lines(*GOOD), CLASSES, test=lines({"text": "x", "label": "c"})
        ),
    },
    "PromptCompletion": PROMPTS,
    "Messages": MESSAGES,
    "SourceTarget": {
        what: Case(lines(*rows), Task.TRANSLATION)
        for what, (rows, _) in test_bad_pairs.BAD.items()
    },
    "Plain rows of text": of_bytes(test_bad_data.TEXT, Objective.PRETRAIN),
    "Preference": of_bytes(test_bad_data.PREFERENCES, Objective.DPO),
    "PreferenceMessages": SPOKEN_PAIRS,
    "KTO": JUDGEMENTS,
    "KTOMessages": SPOKEN_JUDGEMENTS,
    "Prompt": PROMPTS_ALONE,
    "Spans": of_rows(test_spans.BAD, NER, test_spans.GOOD),
    "TokenTags": of_rows(test_spans.BAD_TAGS, NER, test_spans.TAGGED),
    "ImageLabels": IMAGE_ROWS,
    "AudioLabels": SOUND_ROWS,
    "AudioText": TRANSCRIPTS,
    "Answers": of_rows(test_questions.BAD, Task.QUESTION_ANSWERING, test_questions.GOOD),
}  # fmt: skip
OF_LAYOUT = {Layout.TEXT: "Plain rows of text"}
HEAD = """# Bad data, and what is said about it

Before any GPU is taken, `prepare` reads every row. All that is wrong is told at once, grouped by
rule, with the first places of each kind, the value that stands there, and what to do. Written by
`pytest --write-book tests/unit/data/test_bad_datasets.py`; every run reads each dataset anew.
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Section → case → sentence."""
    return {
        section: {
            what: case.sentence(tmp_path_factory.mktemp("bad")) for what, case in cases.items()
        }
        for section, cases in SECTIONS.items()
    }


def test_there_are_many_and_every_format_and_layout_has_some():
    assert sum(map(len, SECTIONS.values())) >= LEAST
    kinds = {*DatasetFormat, *Layout}
    named = {OF_LAYOUT.get(k, str(k)) for k in kinds if k not in ("Auto", DatasetFormat.LINES)}
    assert named <= SECTIONS.keys()


def test_every_sentence_is_for_people(told):
    for section, cases in told.items():
        for what, sentence in cases.items():
            assert not NOT_FOR_PEOPLE.search(sentence), (section, what, sentence)
            assert len(sentence) <= LONGEST, (section, what, sentence)
            assert " in the dataset: " in sentence
            assert "; " in sentence, "what to do"


def test_the_page_has_every_sentence(told, request):
    text = HEAD
    for section, cases in told.items():
        text += f"\n## {section}\n\n| what is wrong | the sentence |\n|---|---|\n"
        for what, sentence in cases.items():
            escaped = sentence.replace("|", r"\|")
            text += f"| {what} | {escaped} |\n"
    if request.config.getoption("write_book"):
        with open(PAGE, "w", encoding="utf-8") as page:
            page.write(text)
    with open(PAGE, encoding="utf-8") as page:
        assert text == page.read(), "write it anew: --write-book"

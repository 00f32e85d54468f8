"""The dataset block of a FineTuneJob: where rows come from and how they are read.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from finetune_api import rules
from finetune_api.augmentation import Augmentation
from finetune_api.base import Document
from finetune_api.learning import LabelKind, Layout
from finetune_api.shapes import ObjectUri, Word

Fraction = Annotated[float, Field(gt=0, lt=1)]


class DatasetFormat(StrEnum):
    """How dataset files are written."""

    AUTO = "Auto"
    JSONL = "JSONL"
    JSON = "JSON"
    CSV = "CSV"
    PARQUET = "Parquet"
    ARROW = "Arrow"
    TEXT = "Text"
    LINES = "Lines"
    LABEL_STUDIO = "LabelStudio"
    IMAGE_FOLDER = "ImageFolder"
    AUDIO_FOLDER = "AudioFolder"


class Mask(StrEnum):
    """Which tokens of a row are learnt."""

    COMPLETION = "Completion"
    ASSISTANT = "Assistant"
    ALL = "All"


class Overlength(StrEnum):
    """What happens to a row that is longer than maxLength."""

    TRUNCATE = "Truncate"
    DROP = "Drop"
    SPLIT = "Split"
    FAIL = "Fail"


class Check(StrEnum):
    """What happens to rows that a check finds."""

    OFF = "Off"
    REPORT = "Report"
    DROP = "Drop"
    FAIL = "Fail"


class TrainSource(Document):
    """Where training rows come from."""

    uri: ObjectUri
    """A file (`s3://bucket/rows.jsonl`, `hf://datasets/org/name@revision/rows.parquet`) or, ending
    with a slash, every data file below a prefix.
    A prefix that matches nothing is an error."""


class HeldOutSource(Document):
    """Rows kept out of training: a file of their own, or a share of the training rows."""

    uri: ObjectUri | None = None
    """A file or a prefix of its own. Excludes `fraction`."""
    fraction: Fraction | None = None
    """Share of the training rows that is set aside, chosen by seed and stratified by label;
    0.05 when neither `uri` nor `fraction` is given. Excludes `uri`."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.heldOut"))


class Columns(Document):
    """Which column holds what."""

    text: Word = "text"
    """Column with the input text; for SpeechRecognition what is said."""
    label: Word = "label"
    """Column with the class name, the list of labels, or the number; for layouts `KTO` and
    `KTOMessages` with `true` where the answer is good, else `false`."""
    prompt: Word = "prompt"
    """Column with what the model is asked."""
    completion: Word = "completion"
    """Column with what it is to answer."""
    chosen: Word = "chosen"
    """Column with the better of two answers; for layout `PreferenceMessages` the conversation that
    ends with it, written as `messages` are."""
    rejected: Word = "rejected"
    """Column with the worse of two answers, or the conversation that ends with it."""
    messages: Word = "messages"
    """Column with a conversation: a list of `{role, content}`, roles `system`, `user`,
    `assistant`."""
    source: Word = "source"
    """Column with the text that is summarised or translated."""
    target: Word = "target"
    """Column with its summary or translation."""
    spans: Word = "spans"
    """Column with the entities of `text`: a list of `{start, end, label}`, in characters from 0,
    `end` being the first character after the entity."""
    tokens: Word = "tokens"
    """Column with a text as a list of words."""
    tags: Word = "tags"
    """Column with a tag for each word: `O`, or `B-` and `I-` with the entity's label (IOB2)."""
    context: Word = "context"
    """Column with the text that holds the answer."""
    question: Word = "question"
    """Column with what is asked about it."""
    answers: Word = "answers"
    """Column with the answers as SQuAD has them: `{text: [...], answer_start: [...]}`, or a list of
    `{text, answer_start}`, in characters from 0; empty lists where the context does not answer."""
    group: Word | None = None
    """Column with the group that a row belongs to, as a region or a source. The data report tells
    each group's rows by part and class; nothing is learnt from it."""
    image: Word = "image"
    """Column with an image: its path, relative to the data file, or in Parquet its bytes, alone or
    as the struct `{bytes, path}`."""
    audio: Word = "audio"
    """Column with a recording (WAV, FLAC, OGG, MP3, AIFF), as `image` holds an image."""


class Checks(Document):
    """What is looked for in sound rows. `Report` counts and names rows in the data report, `Drop`
    leaves them out (counted), `Fail` ends prepare with rows named, `Off` does not look."""

    duplicates: Check | None = None
    """Training rows that are like an earlier one without being equal: four in five of their triples
    of words are the same (estimated by MinHash). Default: `Report` up to 100,000 rows, else `Off`;
    asked for, it takes 512 bytes of disk a row. Equal rows are always dropped."""
    leakage: Check | None = None
    """Training rows that are like a held-out one without being equal. Default: as for `duplicates`.
    Training rows that ask what a held-out row asks are always dropped."""
    pii: Check = Check.REPORT
    """Personal data and secrets in any row: e-mail addresses, telephone numbers with their country,
    credit cards and IBANs with a right check digit, public IP addresses, keys of well-known
    services. `Report` looks at 10,000 rows, `Drop` and `Fail` at all. Values are never written."""


class Dataset(Document):
    """Training, validation and test rows, and how they are read."""

    train: TrainSource
    """The training rows."""
    validation: HeldOutSource | None = None
    """Rows on which the loss is watched during training. Default: 5 % of the training rows."""
    test: HeldOutSource | None = None
    """Rows on which base and tuned model are compared at the end; never trained on. Default: 5 %
    of the training rows."""
    format: DatasetFormat = DatasetFormat.AUTO
    """How the files are written: one JSON object a line (`JSONL`), one JSON document with an array
    of objects (`JSON`), cells under a header row, separated by commas, semicolons or tabs (`CSV`),
    `Parquet`, Arrow IPC as a file or a stream, as `datasets` saves it (`Arrow`), plain text for
    objective Pretrain, each file a document (`Text`) or each line (`Lines`), a folder of images or
    recordings for each class (`ImageFolder`, `AudioFolder`), or an export of Label Studio as JSON,
    JSON-MIN or CSV (`LabelStudio`): columns are the fields of its tasks and the names of its
    controls, of which the only one that fits is found by itself; for preferences `columns.chosen`
    names the left answer and `columns.rejected` the right one. `Auto` looks at content and name and
    says in the data report what it found; plain text is then `Text`."""
    layout: Layout = Layout.AUTO
    """What a row holds: a text and its class (`Labels`), a prompt and its completion
    (`PromptCompletion`), a conversation (`Messages`), a text and what becomes of it
    (`SourceTarget`), a text and its entities by characters (`Spans`) or by words (`TokenTags`), a
    question about a text with its answers by place (`Answers`), a text (`Text`), a prompt with a
    better and a worse answer (`Preference`), two conversations that differ in their last answer
    (`PreferenceMessages`), a prompt with an answer that was judged (`KTO`), a conversation whose
    last answer was (`KTOMessages`), a prompt alone (`Prompt`), an image (`ImageLabels`) or
    recording (`AudioLabels`) and its class, or a recording and what is said in it (`AudioText`).
    `Auto` goes by task, objective and the columns of the first row."""
    checks: Checks = Field(default_factory=Checks)
    """What is looked for in rows that can be read."""
    columns: Columns = Field(default_factory=Columns)
    """Names of the columns, when they are not the names of these fields."""
    labels: LabelKind = LabelKind.AUTO
    """What the label of a text is, for TextClassification: the name of its class (`Single`), a list
    of names, any number of them (`Multi`), or a quantity that is to be estimated (`Number`). `Auto`
    goes by the first training row: a list is `Multi`, a number with a fraction `Number`, text and
    whole numbers are `Single`. Say `Number` for quantities that are whole or stand in a CSV
    file."""
    mask: Mask | None = None
    """Which tokens are learnt, for objective SFT: the last answer (`Completion`, the default),
    every answer of a conversation (`Assistant`), or the whole row (`All`)."""
    max_length: Annotated[int, Field(ge=8, le=131072)] | None = None
    """Longest row in tokens; for Summarization and Translation the longest source, and the longest
    target. Default: covers 99 % of the rows, within the model's limit."""
    overlength: Overlength | None = None
    """What happens to longer rows: `Truncate` cuts them (counted in the report), `Drop` leaves
    them out (counted), `Split` makes them several rows (objective Pretrain, and QuestionAnswering,
    where they overlap by a third), `Fail` ends prepare with the rows named. Default: `Split` for
    these two, else `Truncate`. For SpeechRecognition, of recordings longer than the model hears and
    of texts too long for it: `Drop`, or `Fail`, the default."""
    spoken_language: Annotated[str, StringConstraints(min_length=2, max_length=40)] | None = None
    """What is spoken, as `de` or `german`, for SpeechRecognition by a model that writes several
    languages (Whisper). Default: the one of the model's generation_config.json; without that it
    must be said."""

    augmentation: Augmentation | None = None
    """Adds changed versions of training rows."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset"))

"""What can be learnt, and from rows of which layouts."""

from enum import StrEnum


class Task(StrEnum):
    """What the model learns to do."""

    TEXT_CLASSIFICATION = "TextClassification"
    TEXT_GENERATION = "TextGeneration"
    SUMMARIZATION = "Summarization"
    TRANSLATION = "Translation"
    TOKEN_CLASSIFICATION = "TokenClassification"  # noqa: S105  (a task, no password)
    QUESTION_ANSWERING = "QuestionAnswering"
    IMAGE_CLASSIFICATION = "ImageClassification"
    AUDIO_CLASSIFICATION = "AudioClassification"
    SPEECH_RECOGNITION = "SpeechRecognition"


class Media(StrEnum):
    """What rows hold beside text, in files of their own."""

    IMAGE = "image"
    AUDIO = "audio"


class Objective(StrEnum):
    """What TextGeneration learns from."""

    SFT = "SFT"
    PRETRAIN = "Pretrain"
    DPO = "DPO"
    ORPO = "ORPO"
    KTO = "KTO"
    REWARD = "Reward"
    GRPO = "GRPO"


class Layout(StrEnum):
    """What a row holds."""

    AUTO = "Auto"
    LABELS = "Labels"
    PROMPT_COMPLETION = "PromptCompletion"
    MESSAGES = "Messages"
    SOURCE_TARGET = "SourceTarget"
    TEXT = "Text"
    PREFERENCE = "Preference"
    PREFERENCE_MESSAGES = "PreferenceMessages"
    KTO = "KTO"
    KTO_MESSAGES = "KTOMessages"
    PROMPT = "Prompt"
    SPANS = "Spans"
    TOKEN_TAGS = "TokenTags"  # noqa: S105
    ANSWERS = "Answers"
    IMAGE_LABELS = "ImageLabels"
    AUDIO_LABELS = "AudioLabels"
    AUDIO_TEXT = "AudioText"


class LabelKind(StrEnum):
    """What the label of a text is."""

    AUTO = "Auto"
    SINGLE = "Single"
    MULTI = "Multi"
    NUMBER = "Number"


LAYOUTS: dict[Task | Objective, tuple[Layout, ...]] = {
    Task.TEXT_CLASSIFICATION: (Layout.LABELS,),
    Task.TOKEN_CLASSIFICATION: (Layout.SPANS, Layout.TOKEN_TAGS),
    Task.QUESTION_ANSWERING: (Layout.ANSWERS,),
    Task.IMAGE_CLASSIFICATION: (Layout.IMAGE_LABELS,),
    Task.AUDIO_CLASSIFICATION: (Layout.AUDIO_LABELS,),
    Task.SPEECH_RECOGNITION: (Layout.AUDIO_TEXT,),
    Objective.SFT: (Layout.PROMPT_COMPLETION, Layout.MESSAGES),
    Task.SUMMARIZATION: (Layout.SOURCE_TARGET,),
    Task.TRANSLATION: (Layout.SOURCE_TARGET,),
    Objective.PRETRAIN: (Layout.TEXT,),
    Objective.DPO: (Layout.PREFERENCE, Layout.PREFERENCE_MESSAGES),
    Objective.ORPO: (Layout.PREFERENCE, Layout.PREFERENCE_MESSAGES),
    Objective.KTO: (Layout.KTO, Layout.KTO_MESSAGES),
    Objective.REWARD: (Layout.PREFERENCE, Layout.PREFERENCE_MESSAGES),
    Objective.GRPO: (Layout.PROMPT_COMPLETION, Layout.PROMPT),
}
"""Layouts that a task, or an objective of TextGeneration, understands; the first is expected when
nothing tells."""

GENERAL_LAYOUTS = (Layout.TEXT, Layout.PROMPT_COMPLETION, Layout.MESSAGES)
"""Layouts of the general set of a language model, whatever it learns; of all others it is that of
their own rows."""

METRICS: dict[Task | Objective, tuple[str, ...]] = {
    Task.TEXT_CLASSIFICATION: ("accuracy", "macro_f1", "micro_f1", "r2", "spearman", "mae"),
    Task.TOKEN_CLASSIFICATION: ("micro_f1", "macro_f1"),
    Task.QUESTION_ANSWERING: ("f1", "exact_match"),
    Task.IMAGE_CLASSIFICATION: ("accuracy", "macro_f1"),
    Task.AUDIO_CLASSIFICATION: ("accuracy", "macro_f1"),
    Task.SPEECH_RECOGNITION: ("wer", "cer"),
    Objective.SFT: ("exact_match", "json_valid"),
    Task.SUMMARIZATION: ("rougeL", "rouge1", "rouge2", "exact_match"),
    Task.TRANSLATION: ("bleu", "bleu_char", "chrf", "exact_match"),
    Objective.PRETRAIN: ("perplexity", "loss"),
    Objective.DPO: ("preference_accuracy", "reward_accuracy"),
    Objective.ORPO: ("preference_accuracy",),
    Objective.KTO: ("reward_auroc", "preference_auroc"),
    Objective.REWARD: ("pairwise_accuracy",),
    Objective.GRPO: ("reward",),
}
"""What base and tuned model may be compared by; some are told only where the data ask for them."""
LOWER_IS_BETTER: frozenset[str] = frozenset({"mae", "perplexity", "loss", "wer", "cer"})

MEDIA: dict[Task, Media] = {
    Task.IMAGE_CLASSIFICATION: Media.IMAGE,
    Task.AUDIO_CLASSIFICATION: Media.AUDIO,
    Task.SPEECH_RECOGNITION: Media.AUDIO,
}
"""Tasks whose rows hold media."""

WRITING = (Task.TEXT_GENERATION, Task.SUMMARIZATION, Task.TRANSLATION)
"""Tasks whose output layer writes tokens and belongs to the base model."""


def general_layouts(task: Task, objective: Objective | None) -> tuple[Layout, ...]:
    """Layouts that a general set may have; none: that of the training rows."""
    writes = task is Task.TEXT_GENERATION and objective is not Objective.REWARD
    return GENERAL_LAYOUTS if writes else ()


def learnt(task: Task, objective: Objective | None) -> Task | Objective:
    """The entry of ``LAYOUTS`` for a job."""
    return (objective or Objective.SFT) if task is Task.TEXT_GENERATION else task

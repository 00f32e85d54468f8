"""Cross-field rules of tasks whose rows hold media."""

from finetune_api.learning import MEDIA, Media, Task
from finetune_api.method_rules import VIRTUAL_METHODS
from finetune_api.rule import Rule

_OF_TEXT = f"!(self.task in {[*map(str, MEDIA)]})"
_NAMED = ", ".join(MEDIA)

_CLASSIFYING = [str(task) for task in MEDIA if task is not Task.SPEECH_RECOGNITION]
_WHOLE = ("Drop", "Fail")
"""What may happen to rows that are never cut."""

FOLDERS: dict[str, Media] = {"ImageFolder": Media.IMAGE, "AudioFolder": Media.AUDIO}
"""Formats that are a folder of files for each class, and of what the files are."""


def _tasks_of(media: Media) -> list[str]:
    return [task for task in _CLASSIFYING if MEDIA[Task(task)] is media]


MEDIA_RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || !(has(self.method.promptTuning) || has(self.method.prefixTuning) || "
        "has(self.method.pTuning))",
        message=f"method.{', '.join(VIRTUAL_METHODS)} put tokens before a text, which {_NAMED} "
        "do not read: use lora",
        holds=lambda spec: spec.task not in MEDIA or spec.method.kind not in VIRTUAL_METHODS,
    ),
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || !has(self.dataset.maxLength)",
        message=f"dataset.maxLength is for text, not for {_NAMED}: remove it",
        holds=lambda spec: spec.task not in MEDIA or spec.dataset.max_length is None,
    ),
    Rule(
        scope="spec",
        cel=f"!(self.task in {_CLASSIFYING}) || !has(self.dataset.overlength)",
        message=f"dataset.overlength is not for {', '.join(_CLASSIFYING)}: remove it",
        holds=lambda spec: spec.task not in _CLASSIFYING or spec.dataset.overlength is None,
    ),
    Rule(
        scope="spec",
        cel="self.task != 'SpeechRecognition' || !has(self.dataset.overlength) || "
        f"self.dataset.overlength in {[*map(str, _WHOLE)]}",
        message="dataset.overlength is Drop or Fail for SpeechRecognition: of a cut recording the "
        "text would say what is not heard",
        holds=lambda spec: (
            spec.task is not Task.SPEECH_RECOGNITION
            or spec.dataset.overlength is None
            or spec.dataset.overlength in _WHOLE
        ),
    ),
    Rule(
        scope="spec",
        cel="self.task == 'SpeechRecognition' || !has(self.dataset.spokenLanguage)",
        message="dataset.spokenLanguage is for task SpeechRecognition: remove it",
        holds=lambda spec: (
            spec.task is Task.SPEECH_RECOGNITION or spec.dataset.spoken_language is None
        ),
    ),
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || self.training.neftuneAlpha == 0.0",
        message=f"training.neftuneAlpha disturbs embeddings of tokens, which {_NAMED} do not "
        "have: remove it",
        holds=lambda spec: spec.task not in MEDIA or spec.training.neftune_alpha == 0,
    ),
    Rule(
        scope="spec",
        cel="self.task != 'SpeechRecognition' || self.training.labelSmoothing == 0.0",
        message="training.labelSmoothing is for classes, which SpeechRecognition does not have: "
        "remove it",
        holds=lambda spec: (
            spec.task is not Task.SPEECH_RECOGNITION or spec.training.label_smoothing == 0
        ),
    ),
    *(
        Rule(
            scope="spec",
            cel=f"self.dataset.format != '{name}' || self.task in {_tasks_of(media)}",
            message=f"dataset.format {name} is for task {' and '.join(_tasks_of(media))}: "
            "remove it",
            holds=lambda spec, name=name, media=media: (  # type: ignore[misc]
                spec.dataset.format != name or spec.task in _tasks_of(media)
            ),
        )
        for name, media in FOLDERS.items()
    ),
)

"""How a model with a decoder (Whisper) is given speech, and how what it writes begins.

Whisper's decoder is told before it writes: a language and a task where the model names them, and
that no times are wanted. What it is told is no part of a text and is not learnt.
"""

from pathlib import Path
from typing import Any

from finetune_api.errors import UserError
from finetune_api.job import FineTuneJobSpec
from finetune_trainer.model import checks
from finetune_trainer.model.audio_processor import AudioProcessor

TRANSCRIBE = "transcribe"
LANGUAGES_SHOWN = 12


class DictationProcessor(AudioProcessor):
    """A model's feature extractor, its tokenizer, and ``generation``: how it writes by itself."""

    tokenizer: Any
    generation: Any
    beginning: list[int]
    """The tokens that every text begins with, of which the decoder's first is one."""

    @classmethod
    def read_all(cls, folder: Path, spec: FineTuneJobSpec) -> "DictationProcessor":
        """UserError when one of them cannot be loaded, or the language is not to be had."""
        uri = spec.model.uri
        processor = cls.read(folder, uri)
        processor.tokenizer = checks.read_tokenizer(folder, spec.model)
        _check_window(processor.extractor, processor.config, uri)
        processor.generation = _generation(folder, processor.config)
        processor.beginning = [
            processor.config.decoder_start_token_id,
            *_told(processor.generation, processor.config, spec.dataset.spoken_language, uri),
        ]
        return processor

    @property
    def pad_token_id(self) -> int:  # type: ignore[override]
        """Of texts."""
        return int(self.tokenizer.pad_token_id)

    @property
    def longest_tokens(self) -> int:
        """Of a text with its beginning and its end."""
        return int(self.config.max_target_positions)

    def tokens(self, text: str) -> list[int]:
        """A text and its end."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]

    def text(self, ids: list[int]) -> str:
        """Tokens as text, without special ones and spaces around it."""
        written: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return written.strip()

    def save_pretrained(self, folder: Path) -> None:
        """As other programs read both."""
        super().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _check_window(extractor: Any, config: Any, uri: str) -> None:
    given = extractor.feature_size, extractor.nb_max_frames
    wanted = config.num_mel_bins, 2 * config.max_source_positions
    if given != wanted:
        raise UserError(
            f"model.uri {uri}: preprocessor_config.json makes {given[0]} bands × {given[1]} frames "
            f"of a recording, and the model reads {wanted[0]} × {wanted[1]}",
            "copy the model's own preprocessor_config.json",
        )


def _generation(folder: Path, config: Any) -> Any:
    """The model's own, or what its configuration says in its place."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:
        return GenerationConfig.from_model_config(config)


def _told(generation: Any, config: Any, language: str | None, uri: str) -> list[int]:
    """What the decoder is told after its first token; ``generation`` is set to tell the same."""
    known = getattr(generation, "lang_to_id", None)
    if not known:
        if language is not None:
            raise UserError(
                f"dataset.spokenLanguage {language}: the model at model.uri {uri} names no "
                "languages",
                "remove dataset.spokenLanguage",
            )
        forced = getattr(generation, "forced_decoder_ids", None)
        forced = forced or getattr(config, "forced_decoder_ids", None) or []
        told = [token for _, token in forced]
    else:
        asked = language or getattr(generation, "language", None)
        generation.language = _language(asked, known, uri)
        generation.task, generation.forced_decoder_ids = TRANSCRIBE, None
        told = [known[generation.language], generation.task_to_id[TRANSCRIBE]]
    silent = getattr(generation, "no_timestamps_token_id", None)
    if silent is not None and silent not in told[-1:]:
        told.append(silent)
    return told


def _language(asked: str | None, known: dict[str, int], uri: str) -> str:
    """The model's token for a language, which is asked for as a code or a name."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    said = (asked or "").lower()
    for token in (said, f"<|{said}|>", f"<|{TO_LANGUAGE_CODE.get(said, said)}|>"):
        if token in known:
            return token
    codes = sorted(token.strip("<|>") for token in known)
    more = " …" if len(codes) > LANGUAGES_SHOWN else ""
    raise UserError(
        f"dataset.spokenLanguage {asked}: the model at model.uri {uri} does not name it"
        if asked
        else f"the model at model.uri {uri} writes several languages and is not told which",
        f"set dataset.spokenLanguage to one of {', '.join(codes[:LANGUAGES_SHOWN])}{more}",
    )

"""How a model is given speech, and how it writes."""

from pathlib import Path
from typing import Any

from finetune_api.job import Model
from finetune_trainer.model import checks
from finetune_trainer.model.audio_processor import AudioProcessor


class SpeechProcessor(AudioProcessor):
    """A model's feature extractor and its tokenizer of letters."""

    tokenizer: Any

    @classmethod
    def read_both(cls, folder: Path, model: Model) -> "SpeechProcessor":
        """UserError when one of them cannot be loaded."""
        processor = cls.read(folder, model.uri)
        assert isinstance(processor, cls)
        processor.tokenizer = checks.read_tokenizer(folder, model)
        return processor

    def tokens(self, text: str) -> list[int]:
        """The letters of a text, by their numbers."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def text(self, ids: list[int], *, heard: bool) -> str:
        """A text of letters; ``heard``: of one for each position, in which a letter that stands
        several times in a row is one."""
        written: str = self.tokenizer.decode(ids, group_tokens=heard, skip_special_tokens=True)
        return written.strip()

    def save_pretrained(self, folder: Path) -> None:
        """As other programs read both."""
        super().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

"""What makes rows ready for a model: its tokenizer, or what stands there for media."""

from pathlib import Path
from typing import Any

from finetune_api.job import FineTuneJobSpec
from finetune_api.learning import MEDIA, Media, Task
from finetune_trainer.model import checks


def read_processor(folder: Path, spec: FineTuneJobSpec) -> Any:
    """UserError when it cannot be loaded."""
    if MEDIA.get(spec.task) is Media.IMAGE:
        from finetune_trainer.model.image_processor import ImageProcessor

        return ImageProcessor.read(folder, spec.model.uri)
    if MEDIA.get(spec.task) is Media.AUDIO:
        from finetune_trainer.model.audio_processor import AudioProcessor
        from finetune_trainer.model.dictation_processor import DictationProcessor
        from finetune_trainer.model.speech_processor import SpeechProcessor

        if spec.task is Task.SPEECH_RECOGNITION:
            if checks.read_config(folder, spec.model.uri).is_encoder_decoder:
                return DictationProcessor.read_all(folder, spec)
            return SpeechProcessor.read_both(folder, spec.model)
        return AudioProcessor.read(folder, spec.model.uri)
    return checks.read_tokenizer(folder, spec.model)

"""Is the base model's folder complete, and can the task be learnt with it? Before any GPU."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetune_api.errors import UserError
from finetune_api.job import Model
from finetune_api.learning import Media
from finetune_trainer.model.weights import WEIGHTS
from finetune_trainer.storage.faults import PlaceError

TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""What says how a model is given images or recordings."""
DICTATING = ("whisper",)
"""Architectures whose decoder writes what is said."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
SMALL_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".vocab")
SMALL_LIMIT = 64 * 2**20


def is_small(name: str, size: int) -> bool:
    """Does prepare fetch this file of the model? Configuration and tokenizer, no weights."""
    return "/" not in name and name.endswith(SMALL_SUFFIXES) and size <= SMALL_LIMIT


def check_listing(
    uri: str, names: Iterable[str], media: Media | None = None, *, writes: bool = True
) -> None:
    """PlaceError when a needed file is missing. ``names`` are relative to the model's folder;
    ``media``: what the model is given instead of text; ``writes``: it reads or writes text."""
    found = {name for name in names if "/" not in name}
    if "config.json" not in found:
        if "adapter_config.json" in found:
            raise PlaceError(
                f"model.uri {uri} holds an adapter, not a base model",
                "name the folder of the adapter's base model in model.uri",
            )
        below = sorted({name.split("/")[0] for name in names if name.endswith("/config.json")})
        hint = f"did you mean {uri}{below[0]}/?" if below else "copy the whole model folder there"
        raise PlaceError(f"model.uri {uri} has no config.json", hint)
    if media and not found.intersection(PROCESSOR_FILES):
        raise PlaceError(
            f"model.uri {uri} does not say how {media} is made ready for it: it has no "
            f"{PROCESSOR_FILES[0]}",
            "copy the model's preprocessor_config.json next to config.json",
        )
    if writes and not found.intersection(TOKENIZER_FILES):
        raise PlaceError(
            f"model.uri {uri} has no tokenizer (none of {', '.join(TOKENIZER_FILES[:4])})",
            "copy the tokenizer's files next to config.json",
        )
    if not any(name.endswith(WEIGHTS) for name in found):
        pickled = sorted(name for name in found if name.endswith(PICKLED))
        what = f"its weights are pickled ({pickled[0]})" if pickled else "no weights were found"
        raise PlaceError(
            f"model.uri {uri} has no .safetensors file: {what}",
            "save the model with safe_serialization=True; pickle files run code and are not read",
        )


def check_documents(folder: Path, uri: str) -> None:
    """PlaceError when a JSON file of the model is none, as after an upload that was cut off."""
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}: {error.msg}"
            text = f"{uri}{path.name} is not valid JSON ({where})"
            raise PlaceError(text, "upload the file again") from error
        except UnicodeDecodeError as error:
            raise PlaceError(
                f"{uri}{path.name} is not UTF-8 text", "upload the file again"
            ) from error
        if path.name == "config.json" and not isinstance(document, dict):
            raise PlaceError(
                f"{uri}{path.name} is not a JSON object", "upload the model's own file"
            )


def read_config(folder: Path, uri: str) -> Any:
    """The model's configuration; UserError when the architecture is unknown."""
    from transformers import AutoConfig

    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise UserError(
            f"{uri}config.json: model_type {kind!r} cannot be loaded",
            "use an architecture that is part of transformers; code beside a model is not run",
        ) from error


def check_classification(config: Any, uri: str) -> None:
    """UserError when the architecture has no sequence-classification form."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} cannot classify text",
            "use an encoder (BERT, RoBERTa, DeBERTa …) or a decoder with a classification form",
        )


def check_token_classification(config: Any, uri: str) -> None:
    """UserError when the architecture has no token-classification form."""
    from transformers import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} cannot name tokens",
            "use an encoder (BERT, RoBERTa, DeBERTa …) or a decoder with a form for tokens",
        )


def check_question_answering(config: Any, uri: str) -> None:
    """UserError when the architecture has no form that points at answers."""
    from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} cannot point at answers",
            "use an encoder (BERT, RoBERTa, DeBERTa …) or a decoder with a form for questions",
        )


def check_image_classification(config: Any, uri: str) -> None:
    """UserError when the architecture has no image-classification form."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} cannot classify images",
            "use a vision model (ViT, DeiT, Swin, ConvNeXt, ResNet …)",
        )


def check_audio_classification(config: Any, uri: str) -> None:
    """UserError when the architecture has no audio-classification form."""
    from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} cannot classify recordings",
            "use an audio model (wav2vec2, HuBERT, WavLM, AST, Whisper …)",
        )


def check_speech_recognition(config: Any, uri: str) -> None:
    """UserError when the architecture has no form that writes letter by letter."""
    from transformers import MODEL_FOR_CTC_MAPPING as FORMS

    if type(config) not in FORMS:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} does not write what it hears "
            "letter by letter (CTC)",
            "use Whisper, or an audio model with a CTC form (wav2vec2, HuBERT, WavLM …)",
        )


def check_dictation(config: Any, uri: str) -> None:
    """UserError when the model is none of those whose decoder writes what is said."""
    if config.model_type not in DICTATING:
        raise UserError(
            f"model.uri {uri}: architecture {config.model_type!r} has a decoder that is not known "
            "to write what is said",
            "use Whisper, or an audio model with a CTC form (wav2vec2, HuBERT, WavLM …)",
        )


def check_language_model(config: Any, uri: str) -> None:
    """UserError when the model is no causal language model.

    Encoders have a causal form in transformers too; what the model was saved as tells them apart.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING as FORMS

    known = type(config) in FORMS
    form = FORMS[type(config)].__name__ if known else ""
    saved_as = list(config.architectures or [])
    if not known or (saved_as and form not in saved_as):
        what = f"was saved as {saved_as[0]}" if saved_as else f"has type {config.model_type!r}"
        raise UserError(
            f"model.uri {uri} {what}, which does not write text",
            "use a causal language model (Llama, Qwen, Mistral, GPT …) for task TextGeneration",
        )


def check_sequence_to_sequence(config: Any, uri: str) -> None:
    """UserError when the model has no encoder and decoder that write text.

    A model that was saved without its output layer is fine where that is tied to the embedding.
    """
    from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING as FORMS
    from transformers import MODEL_MAPPING as CORES

    known = type(config) in FORMS and config.is_encoder_decoder
    saved_as = list(config.architectures or [])
    forms = {kinds[type(config)].__name__ for kinds in (FORMS, CORES) if type(config) in kinds}
    if not known or (saved_as and forms.isdisjoint(saved_as)):
        what = f"was saved as {saved_as[0]}" if saved_as else f"has type {config.model_type!r}"
        raise UserError(
            f"model.uri {uri} {what}, which does not turn one text into another",
            "use an encoder-decoder model (T5, BART, Pegasus, Marian, mBART, NLLB …); "
            "for a causal language model choose task TextGeneration",
        )


def read_tokenizer(folder: Path, model: Model) -> Any:
    """The model's tokenizer with a padding token and the job's chat template; UserError when it
    cannot be loaded."""
    from transformers import AutoTokenizer

    uri = model.uri
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise UserError(
            f"model.uri {uri}: the tokenizer cannot be loaded: {error}"[:600],
            "copy tokenizer.json and tokenizer_config.json of the model",
        ) from error
    if tokenizer.pad_token is None:
        stand_in = tokenizer.eos_token or tokenizer.unk_token
        if stand_in is None:
            raise UserError(
                f"model.uri {uri}: the tokenizer has no padding token and nothing to stand in",
                "set pad_token in tokenizer_config.json",
            )
        tokenizer.pad_token = stand_in
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    return tokenizer

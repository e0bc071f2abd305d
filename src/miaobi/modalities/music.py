"""Music as notes: MIDI files in, tokens for the models, MIDI and sound out."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import model_validator
from symusic.core import ScoreTick
from torch import Tensor

from miaobi.errors import InvalidRecipe, UnreadableItem
from miaobi.modalities import _minhash, _score, _synth
from miaobi.modalities._base import Item, Modality, Raw, collate_tokens, quantiles, split_tokens
from miaobi.modalities._events import EventsName, NoteTokens
from miaobi.modalities._grid import GridTokens
from miaobi.modalities._midi import MAX_FILE_BYTES, read_midi
from miaobi.modalities._part_writing import VOICES, PartWriting
from miaobi.modalities._roll import piano_roll
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.modalities._steps import steps
from miaobi.modalities._vocabulary import Vocabulary
from miaobi.modalities._voicing import Voicing
from miaobi.types import Field, Form, Settings, Spec

_STATE = "music.json"
_FILE_RESOLUTION = 480


class Augment(Settings):
    """``transpose: n`` moves a whole piece by up to n semitones, within what each voice sings in training."""

    transpose: int = Value(0, ge=0, le=24)


class Music(Modality):
    """Symbolic music. An item is a canonical `symusic.Score` (see `_score`); an event is the onset of one note.

    Tracks are voices, told apart by program and, within a program, from high to low, so voices in unison stay two.
    The voices of the training items are the vocabulary's; another voice is written as the nearest of them.
    """

    class Config(Settings):
        """How notes become tokens."""

        tokenizer: EventsName | Literal["grid"] = Value(
            "remi", description="remi, tsd: notes one after another; grid: a token a voice and step, one note at a time"
        )
        resolution: Literal[4, 6, 8, 12, 24] = Value(4, description="grid steps a quarter note; 12 keeps triplets too")
        longest: int = Value(16, ge=1, le=64, description="longest note, in quarters; longer ones are cut")
        velocities: int = Value(1, ge=1, le=32, description="loudness levels; with 1 notes carry none")
        max_length: int = Value(2048, ge=16, le=1 << 16, description="tokens; the rest of a longer piece is left out")
        programs: list[Annotated[int, Value(ge=0, le=128)]] = Value(
            [],
            max_length=_score.MAX_VOICES,
            description="the voices, as General MIDI programs counted from 0, 128 for drums; default: the data's own",
        )
        keep: list[Annotated[int, Value(ge=0, lt=_score.MAX_VOICES)]] = Value(
            [],
            max_length=_score.MAX_VOICES,
            description="a piece's voices to keep, counted from 0, from high to low within a program; default: all",
        )

        @model_validator(mode="after")
        def _agree(self) -> Self:
            if self.tokenizer == "grid" and self.velocities > 1:
                raise ValueError("the grid does not write loudness: leave velocities out, or choose remi or tsd")
            return self

    form = Form.TOKENS
    unit = "event"
    extensions = frozenset({".mid", ".midi"})
    metrics = ("likelihood",)
    quality = "statistics.least_overlap"
    spelling = frozenset({"tokenizer"})

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._grid = _score.Grid(self.config.resolution, self.config.longest, self.config.velocities)
        self._voicing: Voicing | None = None
        self._tokens: Vocabulary | None = None

    def read(self, raw: Raw) -> Item:
        item = _score.canonical(_raw_score(raw), self._grid)
        return _score.only(item, self.config.keep, self._grid) if self.config.keep else item

    def pack(self, item: Item) -> bytes:
        return _score.pack(item)

    def unpack(self, data: bytes) -> Item:
        return _score.unpack(data)

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Learn the voices and each one's range.

        Raises:
            DataError: no item has a note, and the recipe names no programs.
            InvalidRecipe: ``max_length`` has no room for a column of so many voices.
        """
        self._take(Voicing.of(items, self.config.programs))

    @property
    def spec(self) -> Spec:
        tokens = self._vocabulary
        longest = tokens.longest(self.config.max_length)
        return Spec(Form.TOKENS, vocabulary=tokens.size, max_length=longest, streams=tokens.streams, hold=tokens.hold)

    @property
    def rules(self) -> PartWriting | None:
        """Those of part writing, of four voices on a grid."""
        tokens = self._vocabulary
        four = isinstance(tokens, GridTokens) and tokens.streams == VOICES
        return PartWriting(self.config.resolution) if four else None

    def encode(self, item: Item) -> np.ndarray:
        voiced = fitted(self._voicing, self).numbered(item, self._grid)
        return self._vocabulary.whole_notes(self._vocabulary.encode(voiced), self.config.max_length)

    def decode(self, array: np.ndarray) -> Item:
        """The score of any tokens, grammatical or not: what cannot be read is left out, to the last note if need be."""
        notes, metres, tempo = self._vocabulary.decode(np.asarray(array, dtype=np.int64))
        return _score.assemble(fitted(self._voicing, self).named(notes), metres, tempo, self._grid)

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return collate_tokens(arrays)

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        return split_tokens(values, lengths)

    def write(self, item: Item, stem: Path) -> list[Path]:
        """Write ``stem.mid`` and ``stem.wav``."""
        midi, wav = stem.with_name(f"{stem.name}.mid"), stem.with_name(f"{stem.name}.wav")
        midi.write_bytes(item.resample(_FILE_RESOLUTION).dumps_midi())
        _synth.write_wav(item, wav)
        return [midi, wav]

    def units(self, items: Sequence[Item]) -> Tensor:
        """Events of each item, as `encode` keeps them: a piece longer than ``max_length`` counts the notes kept."""
        counts = [len(self._vocabulary.notes(self.encode(item))[0]) for item in items]
        return torch.tensor(counts, dtype=torch.float64)

    def length(self, item: Item) -> int:
        return int(item.note_num())

    def signature(self, item: Item) -> np.ndarray | None:
        """Bands over runs of five melodic steps, the same for a piece in every key."""
        return _minhash.signature(steps(item))

    def similarity(self, left: Item, right: Item) -> float:
        return _minhash.jaccard(steps(left), steps(right))

    def augment(self, array: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """Transpose by a shift drawn evenly from those that keep every voice within its range in training."""
        voices, pitches = self._vocabulary.notes(array)
        most = Augment.parse(options, "data.augment").transpose
        voicing = fitted(self._voicing, self)
        low, high = voicing.shifts(voices, pitches)
        shift = int(rng.integers(max(low, -most), min(high, most) + 1))
        return self._vocabulary.transposed(array, shift, voicing.drums) if shift else array

    def check_augment(self, options: dict[str, Any]) -> None:
        Augment.parse(options, "data.augment")

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """Notes, seconds and voices a piece, the lowest and highest pitch, and time signatures by number of pieces."""
        if not items:
            return {}
        pitches = [np.concatenate([_score.note_table(t)[:, 2] for t in item.tracks] or [np.zeros(0)]) for item in items]
        sounding = [row for row in pitches if len(row)]
        metres = Counter(f"{m.numerator}/{m.denominator}" for item in items for m in item.time_signatures[:1])
        return {
            "notes": quantiles([item.note_num() for item in items]),
            "seconds": quantiles([_score.seconds(item) for item in items]),
            "voices": quantiles([len(item.tracks) for item in items]),
            "pitch": {"lowest": int(min(map(np.min, sounding))), "highest": int(max(map(np.max, sounding)))}
            if sounding
            else {},
            "time_signatures": dict(metres.most_common()),
        }

    def html(self, item: Item) -> str:
        """A piano roll and a player; the sound is inside the page."""
        kind, sound = _synth.preview(item)
        player = f'<audio controls preload="none" src="data:{kind};base64,{base64.b64encode(sound).decode()}"></audio>'
        return f'<figure class="music">{piano_roll(item)}<br>{player}</figure>'

    def save(self, folder: Path) -> None:
        write_json(folder / _STATE, fitted(self._voicing, self).to_json())

    def load(self, folder: Path) -> None:
        self._take(Voicing.from_json(read_json(folder / _STATE)))

    @property
    def _vocabulary(self) -> Vocabulary:
        return fitted(self._tokens, self)

    def _take(self, voicing: Voicing) -> None:
        self._voicing = voicing
        self._tokens = _vocabulary(self.config, self._grid, len(voicing))


def _vocabulary(config: Any, grid: _score.Grid, voices: int) -> Vocabulary:
    if config.tokenizer != "grid":
        return NoteTokens(config.tokenizer, grid, voices)
    tokens = GridTokens(grid, voices)
    if config.max_length < tokens.least:
        allowed = f"at least {tokens.least} for {voices} voices"
        raise InvalidRecipe("max_length has no room for music", given=config.max_length, allowed=allowed)
    return tokens


def _raw_score(raw: Raw) -> Any:
    if isinstance(raw, str | Path):
        raw = _file_bytes(Path(raw))
    if isinstance(raw, bytes | bytearray | memoryview):
        return read_midi(bytes(raw))
    if isinstance(raw, ScoreTick):
        return raw
    raise UnreadableItem(
        "not music", given=type(raw).__name__, allowed="a path, the bytes of a MIDI file, a symusic.Score"
    )


def _file_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableItem(f"{path} cannot be read: {error.strerror}") from None

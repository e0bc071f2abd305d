"""Scores as sound, through symusic's synthesizer and the General MIDI sound font inside the pretty_midi package."""

from __future__ import annotations

import importlib.util
import io
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
from symusic import Score, Synthesizer, Tempo

from miaobi.errors import Unsupported
from miaobi.modalities._score import make_track, note_table, tempo_of

RATE = 44_100
"""Frames a second."""
MAX_SECONDS = 600.0
"""Longest sound; a longer piece is cut there."""
_TAIL_SECONDS = 1.5
_PEAK = 10 ** (-1 / 20)  # one decibel below full scale
_FONT = "TimGM6mb.sf2"
_PREVIEW_RATE = 22_050
_PREVIEW_SECONDS = 120.0
# libsndfile's Vorbis encoder puts a whole write on the stack: a long one overflows it.
_BLOCK = 1 << 14


def render(score: Any, *, rate: int = RATE, longest: float = MAX_SECONDS) -> np.ndarray:
    """Stereo sound from the first note on, its peak one decibel below full scale.

    Returns:
        ``float32 [frames, 2]`` in [-1, 1]; a tenth of a second of silence for a score without notes.

    Raises:
        Unsupported: the sound font is not installed.
    """
    if not score.note_num():
        return np.zeros((rate // 10, 2), dtype=np.float32)
    opening, length = _opening(score, longest)
    sound = np.asarray(_synthesizer(rate).render(opening, stereo=True), dtype=np.float32).T[: int(length * rate)]
    peak = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(_PEAK / peak) if peak > 0 else sound


def write_wav(score: Any, path: Path) -> None:
    """Write 16-bit stereo PCM at 44.1 kHz."""
    soundfile.write(path, render(score), RATE, subtype="PCM_16", format="WAV")


def preview(score: Any) -> tuple[str, bytes]:
    """A small mono version of the first two minutes, for a page: its media type and bytes."""
    sound = render(score, rate=_PREVIEW_RATE, longest=_PREVIEW_SECONDS).mean(axis=1)
    buffer = io.BytesIO()
    if "OGG" in soundfile.available_formats():
        _write_vorbis(sound, buffer)
        return "audio/ogg", buffer.getvalue()
    soundfile.write(buffer, sound, _PREVIEW_RATE, subtype="PCM_16", format="WAV")
    return "audio/wav", buffer.getvalue()


def _opening(score: Any, longest: float) -> tuple[Any, float]:
    """A copy whose first note is at time zero and whose last one starts before ``longest`` seconds; what to keep of it.

    It ends with a note that is not to be heard: sound is kept for so many seconds.
    """
    tables = [note_table(track) for track in score.tracks]
    start = min(int(table[:, 0].min()) for table in tables if len(table))
    ticks_a_second = tempo_of(score) / 60 * score.ticks_per_quarter
    opening: Any = Score(score.ticks_per_quarter)
    for track, table in zip(score.tracks, tables, strict=True):
        moved = table - [start, 0, 0, 0]
        opening.tracks.append(make_track(track.program, track.is_drum, moved[moved[:, 0] < longest * ticks_a_second]))
    opening.tempos.append(Tempo(0, tempo_of(score)))
    # The renderer stops at the last note's end: one more note lets the others die away.
    after = np.array([[int(opening.end() + _TAIL_SECONDS * ticks_a_second), 1, 0, 1]])
    opening.tracks.append(make_track(0, False, after))
    return opening, after[0, 0] / ticks_a_second


def _write_vorbis(sound: np.ndarray, buffer: BinaryIO) -> None:
    with soundfile.SoundFile(buffer, "w", _PREVIEW_RATE, 1, "VORBIS", format="OGG", compression_level=0.8) as file:
        for start in range(0, len(sound), _BLOCK):
            file.write(sound[start : start + _BLOCK])


@lru_cache(maxsize=2)
def _synthesizer(rate: int) -> Any:
    return Synthesizer(str(_sound_font()), rate, 0)


def _sound_font() -> Path:
    """The sound font, found without importing the package that it is in.

    Raises:
        Unsupported: it is not there.
    """
    spec = importlib.util.find_spec("pretty_midi")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / _FONT).is_file():
            return path
    raise Unsupported(
        "rendering music to sound needs a sound font that is not installed",
        given=f"no {_FONT} in the package pretty_midi",
        cure="pip install pretty_midi==0.2.11.post0",
    )

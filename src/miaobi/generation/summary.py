"""A summary of a longer video: its most representative shots, joined; no model and no training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miaobi.errors import InvalidRecipe, RunFolderError, UnreadableItem
from miaobi.generation._shots import SIDE, Shot, choose, coverage, cuts, look, stretches
from miaobi.modalities._video_files import Timeline, frames_from, opened, pixels, timeline
from miaobi.modalities._video_writing import Mp4Writer

LEAST_SECONDS, MOST_SECONDS = 2.0, 600.0
_MOST_SHOTS = 4096
_SHARE = 4
_LONGEST, _SHORTEST = 4.0, 0.5
_LATE = 0.001
_SUMMARY_PIXELS = 400_000_000_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What was made.

    Attributes:
        path: the MP4.
        seconds: its length.
        chosen: the stretches in it, in order of time.
        shots: every stretch that could have been chosen.
        cuts: seconds at which the video cuts.
        coverage: 0 to 1, the likeness of all stretches to the nearest chosen one, weighted by length.
    """

    path: Path
    seconds: float
    chosen: tuple[Shot, ...]
    shots: tuple[Shot, ...]
    cuts: tuple[float, ...]
    coverage: float


def summarise(path: Path | str, out: Path | str, seconds: float = 10.0) -> Summary:
    """Join the shots that best stand for a video into a shorter one, without sound, at the video's own size.

    Cuts are found where the colours and the coarse picture jump; a long shot is divided, so that ``seconds`` can hold
    at least four stretches; they are chosen for coverage. A video no longer than ``seconds`` is taken whole. Dissolves
    are not found as cuts.

    Args:
        path: a video file.
        out: the MP4 to write; an existing file is replaced when the new one is complete.
        seconds: longest summary, 2 to 600.

    Raises:
        InvalidRecipe: ``seconds`` is out of range.
        UnreadableItem: the video cannot be read, or is over an hour or 9.4 million pixels a frame.
        RunFolderError: ``out`` is the video itself, or in no folder.
        SaveFailed: the summary cannot be written.
    """
    source, target = Path(path), Path(out)
    _check(source, target, seconds)
    with opened(source) as (container, stream):
        line = timeline(container, stream, source)
    looks, times = _looks(source, line)
    starts = cuts(looks, times)
    longest = max(_SHORTEST, min(_LONGEST, seconds / _SHARE), line.end / (_MOST_SHOTS // 2))
    shots = stretches(starts, times, max(line.end, float(times[-1]) + _LATE), longest)
    if len(shots) > _MOST_SHOTS:
        raise UnreadableItem("the video cuts too often", given=f"{len(starts)} cuts", allowed=f"under {_MOST_SHOTS}")
    features = np.stack([_middle(looks, times, shot) for shot in shots])
    chosen = choose(shots, features, seconds)
    made = tuple(shots[index] for index in chosen)
    _join(source, line, made, target)
    return Summary(
        path=target,
        seconds=sum(shot.seconds for shot in made),
        chosen=made,
        shots=tuple(shots),
        cuts=tuple(float(times[start]) for start in starts),
        coverage=coverage(shots, features, chosen),
    )


def _looks(source: Path, line: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """What every frame looks like, and when it is shown."""
    looks, times = [], []
    for time, frame in frames_from(source, line, 0.0, _SUMMARY_PIXELS):
        small = frame.to_ndarray(format="rgb24", width=SIDE, height=SIDE, interpolation="AREA")
        looks.append(look(small))
        times.append(time)
    if not looks:
        raise UnreadableItem("the video has no frames")
    return np.stack(looks), np.array(times)


def _middle(looks: np.ndarray, times: np.ndarray, shot: Shot) -> np.ndarray:
    """The mean look of a shot; of one between two frames, that of the frame before."""
    inside = (times >= shot.begin - _LATE) & (times < shot.end - _LATE)
    if not inside.any():
        return np.asarray(looks[max(0, int(np.searchsorted(times, shot.begin, side="right")) - 1)])
    return np.asarray(looks[inside].mean(axis=0))


def _join(source: Path, line: Timeline, chosen: Sequence[Shot], target: Path) -> None:
    """Write the frames of the chosen stretches, at the video's mean rate, whole or not at all."""
    rate = len(line.times) / line.end if line.end else 25.0
    part = target.with_name(f".{target.name}.{os.getpid()}.mp4")
    try:
        with Mp4Writer(part, rate) as writer:
            for time, frame in frames_from(source, line, chosen[0].begin, _SUMMARY_PIXELS):
                if any(shot.begin - _LATE <= time < shot.end - _LATE for shot in chosen):
                    writer.append(pixels(frame))
                if time >= chosen[-1].end:
                    break
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _check(source: Path, target: Path, seconds: float) -> None:
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        allowed = f"{LEAST_SECONDS:g} to {MOST_SECONDS:g} s"
        raise InvalidRecipe("the summary's length is out of range", given=seconds, allowed=allowed)
    if not target.parent.is_dir():
        raise RunFolderError("there is no folder to write the summary to", given=str(target.parent), cure="make it")
    if target.exists() and source.exists() and target.samefile(source):
        raise RunFolderError("the summary would replace the video", given=str(target), cure="name another file")

"""Pictures, sounds and clips of all systems in one form, so that no file and no frame says who made it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from miaobi.evaluation.human.sources import Candidates
from miaobi.modalities import Item, Modality
from miaobi.modalities._resize import COLOUR, GREY, convert, resize
from miaobi.modalities._waveform import Sound


def alike(found: Sequence[Candidates]) -> tuple[list[Candidates], str]:
    """The candidates in one form, and that form in words; texts and music, which have one already, as they are.

    Pictures and clips get the least height and the least width of all, cut from the middle, and are grey only where all
    are; transparency is laid on white. Sounds get the lowest rate of all, clips the lowest number of frames a second.
    """
    bring = {"image": _pictures, "speech": _sounds, "video": _clips}.get(found[0].modality.name)
    return bring(found) if bring else (list(found), "")


def _pictures(found: Sequence[Candidates]) -> tuple[list[Candidates], str]:
    size, channels = _frame(item.shape for one in found for item in one.items)
    made = _each(found, found[0].modality, lambda item, _: resize(convert(item, channels), size, "crop"))
    return made, _said(size, channels)


def _sounds(found: Sequence[Candidates]) -> tuple[list[Candidates], str]:
    rate = min(item.rate for one in found for item in one.items)
    made = _each(found, found[0].modality, lambda item, _: item if item.rate == rate else Sound.of(item.at(rate), rate))
    return made, f"{rate:,} Hz, one channel"


def _clips(found: Sequence[Candidates]) -> tuple[list[Candidates], str]:
    slowest = min((one.modality for one in found), key=_rate)
    size, channels = _frame(item.shape[1:] for one in found for item in one.items)

    def brought(clip: Item, modality: Modality) -> Item:
        # The frame that a player would show at each instant.
        count = max(1, round(len(clip) * _rate(slowest) / _rate(modality)))
        shown = (np.arange(count) * _rate(modality) / _rate(slowest)).astype(np.int64)
        frames = clip[np.minimum(shown, len(clip) - 1)]
        return np.stack([resize(convert(frame, channels), size, "crop") for frame in frames])

    return _each(found, slowest, brought), f"{_said(size, channels)}, {_rate(slowest):g} frames a second"


def _each(
    found: Sequence[Candidates], modality: Modality, brought: Callable[[Item, Modality], Item]
) -> list[Candidates]:
    """All items brought to one form, which ``modality`` writes."""
    return [replace(one, modality=modality, items=[brought(item, one.modality) for item in one.items]) for one in found]


def _frame(shapes: Iterable[tuple[int, int, int]]) -> tuple[tuple[int, int], int]:
    """Height and width, and channels, that frames ``[H, W, C]`` share."""
    heights, widths, channels = (set(sides) for sides in zip(*shapes, strict=True))
    return (min(heights), min(widths)), GREY if channels == {GREY} else COLOUR


def _said(size: tuple[int, int], channels: int) -> str:
    return f"{size[1]} x {size[0]} pixels, {'grey' if channels == GREY else 'colour'}"


def _rate(modality: Modality) -> float:
    return float(modality.config.rate)

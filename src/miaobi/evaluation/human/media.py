"""Items as the page shows them: written anew, without names, dates or any other trace of who made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from miaobi.evaluation.human.records import Piece
from miaobi.modalities import Item, Modality
from miaobi.sampling.noise import derive_one, seeds_of, uniform

TYPES = {".png": "image/png", ".wav": "audio/wav", ".mp4": "video/mp4"}
_KINDS = {".png": "image", ".wav": "sound", ".mp4": "video"}
_QUIET = 0.3


def piece(
    modality: Modality, item: Item, folder: Path, *, system: str, key: str, seed: int, given: str = "", broken: bool
) -> Piece:
    """An item as a `Piece`, its media (if any) written to ``folder``.

    A picture is stored without compression, so that the size of its file depends on that of the picture alone.

    Args:
        modality: the item's.
        item: canonical.
        folder: for media; exists.
        system: who made it.
        key: names it within the study; with ``seed`` it gives the id.
        seed: the study's.
        given: what it was made from.
        broken: show it with its characters, pixels or samples in random order.
    """
    name = opaque(seed, "piece", key)
    if broken and modality.name in ("text", "image", "video"):
        item = scrambled(item, derive_one(seed, "broken", key))
    length = modality.length(item)
    text = modality.text(item) if modality.name == "text" else None
    if text is not None:
        return Piece(name, system, "text", text=text, length=length, given=given)
    path = _written(modality, item, folder / name)
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, compress_level=0)
    if path.suffix == ".wav" and broken:
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, (_QUIET * shuffled(samples, derive_one(seed, "broken", key))).astype(np.int16), rate)
    return Piece(name, system, _KINDS[path.suffix], file=path.name, length=length, given=given)


def opaque(seed: int, *keys: str | int) -> str:
    """16 hexadecimal digits that tell nothing about the keys they come from."""
    return f"{derive_one(seed, *keys) % 2**64:016x}"


def scrambled(item: Item, seed: int) -> Item:
    """A text with its characters, or an array ``[..., C]`` with its pixels, in random order."""
    if isinstance(item, str):
        return "".join(shuffled(np.array(list(item), dtype=object), seed).tolist())
    return shuffled(item.reshape(-1, item.shape[-1]), seed).reshape(item.shape)


def breakage(item: Item) -> float:
    """The share of characters or pixels that another order changes; one of everything else."""
    if isinstance(item, str):
        return sum(map(str.__ne__, item, scrambled(item, 0))) / max(1, len(item))
    if isinstance(item, np.ndarray):
        return float((item != scrambled(item, 0)).any(-1).mean())
    return 1.0


def shuffled(rows: np.ndarray, seed: int) -> np.ndarray:
    """The rows of an array in an order that ``seed`` fixes."""
    order = torch.argsort(uniform(seeds_of(seed, [0]), "shuffle", (len(rows),))[0])
    return rows[order.numpy()]


def _written(modality: Modality, item: Item, stem: Path) -> Path:
    """The file that a browser shows; what else the modality writes is removed."""
    paths = modality.write(item, stem)
    shown = next(path for path in paths if path.suffix in TYPES)
    for path in paths:
        if path != shown:
            path.unlink()
    return shown

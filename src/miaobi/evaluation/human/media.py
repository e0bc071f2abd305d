"""Items as the page shows them: written anew, without names, dates or any other trace of who made them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from miaobi.evaluation.human.records import Piece
from miaobi.modalities import Item, Modality
from miaobi.sampling.noise import seeds_of, uniform

TYPES = {".png": "image/png", ".wav": "audio/wav", ".mp4": "video/mp4"}
_KINDS = {".png": "image", ".wav": "sound", ".mp4": "video"}
_QUIET = 0.3


def piece(
    modality: Modality, item: Item, folder: Path, *, system: str, key: str, salt: str, given: str = "", broken: bool
) -> Piece:
    """An item as a `Piece`, its media (if any) written to ``folder``.

    A picture is stored without compression, so that the size of its file depends on that of the picture alone.

    Args:
        modality: the item's.
        item: canonical.
        folder: for media; exists.
        system: who made it.
        key: names it within the study; with ``salt`` it gives the id.
        salt: the study's.
        given: what it was made from.
        broken: show it with its characters, pixels or samples in random order.
    """
    name = opaque(salt, "piece", key)
    seed = secret(salt, "broken", key)
    if broken and modality.name in ("text", "image", "video"):
        item = scrambled(item, seed)
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
        soundfile.write(path, (_QUIET * shuffled(samples, seed)).astype(np.int16), rate)
    return Piece(name, system, _KINDS[path.suffix], file=path.name, length=length, given=given)


def opaque(salt: str, *keys: str) -> str:
    """16 hexadecimal digits that, to whoever lacks the salt, tell nothing about the keys or about other digits.

    A keyed hash, since the mixing behind seeds can be turned round.
    """
    return hashlib.blake2b("\0".join(keys).encode(), digest_size=8, key=bytes.fromhex(salt)).hexdigest()


def secret(salt: str, *keys: str) -> int:
    """A seed of the like."""
    return int(opaque(salt, *keys), 16)


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

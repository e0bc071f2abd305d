"""A text with one gap of any length, and what of it a model is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import DataError
from miaobi.modalities import Modality

MARK = "□"


def read_gap(modality: Modality, path: Path) -> tuple[Tensor, Tensor]:
    """A file with a gap: ``tokens [1, L]``, one of which, 0, stands for the gap, and ``mask [1, L]``, true there.

    One ``□`` (U+25A1) or several in a row are the gap. Blanks and line breaks before it are part of it, because
    sub-word tokens join them to the word that follows; line breaks at the end of the file are not part of the text.

    Raises:
        UnreadableItem: a file that is no text.
        DataError: no gap, several, nothing but a gap, or characters that the model's vocabulary cannot write.
    """
    before, gap, after = str(modality.read(path)).rstrip("\n").partition(MARK)
    after = after.lstrip(MARK)
    if not gap or MARK in after:
        raise DataError(
            f"{path} has {'several gaps' if gap else 'no gap to fill in'}",
            allowed="one gap",
            cure=f"write {MARK} (U+25A1) once, where text is missing",
        )
    sides = [side for side in (before.rstrip(), after) if side]
    if not sides:
        raise DataError(f"{path} is nothing but a gap", cure="give some text around it")
    known = {side: modality.encode_prompt(side) for side in sides}
    none = np.zeros(0, dtype=np.int64)
    prefix, suffix = known.get(before.rstrip(), none), known.get(after, none)
    tokens = np.concatenate([prefix, [0], suffix])
    return torch.from_numpy(tokens)[None], (torch.arange(len(tokens)) == len(prefix))[None]

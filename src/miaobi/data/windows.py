"""One long text as items: windows of ``context + 1`` tokens, each starting on the last token of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from miaobi.data.content import MOST_ID
from miaobi.data.dataset import Augment, Dataset
from miaobi.data.shelf import Shelf, saving
from miaobi.errors import DataError
from miaobi.modalities import Item, Modality
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch

_BLOCK = 1 << 16


def write_tokens(path: Path, arrays: Iterable[np.ndarray], vocabulary: int) -> int:
    """Write tokens one after another, in record batches of 65,536; returns how many.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    dtype = np.uint16 if vocabulary <= 1 << 16 else np.uint32
    table = pa.schema([("tokens", pa.from_numpy_dtype(dtype))])
    held = np.zeros(0, dtype=dtype)
    count = 0
    with saving(), pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table) as writer:
        for array in arrays:
            held = np.concatenate([held, array.astype(dtype)])
            count += len(array)
            while len(held) >= _BLOCK:
                writer.write_batch(pa.record_batch([pa.array(held[:_BLOCK])], schema=table))
                held = held[_BLOCK:]
        if len(held):
            writer.write_batch(pa.record_batch([pa.array(held)], schema=table))
    return count


class WindowDataset(Dataset):
    """Windows of a file that `write_tokens` wrote: window i is ``tokens[i * context : i * context + context + 1]``.

    A held-out part keeps its last, shorter window, so that every token but the first is predicted once; training drops
    it unless it is the only one.

    Args:
        path: the file.
        part: its name.
        modality: the text's.
        context: tokens that a window predicts.
        seed: of the ids, from the part's content.
    """

    def __init__(self, path: Path, part: str, modality: Modality, context: int, seed: int) -> None:
        self.part = part
        self._shelf = Shelf(path)
        self.modality = modality
        self._context = context
        self._tokens = len(self._shelf)
        predicted = max(0, self._tokens - 1)
        whole, rest = divmod(predicted, context)
        count = whole + (rest > 0 and (part != "train" or whole == 0))
        self.ids = (seeds_of(seed, torch.arange(count)) & MOST_ID).clamp(min=1)

    @property
    def tokens(self) -> int:
        """How many tokens the part has."""
        return self._tokens

    def batch(self, rows: Sequence[int], *, augment: Augment | None = None, shift: int = 0, epoch: int = 0) -> Batch:
        """As `Dataset.batch`; ``shift`` moves training windows on by that many tokens (modulo the context).

        The last windows then end with the text, so that every window stays full.
        """
        if augment is not None:
            raise DataError("a stream cannot be augmented", cure="remove data.augment")
        rows = [int(row) for row in rows]
        moved = shift % self._context if self.part == "train" else 0
        arrays = [self._window(row, moved) for row in rows]
        return Batch(self.modality.collate(arrays), ids=self.ids[rows])

    def items(self, rows: Sequence[int]) -> list[Item]:
        return [self.modality.decode(self._window(int(row), 0)) for row in rows]

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        raise KeyError(name)

    def _window(self, row: int, moved: int) -> np.ndarray:
        """int64, at most ``context + 1`` tokens."""
        if not 0 <= row < len(self):
            raise IndexError(f"window {row} of {len(self)}")
        start = row * self._context
        if moved:
            start = max(0, min(start + moved, self._tokens - 1 - self._context))
        return self._shelf.span("tokens", start, min(start + self._context + 1, self._tokens)).astype(np.int64)

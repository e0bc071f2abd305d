"""Batches in an order that depends on seed and epoch alone, made ahead of time by a thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from miaobi.data.dataset import Dataset
from miaobi.errors import DataError
from miaobi.sampling.noise import derive_one, seeds_of
from miaobi.types import Batch, Field

AHEAD = 4
"""Batches made ahead."""
_GROUPED = 50
"""Batches whose items are sorted by length together."""
_LOOKED_AT = 1 << 20
"""Items among which the heaviest batches are sought."""


class Loader:
    """The batches of a run, by number.

    Epochs follow one another; a batch may straddle two, so each is full. The thread starts with the first `batch`.

    Args:
        dataset: what to draw from.
        batch_size: items a batch.
        seed: the run's.
        augment: the recipe's ``data.augment``; empty for none.
        shuffle: a new order every epoch; otherwise the data set's.
        grouped: whether items of like length share a batch, as far as a shuffled stretch of 50 batches allows; the
            batches of a stretch come in random order.

    Raises:
        DataError: the data set is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        *,
        augment: Mapping[str, Any] | None = None,
        shuffle: bool = True,
        grouped: bool = False,
    ) -> None:
        if not len(dataset):
            raise DataError(f"the {dataset.part} part is empty", cure="add data, or hold out less (data.split)")
        self._dataset, self._batch_size, self._seed, self._shuffle = dataset, batch_size, seed, shuffle
        self._options = dict(augment or {})
        self._sizes = dataset.sizes() if grouped else None
        self._order = lru_cache(maxsize=2)(self._make_order)
        self._changed = threading.Condition()
        self._ready: dict[int, Batch | BaseException] = {}
        self._next = 0
        self._wanted = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def batch(self, index: int) -> Batch:
        """The ``index``-th batch since the run began, from 0; asking in order is fastest.

        Raises:
            Exception: whatever went wrong in making it.
        """
        if index < 0:
            raise IndexError(index)
        with self._changed:
            self._start(index)
            while index not in self._ready:
                self._changed.wait()
            found = self._ready.pop(index)
            self._wanted = index + 1
            self._changed.notify_all()
        if isinstance(found, BaseException):
            raise found
        return found

    def rows(self, index: int) -> list[tuple[int, int]]:
        """``(epoch, row)`` of each item of a batch."""
        total = len(self._dataset)
        positions = range(index * self._batch_size, (index + 1) * self._batch_size)
        return [(position // total, int(self._order(position // total)[position % total])) for position in positions]

    def heaviest(self, count: int) -> list[int]:
        """Of the first ``count`` batches, that with the most tokens and that with the longest item; at most 2.

        Empty where all items are alike.
        """
        sizes = self._dataset.sizes()
        if sizes is None:
            return []
        total = len(self._dataset)
        count = max(1, min(count, _LOOKED_AT // self._batch_size))
        epochs = range(-(-count * self._batch_size // total))
        order = np.concatenate([self._order(epoch) for epoch in epochs])[: count * self._batch_size]
        held = sizes[order].reshape(count, self._batch_size)
        return sorted({int(held.sum(1).argmax()), int(held.max(1).argmax())})

    def close(self) -> None:
        """Stop the thread; the loader cannot be used afterwards."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, index: int) -> None:
        """Point the thread at ``index`` where it is not on its way there already."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        if index not in self._ready and index != self._next:
            self._ready.clear()
            self._next = index
        self._wanted = index
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="miaobi-loader", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and self._next >= self._wanted + AHEAD:
                    self._changed.wait()
                if self._closed:
                    return
                index = self._next
            made: Batch | BaseException
            try:
                made = self._make(index)
            except BaseException as error:  # noqa: BLE001 - the caller of `batch` gets it
                made = error
            with self._changed:
                # While this one was made the caller may have gone elsewhere.
                if self._next == index and not self._closed:
                    self._ready = {number: batch for number, batch in self._ready.items() if number >= self._wanted}
                    self._ready[index] = made
                    self._next = index + 1
                    self._changed.notify_all()

    def _make(self, index: int) -> Batch:
        rows: dict[int, list[int]] = {}
        for epoch, row in self.rows(index):
            rows.setdefault(epoch, []).append(row)
        return join([self._part(epoch, chosen) for epoch, chosen in rows.items()])

    def _part(self, epoch: int, rows: list[int]) -> Batch:
        shift = derive_one(self._seed, "window shift", epoch) if epoch else 0
        augment = partial(self._varied, epoch) if self._options else None
        return self._dataset.batch(rows, augment=augment, shift=shift, epoch=epoch)

    def _varied(self, epoch: int, array: np.ndarray, item: int) -> np.ndarray:
        seed = derive_one(self._seed, "augmentation", epoch, item) % 2**63
        return self._dataset.modality.augment(array, self._options, np.random.Generator(np.random.PCG64(seed)))

    def _make_order(self, epoch: int) -> np.ndarray:
        count = len(self._dataset)
        if not self._shuffle:
            return np.arange(count)
        order = _shuffled(count, derive_one(self._seed, "order", epoch))
        return order if self._sizes is None else self._gathered(order, epoch)

    def _gathered(self, order: np.ndarray, epoch: int) -> np.ndarray:
        """Items of like length side by side; whole batches of this epoch begin after those that fill its first."""
        sizes: Any = self._sizes
        first = -epoch * len(order) % self._batch_size
        pieces = [order[:first]]
        for start in range(first, len(order), _GROUPED * self._batch_size):
            stretch = order[start : start + _GROUPED * self._batch_size]
            stretch = stretch[np.argsort(sizes[stretch], kind="stable")]
            whole = len(stretch) // self._batch_size
            # What is left over is any length's, so that the longest are not always in the batch that straddles epochs.
            over = len(stretch) - whole * self._batch_size
            skip = derive_one(self._seed, "left over", epoch, start) % (len(stretch) - over + 1)
            batches = np.delete(stretch, np.s_[skip : skip + over]).reshape(whole, self._batch_size)
            shuffled = batches[_shuffled(whole, derive_one(self._seed, "batches", epoch, start))]
            pieces += [shuffled.reshape(-1), stretch[skip : skip + over]]
        return np.concatenate(pieces)


def _shuffled(count: int, seed: int) -> np.ndarray:
    return torch.argsort(seeds_of(seed, torch.arange(count)), stable=True).numpy()


def join(batches: list[Batch]) -> Batch:
    """Batches of the same data set as one; tokens are padded to the longest."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    return Batch(
        join_fields([batch.target for batch in batches]),
        conditions={name: join_fields([batch.conditions[name] for batch in batches]) for name in first.conditions},
        extra={name: join_fields([batch.extra[name] for batch in batches]) for name in first.extra},
        ids=torch.cat([batch.ids for batch in batches]),
    )


def join_fields(fields: list[Field]) -> Field:
    """Rows of several fields as one."""
    values = [field.values for field in fields]
    if fields[0].lengths is not None:
        longest = max(value.shape[1] for value in values)
        values = [torch.nn.functional.pad(value, (0, longest - value.shape[1])) for value in values]
    lengths = None if fields[0].lengths is None else torch.cat([f.lengths for f in fields if f.lengths is not None])
    present = None
    if any(field.present is not None for field in fields):
        present = torch.cat([field.is_present() for field in fields])
    return Field(torch.cat(values), lengths=lengths, present=present)

"""What a modality is: it turns files into arrays and back, and knows how to show and measure itself.

An **item** is the modality's canonical Python value (``str`` for text and labels, ``uint8 [H, W, C]`` for images,
a ``symusic.Score`` for music). An **array** is the item as stored and fed to a model (``int64 [L]`` tokens,
``uint8 [C, H, W]`` images, ``int64 []`` labels).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.modalities._tokenizers import Tokenizer
from miaobi.plugins import name_of
from miaobi.types import Field, Form, Settings, Spec

Item = Any
Raw = Any


class Modality(ABC):
    """Base of modalities.

    Life: construct with a `Config`; `fit` on the training items once, or `load` what was saved; then `encode`,
    `collate`, `decode` and `write` any number of times.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

    form: ClassVar[Form]
    identifies: ClassVar[bool] = True
    """Whether equal items are one and the same thing, which a split keeps together; a class is shared by many."""
    unit: ClassVar[str]
    """What likelihoods are divided by: byte, dimension or event."""
    extensions: ClassVar[frozenset[str]] = frozenset()
    """Lower-case file suffixes, with the dot, that a folder source takes."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """Figures that `evaluate` computes when none is named."""
    quality: ClassVar[str | None] = None
    """The figure of samples (GROUP.FIGURE) that models are ranked by; ``None``: they are not."""
    spelling: ClassVar[frozenset[str]] = frozenset()
    """Options that say how an item is cut into tokens, and not what it is."""
    extractor: ClassVar[str | None] = None
    """Named feature extractor for distribution distances."""
    ends: ClassVar[bool] = False
    """Whether an item may end before its array does; what follows is that of `blank`."""
    marks: ClassVar[int] = 1
    """How many numbers a token is stored as, where arrays say more of one than which it is."""
    copy_extractor: ClassVar[str | None] = None
    """Named features in which near-copies are looked for; ``None``: of tensors, the ``extractor``."""

    def __init__(self, config: Settings) -> None:
        self.config: Any = config

    @property
    def name(self) -> str:
        """The plug-in's name; of a representation, that of what it represents."""
        return name_of(type(self))

    @property
    def shown(self) -> Modality:
        """What samples become and metrics see: itself, or what a representation is of."""
        return self

    @property
    def tokenizer(self) -> Tokenizer | None:
        """How its tokens spell a text; ``None`` where they do not."""
        return None

    @property
    def rules(self) -> Any:
        """What keeps drawn tokens to rules of the content (a `miaobi.sampling.rules.Rules`); ``None``: it has none."""
        return None

    @abstractmethod
    def read(self, raw: Raw) -> Item:
        """The item in ``raw`` (a path, text, bytes, an array, or whatever a table holds), cleaned and normalised.

        Raises:
            UnreadableItem: with the reason; the caller skips and names it.
        """

    def columns_of(self, columns: Sequence[str], content: str | None) -> tuple[str, ...]:
        """The columns that an item is made of together, of a source's ``columns``; `read` is then given a mapping.

        Args:
            columns: of the source.
            content: ``data.content`` of the recipe.

        Returns:
            Nothing where an item is made of one column.

        Raises:
            DataError: the source has none that it could be.
        """
        return ()

    @abstractmethod
    def pack(self, item: Item) -> bytes:
        """The item as bytes, for the cache and for content hashes: equal items give equal bytes."""

    @abstractmethod
    def unpack(self, data: bytes) -> Item:
        """The inverse of `pack`."""

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Learn vocabulary and statistics from training items; the default has nothing to learn."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What the encoded target looks like; valid after `fit` or `load`."""

    @abstractmethod
    def encode(self, item: Item) -> np.ndarray:
        """The array of an item."""

    def encode_prompt(self, item: Item) -> np.ndarray:
        """The array of the beginning of an item, whole.

        Raises:
            DataError: nothing that an item could begin with.
        """
        return self.encode(item)

    def encode_many(self, items: Sequence[Item]) -> list[np.ndarray]:
        """The arrays of several items."""
        return [self.encode(item) for item in items]

    def blank(self) -> np.ndarray:
        """The array of an item in which there is nothing, where items may end before their arrays do.

        Raises:
            Unsupported: they do not.
        """
        raise Unsupported(f"every {self.name} fills its array", cure="ask only where the modality's items end")

    @abstractmethod
    def decode(self, array: np.ndarray) -> Item:
        """The item of an array (tokens past the length and special tokens already removed; images as stored)."""

    @abstractmethod
    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        """A batch of arrays as the `Field` that models take (images scaled to [-1, 1], tokens padded with zero)."""

    @abstractmethod
    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        """The inverse of `collate`: a model's values as arrays (clamped and rounded where quantised)."""

    @abstractmethod
    def write(self, item: Item, stem: Path) -> list[Path]:
        """Write an item to ``stem`` plus a suffix; the first path is the main one (music also writes a WAV)."""

    @abstractmethod
    def units(self, items: Sequence[Item]) -> Tensor:
        """``[B]`` float64: bytes, dimensions or events of each item; turns nats into bits a unit."""

    def length(self, item: Item) -> int:
        """Size in the terms of ``data.clean.min_length``: characters, the shorter image side, events."""
        return int(self.units([item])[0])

    def signature(self, item: Item) -> np.ndarray | None:
        """``uint64 [K]`` bands: items that share one are candidates for near-duplicates; ``None``: exact only."""
        return None

    def similarity(self, left: Item, right: Item) -> float:
        """0 to 1, exact for candidates found by `signature`; at least 0.9 means near-duplicate."""
        return float(self.pack(left) == self.pack(right))

    def augment(self, array: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """A random variation of an array under the recipe's ``data.augment``; deterministic in ``rng``."""
        return array

    def check_augment(self, options: dict[str, Any]) -> None:
        """Refuse unknown augmentation options before any work.

        Raises:
            InvalidRecipe: unknown option or wrong value.
        """
        Settings.parse(options, "data.augment")

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """JSON-ready statistics for ``miaobi data inspect``: lengths, sizes, languages."""
        lengths = [self.length(item) for item in items]
        return {} if not lengths else {"length": quantiles(lengths)}

    def spell(self, token: int) -> str:
        """One token of an array as a person reads it: what it adds to a text, or its number."""
        tokenizer = self.tokenizer
        return str(token) if tokenizer is None else tokenizer.token_bytes(token).decode("utf-8", "replace")

    def text(self, item: Item) -> str | None:
        """The item as text for the command line, where that makes sense."""
        return None

    def clipped(self, item: Item, length: int | None) -> Item:
        """The item with only the first ``length`` characters of its `text`; ``None``: as it is."""
        return item[:length]

    def html(self, item: Item) -> str:
        """A self-contained HTML fragment that shows or plays the item."""
        import html

        return f"<pre>{html.escape(str(self.text(item)))}</pre>"

    def save(self, folder: Path) -> None:
        """Write fitted state (JSON only) to an existing folder; the default has none."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            CorruptFile: what is there cannot be read.
        """


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Smallest, quartiles, largest and mean, for reports."""
    array = np.asarray(values, dtype=np.float64)
    points = np.quantile(array, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return dict(zip(("min", "q1", "median", "q3", "max"), points, strict=True)) | {"mean": float(array.mean())}


def collate_tokens(arrays: Sequence[np.ndarray]) -> Field:
    """Token arrays padded with zero to the longest, with lengths."""
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    values = np.zeros((len(arrays), int(lengths.max(initial=0))), dtype=np.int64)
    if values.size:
        values[np.arange(values.shape[1]) < lengths[:, None]] = np.concatenate(arrays)
    return Field(torch.from_numpy(values), lengths=torch.from_numpy(lengths))


def split_tokens(values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
    """The inverse of `collate_tokens`."""
    rows = values.cpu().numpy()
    ends = [rows.shape[1]] * len(rows) if lengths is None else lengths.tolist()
    return [row[:end] for row, end in zip(rows, ends, strict=True)]

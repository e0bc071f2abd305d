"""A modality seen through a trained model: its items as latents, codes or embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import CorruptFile, InvalidRecipe, Unsupported
from miaobi.modalities._base import Item, Modality, Raw, collate_tokens, split_tokens
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.types import Field, Form, Settings, Spec

EMBEDDINGS = "embeddings"
"""The kind that has no way back."""
_FILE = "representation.json"
_FITTED_ON = 4096
"""Items whose latents the statistics are of, at most."""
_SMALLEST = 1e-6


class Codec(Protocol):
    """What a frozen model offers: its targets' modality, and the way into a representation and back."""

    modality: Modality
    """Fitted; what the model's targets are."""
    digest: str
    """Of its weights."""

    def specs(self) -> dict[str, Spec]:
        """What each kind of representation looks like."""
        ...

    def represent(self, target: Field, kind: str) -> Tensor:
        """Values of a batch of targets in that kind."""
        ...

    def restore(self, values: Tensor, kind: str) -> Tensor:
        """Targets, as the modality collates them, for values of that kind."""
        ...


class Represented(Modality):
    """Items of a codec's modality, whose arrays are the codec's latents, codes or embeddings.

    Latents and embeddings are scaled to zero mean and unit variance, each channel by statistics of training items;
    codes stay as they are. Where items may end before their arrays do (sound, in silence), codes end with them: a tail
    that is equal to that of silence is left out, and put back when codes are decoded, so nothing is lost. Items, files
    and what is shown are the modality's own; embeddings have no way back, so what a model makes of them is shown as
    numbers.

    Args:
        codec: a frozen model that represents its targets.
        part: its name among the recipe's parts.
        kind: ``latents``, ``codes`` or ``embeddings``, as far as the codec has it.

    Raises:
        InvalidRecipe: the codec has no such kind.
    """

    class Config(Settings):
        """What the arrays are; part of the cache's key, and of every score's protocol."""

        part: str
        kind: str
        modality: str
        options: dict[str, Any]
        weights: str

    def __init__(self, codec: Codec, part: str, kind: str) -> None:
        known = codec.specs()
        if kind not in known:
            raise InvalidRecipe(f"the part {part} has no such representation", given=kind, allowed=known)
        self.codec, self.part, self.kind, self.inner = codec, part, kind, codec.modality
        config = self.Config(
            part=part, kind=kind, modality=self.inner.name, options=self.inner.config.to_json(), weights=codec.digest
        )
        super().__init__(config)
        self._spec = known[kind]
        self._statistics: tuple[np.ndarray, np.ndarray] | None = None
        self._ends = self._spec.form is Form.TOKENS and self._spec.fixed and self.inner.ends
        self._silence: np.ndarray | None = None
        # The class's own are of one modality; these are of whichever is represented.
        self.form = self._spec.form  # type: ignore[misc]
        self.unit = "dimension" if self.form is Form.TENSOR else "code"  # type: ignore[misc]
        self.extensions = self.inner.extensions  # type: ignore[misc]
        self.metrics = () if kind == EMBEDDINGS else self.inner.metrics  # type: ignore[misc]
        self.extractor = None if kind == EMBEDDINGS else self.inner.extractor  # type: ignore[misc]
        self.copy_extractor = None if kind == EMBEDDINGS else self.inner.copy_extractor  # type: ignore[misc]

    @property
    def name(self) -> str:
        """That of what it represents; embeddings are no such items any more."""
        return "embedding" if self.kind == EMBEDDINGS else self.inner.name

    @property
    def shown(self) -> Modality:
        return self if self.kind == EMBEDDINGS else self.inner.shown

    @property
    def spec(self) -> Spec:
        return replace(self._spec, levels=0, fixed=self._spec.fixed and not self._ends)

    def read(self, raw: Raw) -> Item:
        return self.inner.read(raw)

    def pack(self, item: Item) -> bytes:
        return self.inner.pack(item)

    def unpack(self, data: bytes) -> Item:
        return self.inner.unpack(data)

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Settle the scale of each channel on the first training items.

        Raises:
            Unsupported: a single text, whose windows are not items.
        """
        if stream:
            raise Unsupported("a single text cannot be represented", cure="use a source of separate items")
        if self.form is Form.TOKENS:
            self._statistics = np.zeros(1, np.float32), np.ones(1, np.float32)
            return
        values = np.stack([self._values([item])[0] for item, _ in zip(items, range(_FITTED_ON), strict=False)])
        axes = (0, *range(2, values.ndim))
        scale = values.std(axes).clip(min=_SMALLEST)
        self._statistics = values.mean(axes).astype(np.float32), scale.astype(np.float32)

    def encode(self, item: Item) -> np.ndarray:
        return self.encode_many([item])[0]

    def encode_many(self, items: Sequence[Item]) -> list[np.ndarray]:
        values = self._values(items)
        if self._ends:
            return [row[: _end(row, self._blank())] for row in values]
        if self.form is Form.TOKENS:
            return list(values)
        mean, scale = self._channels(values.ndim)
        return list(((values - mean) / scale).astype(np.float32))

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return collate_tokens(arrays) if self.form is Form.TOKENS else Field(torch.from_numpy(np.stack(arrays)))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        """Arrays of what is behind the representation: the codec's restored targets; or vectors, unscaled.

        Codes of items that end may be any number: silence follows too few, and too many are cut.
        """
        if self._ends:
            rows = np.stack([self._filled(row) for row in split_tokens(values, lengths)])
        elif self.form is Form.TOKENS:
            rows = np.stack(split_tokens(values, lengths))
        else:
            mean, scale = self._channels(values.ndim)
            rows = values.detach().float().cpu().numpy() * scale + mean
        if self.kind == EMBEDDINGS:
            return list(rows)
        return self.inner.split_batch(self.codec.restore(torch.from_numpy(rows), self.kind), None)

    def decode(self, array: np.ndarray) -> Item:
        return array if self.kind == EMBEDDINGS else self.inner.decode(array)

    def write(self, item: Item, stem: Path) -> list[Path]:
        if self.kind != EMBEDDINGS:
            return self.inner.write(item, stem)
        path = stem.with_name(f"{stem.name}.json")
        write_json(path, {"embedding": np.asarray(item).tolist()})
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        """Numbers or codes an item, those of a silent tail too: these likelihoods do not compare with the data's."""
        return torch.full((len(items),), self._spec.size, dtype=torch.float64)

    def length(self, item: Item) -> int:
        return self.inner.length(item)

    def signature(self, item: Item) -> np.ndarray | None:
        return self.inner.signature(item)

    def similarity(self, left: Item, right: Item) -> float:
        return self.inner.similarity(left, right)

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        return self.inner.describe(items)

    def text(self, item: Item) -> str | None:
        return f"{len(item)} numbers" if self.kind == EMBEDDINGS else self.inner.text(item)

    def html(self, item: Item) -> str:
        return super().html(item) if self.kind == EMBEDDINGS else self.inner.html(item)

    def save(self, folder: Path) -> None:
        mean, scale = fitted(self._statistics, self)
        write_json(
            folder / _FILE, {"mean": mean.tolist(), "scale": scale.tolist(), "kind": self.kind, "of": self.codec.digest}
        )

    def load(self, folder: Path) -> None:
        state = read_json(folder / _FILE)
        try:
            mean, scale = (np.asarray(state[name], dtype=np.float32) for name in ("mean", "scale"))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"{folder / _FILE} does not describe a representation: {error!r}") from None
        channels = 1 if self.form is Form.TOKENS else self._spec.channels
        if (
            mean.shape != (channels,)
            or mean.shape != scale.shape
            or not (np.isfinite(mean).all() and (scale > 0).all())
        ):
            raise CorruptFile(f"{folder / _FILE} does not describe a representation")
        if state.get("of") != self.codec.digest:
            raise CorruptFile(
                f"{folder / _FILE} is of another part than {self.part}", cure="restore the part that it was made with"
            )
        self._statistics = mean, scale

    def _values(self, items: Sequence[Item]) -> np.ndarray:
        target = self.inner.collate([self.inner.encode(item) for item in items])
        values: np.ndarray = self.codec.represent(target, self.kind).cpu().numpy()
        return values

    def _blank(self) -> np.ndarray:
        """``int64 [positions]``: the codes of silence."""
        if self._silence is None:
            nothing = self.inner.collate([self.inner.blank()])
            self._silence = self.codec.represent(nothing, self.kind).cpu().numpy()[0]
        return self._silence

    def _filled(self, codes: np.ndarray) -> np.ndarray:
        filled = self._blank().copy()
        codes = codes[: len(filled)]
        filled[: len(codes)] = codes
        return filled

    def _channels(self, axes: int) -> tuple[np.ndarray, np.ndarray]:
        mean, scale = fitted(self._statistics, self)
        return mean.reshape(1, -1, *[1] * (axes - 2)), scale.reshape(1, -1, *[1] * (axes - 2))


def _end(codes: np.ndarray, silence: np.ndarray) -> int:
    """Where a row of codes ends: behind the last that is not silence, and behind the first in any case."""
    sounding = np.flatnonzero(codes != silence)
    return int(sounding[-1]) + 1 if len(sounding) else 1

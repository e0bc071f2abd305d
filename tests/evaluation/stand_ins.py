"""Data in memory and families whose scores are known, so that a metric is tested against what it must give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from miaobi import modalities
from miaobi.evaluation import Context
from miaobi.families import Family, Ports
from miaobi.modalities import Item, Modality
from miaobi.models import Model
from miaobi.sampling.noise import integers, uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec


class Rows:
    """A part of a split, in memory."""

    def __init__(self, part: str, items: Sequence[Item], modality: Modality, *, window: int | None = None) -> None:
        self.part, self.modality = part, modality
        arrays = [modality.encode(item) for item in items]
        if window:
            whole = np.concatenate(arrays)
            arrays = [whole[i : i + window + 1] for i in range(0, len(whole) - window, window)]
        self.arrays, self.window = arrays, window
        self._items = [modality.decode(array) for array in arrays] if window else list(items)
        self.ids = torch.arange(1, len(arrays) + 1)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.arrays)

    def items(self, rows: Sequence[int]) -> list[Item]:
        return [self._items[row] for row in rows]

    def batch(self, rows: Sequence[int], *, augment: Any = None) -> Batch:
        self.read.extend(rows)
        target = self.modality.collate([self.arrays[row] for row in rows])
        kinds = Field(torch.tensor([row % 10 for row in rows]))
        return Batch(target, {"kind": kinds}, ids=self.ids[list(rows)])


@dataclass
class Data:
    """What `prepare` would give."""

    modality: Modality
    train: Rows
    validation: Rows
    test: Rows
    conditions: dict[str, Modality] = field(default_factory=dict)
    fingerprint: str = "made-up"
    source: str = "memory"

    @property
    def target(self) -> Spec:
        return self.modality.spec

    def part(self, name: str) -> Rows:
        found: Rows = getattr(self, name)
        return found if len(found) or name != "test" else self.validation


class Sampler(Family):
    """Draws by seed from a pool of items of its own."""

    targets: ClassVar[frozenset[Form]] = frozenset(Form)

    def __init__(
        self, modality: Modality, pool: Sequence[Item], pick: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__(self.Config(), {}, {}, modality.spec, {})
        self.dropout = torch.nn.Dropout(0.5)
        self.pool = modality.collate([modality.encode(item) for item in pool])
        self.pick = pick or (lambda seeds: integers(seeds, "pick", len(pool)))
        self.seen: list[Tensor] = []
        self.modes: list[bool] = []

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "kernel_distance"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise NotImplementedError

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        self.modes += [self.training, self.dropout.training]
        self.seen.append(conditions["kind"].values)
        chosen = self.pool.select(self.pick(seeds))
        return Samples(chosen.values, chosen.lengths)


class Uniform(Sampler):
    """Gives every token, the end among them, the same probability; every number of an image one of 256 levels."""

    exact = True

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        if self.target.form is Form.TENSOR:
            return Bound(torch.full((len(batch),), self.target.size * math.log(256)), self.exact)
        extra = -1 if self.target.stream else 1
        predicted = batch.target.mask().sum(1) + extra
        # The jitter hangs on the item's seed only, so that a batch equals its items one by one.
        jitter = 1 + 0.1 * (uniform(seeds, "jitter") - 0.5) if self.jitter else 1.0
        return Bound(predicted * math.log(self.target.vocabulary) * jitter, self.exact, predicted)

    jitter = False


def text(lines: Sequence[str], **options: Any) -> Modality:
    """A fitted text modality."""
    modality = modalities.create({"name": "text", "max_length": 200, **options})
    modality.fit(lines)
    return modality


def image(items: Sequence[np.ndarray]) -> Modality:
    """A fitted image modality."""
    modality = modalities.create({"name": "image"})
    modality.fit(items)
    return modality


def data(modality: Modality, train: Sequence[Item], held: Sequence[Item]) -> Data:
    """Train and validation parts; no test part."""
    return Data(
        modality, Rows("train", train, modality), Rows("validation", held, modality), Rows("test", [], modality)
    )


def context(family: Family, prepared: Data, **options: Any) -> Context:
    """A context on the validation part, on pixels where features are needed."""
    options = {"part": "validation", "extractor": "pixels", **options}
    return Context(Model(family, prepared.modality, prepared.conditions), prepared, **options)  # type: ignore[arg-type]


def digits(count: int) -> list[np.ndarray]:
    """Real 8x8 grey images."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return [image[..., None] for image in pixels]


def sentences(count: int) -> list[str]:
    """Different English sentences of the standard library's help."""
    from pydoc_data.topics import topics

    lines = {line.strip() for text in topics.values() for line in text.splitlines() if 40 <= len(line.strip()) <= 70}
    return sorted(lines)[:count]

"""What metrics share: held-out, training and generated items and their features, each made once, when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe
from miaobi.evaluation import extractors
from miaobi.evaluation.extractors import Extractor, stored_features
from miaobi.evaluation.records import Protocol
from miaobi.families import Sampling, require
from miaobi.modalities import Item
from miaobi.plugins import name_of
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec

if TYPE_CHECKING:
    from miaobi.data import Dataset, Prepared
    from miaobi.models import Model

Side = Literal["generated", "real", "training"]
_MOST_ROWS = 64
_MOST_NUMBERS = 1 << 24


class Context:
    """One model on one part of one prepared data set.

    Args:
        model: what is measured.
        prepared: data prepared with the model's own modalities.
        part: ``test`` or ``validation``; test falls back to validation where the split has none (the protocol says so).
        count: samples to generate, at most as many as there are held-out items (the protocol says so).
        seed: of the samples: item i depends on ``seed`` and i only.
        extractor: named features; default: the modality's.
        controls: the family's sampling controls.
        brief: for a look during training: likelihoods of ``count`` held-out items instead of all, no floors, and no
            intervals that cost more than the value.
        batch_rows: items a batch; default: 64, fewer for large items. No score depends on it.

    Raises:
        InvalidRecipe: a wrong part, an empty one, a wrong count or control.
    """

    def __init__(
        self,
        model: Model,
        prepared: Prepared,
        *,
        part: str = "test",
        count: int = 1000,
        seed: int = 0,
        extractor: str | Extractor | None = None,
        controls: Mapping[str, Any] | None = None,
        brief: bool = False,
        batch_rows: int | None = None,
    ) -> None:
        _check(part, count)
        self.model, self.prepared, self.seed = model, prepared, seed
        self.brief = brief
        self.modality = model.modality.shown
        self.requested_part, self.requested = part, count
        self.held: Dataset = prepared.part(part)
        self.controls = type(model.family).Controls.parse(controls, "evaluate.control")
        self.batch_rows = batch_rows or rows_of(model.family.target)
        self._extractor = extractor
        self._features: dict[Side, np.ndarray] = {}

    @cached_property
    def rows(self) -> list[int]:
        """The held-out rows that samples are compared with and conditioned on: evenly spaced, in order."""
        return spaced(len(self.held), self.requested)

    @property
    def count(self) -> int:
        """Generated samples, and held-out items that they are compared with."""
        return len(self.rows)

    @cached_property
    def training_rows(self) -> list[int]:
        """As many training rows, evenly spaced: against the held-out items they give the floor."""
        return spaced(len(self.prepared.train), self.count)

    @cached_property
    def extractor(self) -> Extractor:
        """The named features.

        Raises:
            Unsupported: none is named, or it does not take this modality.
            MissingExtra: its package is absent.
        """
        return extractors.choose(self._extractor, self.modality)

    @cached_property
    def generated(self) -> list[np.ndarray]:
        """``count`` generated arrays, conditioned on the held-out rows in order; of dialogues, the last answers.

        Raises:
            Unsupported: the family does not sample.
            Diverged: the samples are not finite.
        """
        return [array for batch in self._generate() for array in batch]

    @cached_property
    def generated_items(self) -> list[Item]:
        """The generated arrays as canonical items."""
        return [self.modality.decode(array) for array in self.generated]

    @cached_property
    def real(self) -> list[np.ndarray]:
        """The held-out arrays at `rows`."""
        return [array for arrays, _ in self.decoded(self.held, self.rows) for array in arrays]

    @cached_property
    def real_items(self) -> list[Item]:
        """The held-out items at `rows`, through the same encoding and decoding as the generated ones."""
        return [self.modality.decode(array) for array in self.real]

    def decoded(self, dataset: Dataset, rows: Sequence[int]) -> Iterator[tuple[list[np.ndarray], list[Item]]]:
        """Arrays and items of a data set a batch at a time, as a model's samples would give them."""
        for chosen in chunks(rows, self.batch_rows):
            if self.model.modality.shown is self.model.modality:
                target = dataset.batch(chosen, augment=None).target
                arrays = self.modality.split_batch(target.values, target.lengths)
            else:
                # What a representation loses is the model's loss, so real items do not go through it.
                arrays = [self.modality.encode(item) for item in dataset.items(chosen)]
            yield arrays, [self.modality.decode(array) for array in arrays]

    def features(self, side: Side) -> np.ndarray:
        """``float32 [n, D]`` features of one side; of real data kept on disk where the extractor is costly."""
        if side not in self._features:
            self._features[side] = self._extract(side)
        return self._features[side]

    def stamp(self) -> Protocol:
        """What every score of this context shares."""
        stamp = Protocol(
            split=self.held.part,
            data=self.prepared.fingerprint,
            source=self.prepared.source,
            modality={"name": self.modality.name, **self.modality.config.to_json()},
            family={"name": name_of(type(self.model.family)), **self.model.family.config.to_json()},
        )
        if self.held.part != self.requested_part:
            stamp["split_requested"] = self.requested_part
        if self.model.modality is not self.modality:
            stamp["representation"] = self.model.modality.config.to_json()
        trained_on = self.model.info.get("data", {}).get("fingerprint", self.prepared.fingerprint)
        if trained_on != self.prepared.fingerprint:
            stamp["trained_on"] = trained_on
        if self.model.supplies:
            stamp["supplied"] = dict.fromkeys(sorted(self.model.supplies), "taken from the held-out items")
        if self.model.conditions:
            stamp["conditions"] = sorted(self.model.conditions)
        return stamp

    def sample_stamp(self) -> Protocol:
        """What every score of generated samples shares."""
        stamp = self.stamp() | Protocol(samples=self.count, seed=self.seed, controls=self.controls.to_json())
        if self.count != self.requested:
            stamp["requested"] = self.requested
        return stamp

    def feature_stamp(self) -> Protocol:
        """What every score on features shares."""
        return self.sample_stamp() | Protocol(
            extractor=self.extractor.name,
            extractor_hash=self.extractor.hash,
            preprocessing=self.extractor.preprocessing,
        )

    def _generate(self) -> Iterator[list[np.ndarray]]:
        family = require(self.model.family, Sampling, "generating samples to measure")
        for positions in chunks(range(self.count), self.batch_rows):
            batch = self.held.batch([self.rows[i] for i in positions], augment=None)
            conditions = {name: field.to(self.model.family.device) for name, field in batch.conditions.items()}
            seeds = seeds_of(self.seed, positions).to(self.model.family.device)
            start = batch.target.before_last() if self.model.family.target.form is Form.TOKENS else None
            begun = None if start is None else start.to(self.model.family.device)
            samples = family.sample(conditions, prefix=begun, controls=self.controls, seeds=seeds).to("cpu")
            _check_finite(samples.values)
            yield [self._given(array) for array in self.model.modality.split_batch(samples.values, samples.lengths)]

    def _given(self, array: np.ndarray) -> np.ndarray:
        """A sample as a user would be given it: a text that a stop string ended, encoded anew without it."""
        if not getattr(self.controls, "stop", ()):
            return array
        return self.modality.encode(self.model.item(array, self.controls))

    def _extract(self, side: Side) -> np.ndarray:
        if side == "generated":
            batches = chunks(self.generated, self.batch_rows)
            return np.concatenate([self.extractor(self.modality.decode(a) for a in batch) for batch in batches])
        dataset, rows = (self.held, self.rows) if side == "real" else (self.prepared.train, self.training_rows)
        key = [self.prepared.fingerprint, dataset.part, rows, self.stamp()["modality"]]
        return stored_features(self.extractor, key, (items for _, items in self.decoded(dataset, rows)))


def chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive slices of at most ``size``."""
    return (values[start : start + size] for start in range(0, len(values), size))


def spaced(total: int, count: int) -> list[int]:
    """At most ``count`` distinct rows of ``total``, evenly spaced and in order: sorted data keeps all its kinds."""
    count = min(total, count)
    return [i * total // count for i in range(count)]


def rows_of(target: Spec) -> int:
    """Items a batch such that a batch's outputs (logits, for tokens) stay under 64 MiB, at most 64."""
    numbers = target.max_length * target.vocabulary if target.form is Form.TOKENS else target.size
    return max(1, min(_MOST_ROWS, _MOST_NUMBERS // max(1, numbers)))


def _check(part: str, count: int) -> None:
    if part not in ("test", "validation"):
        raise InvalidRecipe("not a held-out part", given=part, allowed="test, validation")
    if not 1 <= count <= 10**9:
        raise InvalidRecipe("the number of samples is out of range", given=count, allowed="1 to 1,000,000,000")


def _check_finite(values: Tensor) -> None:
    if values.is_floating_point() and not torch.isfinite(values).all():
        raise Diverged("the model's samples are not finite", cure="lower train.learning_rate and train again")

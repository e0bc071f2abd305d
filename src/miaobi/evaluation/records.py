"""The records of an evaluation: a score, what it was measured by, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict, cast

from miaobi.modalities import Item


class Direction(StrEnum):
    """Which way a figure is better; ``NEITHER`` is read against its floor, the closer the better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"

    def better(self, new: float, old: float) -> bool:
        """Whether ``new`` beats ``old``; never for `NEITHER` or a NaN."""
        if self is Direction.NEITHER or math.isnan(new):
            return False
        return new < old if self is Direction.LOWER else new > old


class Protocol(TypedDict, total=False):
    """How a score came about; two compare only where these agree. JSON-ready; a key that does not apply is absent.

    Keys:
        metric: the group; ``figure``: the figure in it; ``direction``: which way is better; ``paper``: its source.
        split: the part that was held out; ``split_requested``: the part that was asked for, where it has no items.
        samples: generated (or scored) items; ``requested``: how many were asked for, where there were fewer.
        seed, controls: of the generated samples; ``conditions``: what they were conditioned on, held-out rows in order;
            ``supplied``: where those came from that another model makes when generating.
        data, source: fingerprint of the prepared data, and where it came from; ``trained_on``: that of the training
            data, where it is another: held-out items of one may be training items of the other.
        modality, preprocessing: what both sides went through; ``representation``: what the model sees of it.
        extractor, extractor_hash: the named features, and the hash of their weights and preprocessing.
        unit, likelihood, tokenizer_bound: of a likelihood: what nats were divided by; ``exact`` or ``upper bound`` and
            whose; whether the figure depends on the tokenizer, so that models of different tokenizers do not compare.
        signature: of a scorer: sacrebleu's own, or the package's version and settings.
        options: the metric's own; ``versions``: of this package, torch and what else computed the figure.
        interval_method, floor_method: how the interval and the floor were got.
    """

    metric: str
    figure: str
    direction: str
    paper: str
    split: str
    split_requested: str
    samples: int
    requested: int
    seed: int
    controls: dict[str, Any]
    conditions: list[str]
    supplied: dict[str, str]
    data: str
    source: str
    trained_on: str
    modality: dict[str, Any]
    representation: dict[str, Any]
    preprocessing: str
    extractor: str
    extractor_hash: str
    unit: str
    likelihood: str
    family: dict[str, Any]
    tokenizer_bound: bool
    signature: str
    options: dict[str, Any]
    versions: dict[str, str]
    interval_method: str
    floor_method: str
    floor_samples: int
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """A generated item beside its nearest training item; ``distance`` is in the metric's own terms."""

    generated: Item
    training: Item
    distance: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A figure that can be trusted, because it says how it came about.

    Attributes:
        value: the figure.
        interval: 95 % interval, got as ``protocol["interval_method"]`` says; ``None`` where there are too few items.
        floor: what real data scores against real data at the same count; ``None`` where that has no meaning.
        protocol: everything that another score must share to be compared.
        pairs: for the report: generated items beside their nearest training items, nearest first.
    """

    value: float
    interval: tuple[float, float] | None
    floor: float | None
    protocol: Protocol
    pairs: tuple[Pair, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """What ``miaobi evaluate --json`` prints: value, interval, floor and protocol; pairs are left out."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "floor": self.floor,
            "protocol": dict(self.protocol),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        """The inverse of `to_json`."""
        interval = data["interval"]
        return cls(
            float(data["value"]),
            None if interval is None else (float(interval[0]), float(interval[1])),
            None if data["floor"] is None else float(data["floor"]),
            cast(Protocol, dict(data["protocol"])),
        )

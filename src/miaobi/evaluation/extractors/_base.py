"""What a feature extractor is: canonical items in, one vector an item out, the same for the same item, always."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from miaobi.modalities import Item
from miaobi.plugins import name_of


class Extractor(ABC):
    """Base of extractors. Constructing one loads its weights, or raises what is missing."""

    modalities: ClassVar[frozenset[str]]
    """Names of the modalities whose canonical items it takes."""
    preprocessing: ClassVar[str]
    """What is done to an item before the network, in words, for the protocol."""
    costly: ClassVar[bool] = False
    """Whether features of real data are worth keeping on disk."""

    @property
    def name(self) -> str:
        """The file name."""
        return name_of(type(self))

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over weights and preprocessing: features of two hashes do not compare."""
        text = f"{self.name}\n{self.preprocessing}\n{self.weights_digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights; empty where there are none."""
        return ""

    @abstractmethod
    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        """``float32 [n, D]`` features of a batch of items; no row depends on the others."""

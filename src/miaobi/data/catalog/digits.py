"""Handwritten digits that come with scikit-learn; no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from miaobi.data.catalog._base import Catalog, Record
from miaobi.recipe import Plugin


class Digits(Catalog):
    """1,797 digits, 8 x 8 grey, from Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits" (UCI)."""

    summary = "1,797 handwritten digits, 8 x 8 grey, with labels; needs no network"
    licence = "CC-BY-4.0 (UCI machine learning repository, Alpaydin and Kaynak)"
    version = "scikit-learn load_digits"
    modality: ClassVar[Plugin] = "image"
    content = "image"
    conditions: ClassVar[Mapping[str, Plugin]] = {"label": "label"}

    def records(self, cache: Path) -> Iterator[Record]:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        # The data has 17 levels, 0 to 16.
        pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
        for image, label in zip(pixels, labels.tolist(), strict=True):
            yield {"image": image, "label": label}

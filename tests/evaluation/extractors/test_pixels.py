"""Pixels: exact, and no item depends on its batch."""

from __future__ import annotations

import numpy as np

from miaobi.evaluation.extractors import create
from miaobi.evaluation.extractors._images import stack


def test_small_pictures_are_their_own_features() -> None:
    items = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    features = create("pixels")(list(items))
    np.testing.assert_allclose(features, items.transpose(0, 3, 1, 2).reshape(3, -1) / 255, rtol=1e-6)


def test_large_ones_are_downscaled_and_a_batch_equals_its_items() -> None:
    items = np.random.default_rng(1).integers(0, 256, (5, 40, 28, 1), dtype=np.uint8)
    whole = create("pixels")(items)
    assert whole.shape == (5, 256)
    np.testing.assert_array_equal(whole, np.concatenate([create("pixels")([item]) for item in items]))


def test_transparency_is_laid_on_white() -> None:
    clear = np.zeros((2, 2, 4), np.uint8)
    half = np.full((2, 2, 4), [255, 0, 0, 51], np.uint8)
    np.testing.assert_allclose(stack([clear, half])[:, :, 0, 0].numpy(), [[1, 1, 1], [1, 0.8, 0.8]], atol=1e-6)

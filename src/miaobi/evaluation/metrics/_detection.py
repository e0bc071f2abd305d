"""Telling perturbed items from clean ones by how far they are from training items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata

_COLUMNS = 1 << 18
_ORDER = 3


def auc(perturbed: np.ndarray, clean: np.ndarray) -> float:
    """How often a perturbed item's number is above a clean one's, ties half: the area under the ROC curve.

    Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC) curve".

    Args:
        perturbed: ``[n]``, n of at least 1.
        clean: ``[m]``, m of at least 1.
    """
    count = len(perturbed)
    ranks = rankdata(np.concatenate([perturbed, clean]))[:count]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * len(clean)))


def nearest(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """``float64 [n]``: Euclidean distance of each of ``[n, D]`` to the nearest of ``[m, D]``."""
    left, right = (torch.from_numpy(side).double() for side in (features, training))
    # By products of vectors, equal ones would be at a distance of rounding.
    exact = "donot_use_mm_for_euclid_dist"
    return np.concatenate([torch.cdist(rows, right, compute_mode=exact).amin(1).numpy() for rows in left.split(256)])


def nearest_texts(texts: Sequence[str], training: Sequence[str]) -> np.ndarray:
    """``float64 [n]``: one less the greatest cosine of each text's TF-IDF weighted 1- to 3-grams of characters.

    Weights are those of the training texts.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counted = HashingVectorizer(
        analyzer="char", ngram_range=(1, _ORDER), n_features=_COLUMNS, alternate_sign=False, norm=None, lowercase=False
    )
    weights = TfidfTransformer(sublinear_tf=True)
    known = weights.fit_transform(counted.transform(training))
    found = weights.transform(counted.transform(texts)) @ known.T
    # A text that is among the training ones is at nought, not at rounding's.
    return np.round(1 - np.asarray(found.max(axis=1).todense(), dtype=np.float64)[:, 0], 9)

"""The bootstrap against what it must give."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.evaluation.metrics._intervals import RESAMPLES, bootstrap, of_mean, resamples


def test_the_bootstrap_of_a_mean_is_close_to_students_t() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(len(values), 0, lambda rows: float(values[rows].mean()))
    expected = of_mean(values.tolist())
    assert found is not None
    assert expected is not None
    width = expected[1] - expected[0]
    assert found == pytest.approx(expected, abs=0.1 * width)


def test_resamples_are_fixed_by_the_seed_and_drawn_from_all_rows() -> None:
    first, again, other = (np.array(list(resamples(20, seed))) for seed in (1, 1, 2))
    assert first.shape == (RESAMPLES, 20)
    assert (first == again).all()
    assert (first != other).any()
    # Each row is expected 1,000 times; five standard deviations are 155.
    assert np.bincount(first.ravel(), minlength=20) == pytest.approx(np.full(20, 1000), abs=155)


def test_a_few_items_have_no_interval() -> None:
    assert bootstrap(9, 0, lambda rows: 0.0) is None
